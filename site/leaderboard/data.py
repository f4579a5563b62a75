"""The board for the browser: columns of numbers in scripts that work from ``file://``."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.board import MOST_ROWS, ON_DEMAND, Board
from leanboard.leaderboard.cells import BAR_WIDTH, CLASSES, DOUBT, GLYPHS, MARK_WIDTH, BoardCell
from leanboard.leaderboard.choices import FILTERS, keyed
from leanboard.leaderboard.columns import ARROWS, BETTER, Column
from leanboard.leaderboard.families import family_of
from leanboard.leaderboard.gate_marks import CLASSES as GATE_CLASSES
from leanboard.leaderboard.gate_marks import FAILED_GATE, SIGNS
from leanboard.leaderboard.ranks import NOT_SHOWN, SURE_BEST
from leanboard.leaderboard.shapes import SHAPES
from leanboard.leaderboard.siblings import baselines_of, curves_of
from leanboard.leaderboard.sizes import SIZES
from leanboard.leaderboard.stage import (
    ESTIMATE,
    LEAST_CHANCE,
    MOST_BEATEN,
    MOST_LISTED,
    MOST_NAMED,
    UNRANKED,
    UNSTABLE,
)
from leanboard.leaderboard.tradeoff_plot import MOST_CURVES
from leanboard.metrics.front_membership import DRAWS, MOST_DRAWN
from leanboard.metrics.hypervolume import MOST_RANGED
from leanboard.results.printable import REPLACED

Json = dict[str, object]
_JSON = json.JSONEncoder(separators=(",", ":"), sort_keys=True, allow_nan=False)
_ESCAPED = "|".join(json.dumps(character)[2:-1] for character in sorted(REPLACED))
_ESCAPES = re.compile(rf"\\(?:(\\)|{_ESCAPED})")


@dataclass(frozen=True, slots=True)
class Written:
    """A value of a run's data as the text that :func:`literal` makes of it.

    What many runs have in common is written once, and put into the data of each.
    """

    text: str


def board_script(board: Board) -> str:
    """Return a classic script that declares the constant ``LEANBOARD``: rows and metrics.

    The values of each metric come as a script of their own (:func:`metric_script`), so that a page
    loads what it shows and no more.
    """
    return f"const LEANBOARD = {literal(_rows(board))};\n"


def metric_script(board: Board, place: int) -> str:
    """Return the script that adds the values of the metric at ``place`` to ``LEANBOARD``."""
    column = board.columns[place]
    cells = _cells([line.cell(column) for line in board.lines])
    return f"LEANBOARD.cells[{place}] = {literal(cells)};\n"


def run_script(place: str, run: Json) -> str:
    """Return the statement that adds the run at ``place`` to ``LEANBOARD_RUNS``."""
    own = {name: value for name, value in run.items() if not isinstance(value, Written)}
    shared = [f"{literal(n)}:{v.text}" for n, v in run.items() if isinstance(v, Written)]
    fields = ",".join([literal(own)[1:-1], *shared])
    return f"LEANBOARD_RUNS[{json.dumps(place)}] = {{{fields}}};\n"


def literal(data: object) -> str:
    """Return data as JSON that is also JavaScript, inert wherever it lands.

    Strings are ASCII with ``<``, ``>`` and ``&`` escaped, and what a page shows as a replacement
    character is one.
    """
    text = _JSON.encode(data)
    text = _ESCAPES.sub(lambda found: found[0] if found[1] else r"\ufffd", text)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _rows(board: Board) -> Json:
    lines = board.lines
    texts = {
        **{name: [str(getattr(line, field)) for line in lines] for name, field in FILTERS.items()},
        "techniqueText": [line.label_text for line in lines],
        "techniqueFamily": [family_of(line.row.cell.techniques) for line in lines],
        "workloadText": [line.workload_text for line in lines],
        "workloadChoice": [line.workload_choice for line in lines],
        "backendText": [line.backend_text for line in lines],
        "machine": [line.machine for line in lines],
        "device": [line.device for line in lines],
        "status": [line.status.value for line in lines],
        "reason": [line.reason for line in lines],
        "unstable": [line.unstable for line in lines],
        "gate": [line.gate.answer for line in lines],
        "gateReason": [line.gate.reason for line in lines],
    }
    return {
        "barWidth": BAR_WIDTH,
        "markWidth": MARK_WIDTH,
        "pageRows": MOST_ROWS,
        "filters": list(FILTERS),
        "choices": keyed(lines),
        "unranked": UNRANKED,
        "notShown": NOT_SHOWN,
        "sureBest": SURE_BEST,
        "unstableRun": UNSTABLE,
        "estimate": ESTIMATE,
        "doubt": DOUBT,
        "draws": DRAWS,
        "leastChance": LEAST_CHANCE,
        "mostBeaten": MOST_BEATEN,
        "mostCurves": MOST_CURVES,
        "mostDrawn": MOST_DRAWN,
        "mostRanged": MOST_RANGED,
        "mostListed": MOST_LISTED,
        "mostNamed": MOST_NAMED,
        "failedGate": FAILED_GATE,
        "gates": {v.value: {"text": SIGNS[v], "css": css} for v, css in GATE_CLASSES.items()},
        "onDemand": list(ON_DEMAND),
        "verdicts": {verdict.value: css for verdict, css in CLASSES.items()},
        "glyphs": {verdict.value: glyph for verdict, glyph in GLYPHS.items()},
        "shapes": SHAPES,
        "rows": len(lines),
        "href": [line.href for line in lines],
        "baseline": [int(line.baseline) for line in lines],
        "ranked": [int(line.ranked) for line in lines],
        "reach": [None if math.isinf(line.reach) else line.reach for line in lines],
        "against": list(baselines_of(lines)),
        "curves": [{"rows": c.rows, "title": c.title} for c in curves_of(lines)],
        "texts": {
            **{name: _dictionary(values) for name, values in texts.items()},
            "size": _dictionary(texts["size"], SIZES.index),
        },
        "metrics": [_metric(column) for column in board.columns],
        "cells": [],
    }


def _metric(column: Column) -> Json:
    return {
        "name": column.name,
        "label": column.label,
        "short": column.short,
        "unit": column.unit,
        "factor": column.scale.factor,
        "suffix": column.scale.suffix,
        "direction": column.direction.value,
        "role": column.role.value,
        "arrow": ARROWS[column.direction],
        "better": BETTER[column.direction],
        "quality": int(column.quality),
        "timed": int(column.timed),
        "shown": int(column.shown),
        "axis": int(column.axis),
        "gated": int(column.gated),
        "largest": column.largest,
    }


def _cells(cells: Sequence[BoardCell]) -> Json:
    gains = [cell.gain for cell in cells]
    return {
        "value": [cell.value for cell in cells],
        "low": [cell.low for cell in cells],
        "high": [cell.high for cell in cells],
        "n": [cell.n for cell in cells],
        "unranked": [int(cell.unranked) for cell in cells],
        "estimate": _dictionary([cell.estimate for cell in cells]),
        "summary": _dictionary([cell.summary for cell in cells]),
        "made": _dictionary([cell.made for cell in cells]),
        "provenance": _dictionary([cell.provenance for cell in cells]),
        "reason": _dictionary([cell.reason for cell in cells]),
        # What stands beside a gated value is the gate, which the rows have.
        "beside": _dictionary(["" if cell.column.gated else cell.beside for cell in cells]),
        "ratio": [None if gain is None else gain.ratio for gain in gains],
        "ratioLow": [None if gain is None else gain.low for gain in gains],
        "ratioHigh": [None if gain is None else gain.high for gain in gains],
        "ratioN": [0 if gain is None else gain.n for gain in gains],
        "launches": [0 if gain is None else gain.launches for gain in gains],
        "ratioMade": _dictionary(["" if gain is None else gain.made for gain in gains]),
        "verdict": _dictionary(["" if gain is None else gain.verdict.value for gain in gains]),
        "doubts": _dictionary(["" if gain is None else "; ".join(gain.doubts) for gain in gains]),
    }


def _dictionary(values: Sequence[str], key: Callable[[str], int] | None = None) -> Json:
    """Return the distinct texts, sorted (by ``key``), and each row's number among them."""
    texts = sorted(set(values), key=key)
    numbers = {text: number for number, text in enumerate(texts)}
    return {"texts": texts, "rows": [numbers[value] for value in values]}
