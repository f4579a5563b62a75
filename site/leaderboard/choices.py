"""What a reader can choose rows by: the text that is shown, and the value that an address holds.

The texts of hardware and of workloads say what tells them from others of the board, and so change
when other rows come. The values say all: a link that was shared keeps its meaning.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter

from leanboard.leaderboard.board import BoardRow, techniques_of
from leanboard.leaderboard.columns import ARROWS, Column
from leanboard.leaderboard.sizes import SIZES

Offered = Mapping[str, str]
"""Texts by their values, in the order in which they are offered."""

FILTERS: Mapping[str, str] = {
    "model": "model",
    "family": "family",
    "size": "size",
    "technique": "label",
    "uses": "uses",
    "hardware": "hardware",
    "workload": "workload",
    "backend": "backend",
    "energy": "joules",
    "origin": "origin",
}
"""Names of the filters (and of their keys in the URL) to the fields of a row.

``technique`` is all of an arm; ``uses`` is each technique of it, alone or with others.
"""

ORDERS = ("technique", "model", "family", "size", "workload", "backend", "hardware", "origin")
"""The filters by whose texts rows can be ordered too."""

_TITLES = {"energy": "Energy provenance", "uses": "Uses technique"}


def filter_titles() -> Mapping[str, str]:
    """Return what the page calls each filter."""
    return {name: _TITLES.get(name, name.capitalize()) for name in FILTERS}


def orders_of(columns: Iterable[Column]) -> Mapping[str, Offered]:
    """Return what rows can be ordered by, texts and metrics apart.

    Args:
        columns: the metrics.
    """
    titles = filter_titles()
    return {
        "Names": {name: titles[name] for name in ORDERS},
        "Metrics": {c.name: f"{c.label} {ARROWS[c.direction]}".rstrip() for c in columns},
    }


def choices_of(lines: Sequence[BoardRow]) -> Mapping[str, Offered]:
    """Return what rows can be chosen by: sizes from small to large, all others by their texts."""
    found = {name: _plain(lines, field) for name, field in FILTERS.items()}
    found["size"] = {name: name for name in sorted(found["size"], key=SIZES.index)}
    found["uses"] = {name: name for name in techniques_of(lines)}
    return {**found, **keyed(lines)}


def keyed(lines: Sequence[BoardRow]) -> Mapping[str, Offered]:
    """Return the choices whose value is not the text: those of hardware, and of workloads."""
    return {
        "hardware": _sorted({line.hardware_key: line.hardware for line in lines}),
        "workload": _sorted({line.workload_key: line.workload_choice for line in lines}),
    }


def table_choices(lines: Sequence[BoardRow]) -> Mapping[str, Offered]:
    """Return what each filter of the leaderboard offers.

    A workload whose name stands for more than one is offered whole, then each of its variants.
    """
    offered = choices_of(lines)
    names = {line.workload_choice: line.workload for line in lines}
    several = {name: f"{name}, all variants" for text, name in names.items() if text != name}
    return {**offered, "workload": dict(sorted({**offered["workload"], **several}.items()))}


def place_of(lines: Sequence[BoardRow], hardware: str, workload: str) -> Mapping[str, str]:
    """Return the values that an address has for a hardware and a workload of these rows.

    Args:
        lines: the rows, one of which is there.
        hardware: its text.
        workload: the text of its choice.
    """
    line = next(x for x in lines if (x.hardware, x.workload_choice) == (hardware, workload))
    return {"hardware": line.hardware_key, "workload": line.workload_key}


def _plain(lines: Sequence[BoardRow], field: str) -> Offered:
    return {text: text for text in sorted({str(getattr(line, field)) for line in lines})}


def _sorted(texts: Mapping[str, str]) -> Offered:
    return dict(sorted(texts.items(), key=itemgetter(1, 0)))
