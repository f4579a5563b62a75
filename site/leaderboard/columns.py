"""The metric columns of the board: the registry's metrics, and the scores of each task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.format import Scale, scale_for
from leanboard.metrics.metric import Direction, Metric, Role
from leanboard.metrics.registry import METRICS
from leanboard.metrics.trace import Provenance
from leanboard.results.derived_columns import ACCURACY
from leanboard.results.schema import Measurement
from leanboard.results.table import Row

ARROWS = {Direction.LOWER: "\u2193", Direction.HIGHER: "\u2191", Direction.NEUTRAL: ""}
BETTER = {
    Direction.LOWER: "lower is better",
    Direction.HIGHER: "higher is better",
    Direction.NEUTRAL: "neither direction is better",
}
_BY_NAME = {metric.name: metric for metric in METRICS}
_PLACES = {metric.name: place for place, metric in enumerate(METRICS)}
_ESTIMATES = (Provenance.MODELLED, Provenance.SIMULATED)
_SHORT = {
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "itl_p95_s": "ITL p95",
    "decode_tokens_per_s": "Decode",
    "energy_per_output_token_j": "Energy / token",
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
        shown: whether the table shows it unasked.
        largest: largest value or interval end of those that have a bar; estimates have none.
        axis: whether it can be an axis of a trade-off plot.
    """

    name: str
    label: str
    short: str
    doc: str
    unit: str
    scale: Scale
    direction: Direction
    role: Role
    shown: bool
    largest: float
    axis: bool


def columns_of(rows: Sequence[Row]) -> tuple[Column, ...]:
    """Return a column for every metric that some row has a value of, in the registry's order."""
    found: dict[str, list[Measurement]] = {}
    for row in rows:
        for name, measurement in row.measurements.items():
            if measurement.value is not None and _base(name) is not None:
                found.setdefault(name, []).append(measurement)
    return tuple(_column(name, found[name]) for name in sorted(found, key=_place))


def comparable(measurement: Measurement, role: Role) -> bool:
    """Return whether a value may stand on an axis: no estimate, and energy must be measured."""
    if measurement.value is None or measurement.provenance in _ESTIMATES:
        return False
    return role is not Role.ENERGY or measurement.provenance is Provenance.MEASURED


def label_of(name: str) -> str:
    """Return the human title of a measurement; its own name where the registry has none."""
    if name == ACCURACY:
        return "Accuracy, mean of tasks"
    base = _base(name)
    if base is None:
        return name
    task = name.rpartition(".")[0]
    return f"{base.label} \u00b7 {task}" if task else base.label


def scale_of(name: str, unit: str, values: Iterable[float]) -> Scale:
    """Return the scale of a measurement's values; the metric says what a latency is."""
    base = _base(name)
    per_token = base is not None and base.name == "kv_bytes_per_token"
    scale = scale_for(unit, values)
    return Scale(scale.factor, f"{scale.suffix}/tok") if per_token else scale


def place_of(name: str) -> tuple[int, str]:
    """Return where a measurement stands in the registry's order."""
    return _place(name)


def _base(name: str) -> Metric | None:
    """Return the registry's metric behind a name, which may carry a task in front."""
    if name == ACCURACY:
        return _BY_NAME["acc_norm"]
    return _BY_NAME.get(name.rpartition(".")[2])


def _place(name: str) -> tuple[int, str]:
    base = name.rpartition(".")[2]
    first = _PLACES["acc"] if name == ACCURACY else _PLACES.get(base, len(_PLACES))
    return first, "" if name == ACCURACY else name


def _column(name: str, measured: Sequence[Measurement]) -> Column:
    metric = _BY_NAME.get(name.rpartition(".")[2], _BY_NAME["acc_norm"])
    values = [m.value for m in measured if m.value is not None]
    solid = [m for m in measured if comparable(m, metric.role)]
    ends = [m.interval.high for m in solid if m.interval is not None]
    drawn = [m.value for m in solid if m.value is not None]
    unit = measured[0].unit
    axis = metric.direction is not Direction.NEUTRAL
    return Column(
        name=name,
        label=label_of(name),
        short=_short(name, metric),
        doc=_MEAN_DOC if name == ACCURACY else metric.doc,
        unit=unit,
        scale=scale_of(name, unit, values),
        direction=metric.direction,
        role=metric.role,
        shown=_shown(name, metric),
        largest=max([*drawn, *ends], default=0.0),
        axis=axis and any(comparable(m, metric.role) for m in measured),
    )


_MEAN_DOC = "Unweighted mean over the tasks of acc_norm, or acc where a task has no acc_norm."


def _short(name: str, metric: Metric) -> str:
    if name == ACCURACY:
        return "Accuracy"
    task = name.rpartition(".")[0]
    return f"{metric.label} \u00b7 {task}" if task else _SHORT.get(name, metric.label)


def _shown(name: str, metric: Metric) -> bool:
    """Show the headline metrics; of the scores of single tasks only those of running text."""
    a_share_of_one_task = "." in name and metric.direction is Direction.HIGHER
    return name == ACCURACY or (metric.headline and not a_share_of_one_task)


Choose = Callable[[Column], bool]


def first_axis(columns: Iterable[Column], *choices: Choose) -> Column | None:
    """Return the first column that can be an axis and meets the earliest choice that any meets."""
    usable = [column for column in columns if column.axis]
    for choice in choices:
        found = next((column for column in usable if choice(column)), None)
        if found is not None:
            return found
    return None
