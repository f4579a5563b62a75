"""The metric columns of the board: the registry's metrics, what is derived, each task's scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from leanboard.leaderboard.format import Scale, scale_for
from leanboard.metrics.metric import Direction, Metric, Role
from leanboard.metrics.registry import METRICS
from leanboard.metrics.trace import Provenance
from leanboard.results.derived_columns import ACCURACY, DERIVED, DerivedColumn
from leanboard.results.schema import Measurement
from leanboard.results.table import Row

ARROWS = {Direction.LOWER: "\u2193", Direction.HIGHER: "\u2191", Direction.NEUTRAL: ""}
BETTER = {
    Direction.LOWER: "lower is better",
    Direction.HIGHER: "higher is better",
    Direction.NEUTRAL: "neither direction is better",
}
_BY_NAME = {metric.name: metric for metric in METRICS}
_PLACES = {metric.name: (place, 1) for place, metric in enumerate(METRICS)}
# What is derived stands before the scores that most of it is derived from.
_PLACES |= {name: (_PLACES["acc"][0], place - len(DERIVED)) for place, name in enumerate(DERIVED)}
_LAST = len(METRICS), 0
# Names are those of records: there may be any number of them.
_MOST_NAMES = 4096
_ESTIMATES = (Provenance.MODELLED, Provenance.SIMULATED)
KL = "kl_to_baseline"
_TIMED = frozenset({Role.LATENCY, Role.THROUGHPUT, Role.ENERGY, Role.HARDWARE, Role.SETUP})
_HEADLINES = (ACCURACY, KL, "top1_agreement")
# The baseline's less likely tokens are taken as one outcome: that never makes the KL larger.
_AT_LEAST = ", at least"
_SHORT = {
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "itl_p95_s": "ITL p95",
    "decode_tokens_per_s": "Decode",
    "energy_per_output_token_j": "Energy / token",
    ACCURACY: "Accuracy",
    KL: f"KL{_AT_LEAST}",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One metric column.

    Args:
        name: name of the measurement (``tpot_s``, ``arc_easy.acc_norm``, ``accuracy``).
        label: title for people.
        short: title of the table's column, which has little room.
        doc: one line on what it is.
        unit: unit of the stored values.
        scale: how they are shown.
        direction: which way is better.
        role: what the metric is about.
        quality: whether scores are in its values, which not every row may rank.
        shown: whether the table shows it unasked.
        largest: largest value or interval end of those that have a bar; estimates have none. 0
            where no value has one, since bars start at 0 and some value is below.
        axis: whether it can be an axis of a trade-off plot.
        gated: whether the gate's mark stands beside its values.
    """

    name: str
    label: str
    short: str
    doc: str
    unit: str
    scale: Scale
    direction: Direction
    role: Role
    quality: bool
    shown: bool
    largest: float
    axis: bool
    gated: bool

    @property
    def timed(self) -> bool:
        """Whether times are in its values, which what else runs on the machine can lengthen."""
        return self.role in _TIMED


def columns_of(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return a column for every metric that some row has a value of, in the registry's order."""
    found: dict[str, list[Measurement]] = {}
    for row in rows:
        for name, measurement in row.measurements.items():
            if measurement.value is not None:
                found.setdefault(name, []).append(measurement)
    meanings = {name: meaning for name in in_order(found) if (meaning := meaning_of(name))}
    return tuple(_column(name, meaning, found[name]) for name, meaning in meanings.items())


def comparable(measurement: Measurement, role: Role) -> bool:
    """Return whether a value may stand on an axis: no estimate, and energy must be measured."""
    if measurement.value is None or measurement.provenance in _ESTIMATES:
        return False
    return role is not Role.ENERGY or measurement.provenance is Provenance.MEASURED


@lru_cache(_MOST_NAMES)
def label_of(name: str) -> str:
    """Return the human title of a measurement; its own name where it is not known."""
    meaning = meaning_of(name)
    if meaning is None:
        return name
    task = name.rpartition(".")[0]
    label = meaning.label + (_AT_LEAST if name == KL else "")
    return f"{label} \u00b7 {task}" if task else label


def scale_of(name: str, unit: str, values: Iterable[float]) -> Scale:
    """Return the scale of a measurement's values; the metric says what a latency is."""
    scale = scale_for(unit, values)
    per_token = name.rpartition(".")[2] == "kv_bytes_per_token"
    return Scale(scale.factor, f"{scale.suffix}/tok") if per_token else scale


def place_of(name: str) -> tuple[tuple[int, int], str]:
    """Return where a measurement stands: in the registry's order, what is derived before scores."""
    return _PLACES.get(name.rpartition(".")[2], _LAST), name


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names of measurements in the order in which they stand."""
    return _sorted(tuple(names))


@lru_cache(_MOST_NAMES)
def _sorted(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(names, key=place_of))


@lru_cache(_MOST_NAMES)
def meaning_of(name: str) -> Metric | DerivedColumn | None:
    """Return what a name stands for, which may carry a task in front; ``None`` if not known."""
    return DERIVED.get(name) or _BY_NAME.get(name.rpartition(".")[2])


def _column(name: str, meaning: Metric | DerivedColumn, measured: Sequence[Measurement]) -> Column:
    values = [m.value for m in measured if m.value is not None]
    axis = meaning.direction is not Direction.NEUTRAL
    return Column(
        name=name,
        label=label_of(name),
        short=_SHORT.get(name, label_of(name)),
        doc=meaning.doc,
        unit=meaning.unit,
        scale=scale_of(name, meaning.unit, values),
        direction=meaning.direction,
        role=meaning.role,
        quality=of_quality(meaning),
        shown=_shown(name, meaning),
        largest=_largest([m for m in measured if comparable(m, meaning.role)]),
        axis=axis and any(comparable(m, meaning.role) for m in measured),
        gated=name == ACCURACY,
    )


def of_quality(meaning: Metric | DerivedColumn) -> bool:
    """Return whether scores are in the values of a metric."""
    used = isinstance(meaning, DerivedColumn) and meaning.uses_quality
    return used or meaning.role is Role.QUALITY


def _largest(solid: Sequence[Measurement]) -> float:
    drawn = [m.value for m in solid if m.value is not None]
    for end in (m.interval for m in solid if m.interval is not None):
        drawn += [end.low, end.high]
    return max(drawn) if drawn and min(drawn) >= 0 else 0.0


def _shown(name: str, meaning: Metric | DerivedColumn) -> bool:
    """Show the headline metrics; scores of single tasks are asked for, or on the run's page."""
    if isinstance(meaning, Metric):
        return meaning.headline and "." not in name
    return name in _HEADLINES


Choose = Callable[[Column], bool]


def first_axis(columns: Iterable[Column], *choices: Choose) -> Column | None:
    """Return the first column that can be an axis and meets the earliest choice that any meets."""
    usable = [column for column in columns if column.axis]
    for choice in choices:
        found = next((column for column in usable if choice(column)), None)
        if found is not None:
            return found
    return None
