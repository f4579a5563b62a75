"""What a metric is: a name, a unit, a direction, and a pure function of an observation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from leanboard.metrics.trace import Observation, Provenance


class Direction(StrEnum):
    """Which way is better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEUTRAL = "neutral"


class Kind(StrEnum):
    """The kind of observation that a metric can reduce."""

    REQUESTS = "requests"
    STEPS = "steps"
    ITEMS = "items"
    ANSWERS = "answers"


class Summary(StrEnum):
    """The statistic that stands for a metric's samples."""

    MEDIAN = "median"
    MEAN = "mean"
    P50 = "p50"
    P90 = "p90"
    P95 = "p95"
    P99 = "p99"
    RATIO_OF_SUMS = "ratio-of-sums"
    EXP_RATIO_OF_SUMS = "exp-ratio-of-sums"
    SINGLE = "single"


class Verdict(StrEnum):
    """What the interval of a comparison allows one to say."""

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE_SHOWN = "no difference shown"
    UNDECIDED = "undecided"


class Role(StrEnum):
    """What part of a trade-off a metric is about; orders columns and chooses axes."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"
    MEMORY = "memory"
    ENERGY = "energy"
    QUALITY = "quality"
    SPECULATION = "speculation"
    HARDWARE = "hardware"
    SETUP = "setup"


@dataclass(frozen=True, slots=True)
class Samples:
    """The values that a metric draws from an observation.

    Args:
        values: one value per independent unit (request, static batch, gap, item), in order.
        provenance: the weakest provenance among the inputs.
        weights: for the ratios of sums only: the denominators; ``values`` then holds the
            numerators, and the statistic is ``sum(values) / sum(weights)``, or its exponential.
        stderr: standard error of the mean given by an outside authority (lm-eval), if any.
        groups: for each value, the independent unit (request, static batch or launch) that it
            comes from, where several come from one; ``None`` where every value is its own unit.
        grouped_by: what a group is; the name of the interval's method says it.
    """

    values: tuple[float, ...]
    provenance: Provenance
    weights: tuple[float, ...] | None = None
    stderr: float | None = None
    groups: tuple[int, ...] | None = None
    grouped_by: str = "launch"


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a metric has no value for an observation."""

    reason: str


Reduce = Callable[[Observation], Samples | Missing]
PerRound = Callable[[Observation], Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of the board.

    Args:
        name: column name, with the unit in it where it has one (``tpot_s``).
        unit: unit of the value (``s``, ``B``, ``J``, ``tok/s``, ``1`` for a ratio or share).
        direction: which way is better.
        role: what the metric is about.
        label: short human title.
        doc: definition with its formula; the methodology page prints it.
        source: where the definition comes from.
        kinds: kinds of observation that it applies to.
        summary: the statistic reported as its value.
        reduce: pure function from the observation to samples, or to the reason for none.
        headline: whether tables show it by default.
        paired: whether comparisons are made of it, per round, against the baseline.
        per_round: for a single value of a run that rounds have too: its value in each timed
            round, by round number, so that a comparison has pairs; ``None`` if they have none.
        series: name of the sampled series that is reduced; observations that were made before it
            was recorded do not have the metric. ``None`` if no series is needed.
    """

    name: str
    unit: str
    direction: Direction
    role: Role
    label: str
    doc: str
    source: str
    kinds: frozenset[Kind]
    summary: Summary
    reduce: Reduce
    headline: bool = False
    paired: bool = False
    per_round: PerRound | None = None
    series: str | None = None
