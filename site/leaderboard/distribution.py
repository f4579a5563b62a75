"""How the latencies of a run are spread: few quantiles that stand for all samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from leanboard.leaderboard.charts import Line, Plot, polyline, x_axis, y_axis
from leanboard.leaderboard.format import number, plural, rounded, scale_for
from leanboard.metrics.latency import gaps, tpot, ttft
from leanboard.metrics.metric import Reduce, Samples
from leanboard.metrics.percentile import needed, percentile
from leanboard.metrics.trace import Observation

MOST_POINTS = 200
PERCENTILES = (5, 25, 50, 75, 90, 95, 99)
HEIGHT = 320.0
SHARE = "share of samples at or below"
_DIGITS = 5
_KINDS: Mapping[str, tuple[str, Reduce]] = {
    "itl": ("Inter-token latency", gaps),
    "tpot": ("Time per output token", tpot),
    "ttft": ("Time to first token", ttft),
}


@dataclass(frozen=True, slots=True)
class Distribution:
    """The samples of one latency of a run, in seconds.

    Args:
        name: ``itl`` (gaps between tokens), ``tpot`` or ``ttft`` (one sample a request or static
            batch), drawn from the traces as the metrics of that name draw them.
        title: the same for people.
        n: number of samples.
        points: quantiles at evenly spaced probabilities from 0 (the smallest sample) to 1 (the
            largest), at most ``MOST_POINTS`` and at most as many as there are samples.
        percentiles: the value at each of ``PERCENTILES``; ``None`` where n is too small for it.
        reasons: why there is none, in the same order; empty where there is one.
    """

    name: str
    title: str
    n: int
    points: tuple[float, ...]
    percentiles: tuple[float | None, ...]
    reasons: tuple[str, ...]


def distributions_of(observation: Observation) -> tuple[Distribution, ...]:
    """Return the latencies that an observation has samples of."""
    drawn = ((name, title, reduce(observation)) for name, (title, reduce) in _KINDS.items())
    return tuple(
        _distribution(name, title, samples.values)
        for name, title, samples in drawn
        if isinstance(samples, Samples) and all(map(math.isfinite, samples.values))
    )


def distribution_plot(found: Distribution) -> Plot:
    """Return the share of samples at or below each value, as one line through the points."""
    scale = scale_for("s", found.points)
    values = [point * scale.factor for point in found.points]
    x = x_axis(f"{found.title.lower()} ({scale.suffix})", values)
    y = y_axis(SHARE, [0.0, 1.0], zero=True, height=HEIGHT)
    last = max(1, len(values) - 1)
    pixels = [(x.at(value), y.at(place / last)) for place, value in enumerate(values)]
    middle = found.percentiles[PERCENTILES.index(50)]
    told = "" if middle is None else f", half of them at most {number(middle * scale.factor)}"
    description = (
        f"{plural(found.n, 'sample')}: from {number(values[0])} to {number(values[-1])}{told} "
        f"{scale.suffix}"
    )
    line = Line(polyline(pixels), "quantile-line line-1")
    return Plot(x, y, description, lines=(line,), height=HEIGHT)


def _distribution(name: str, title: str, values: Sequence[float]) -> Distribution:
    ordered, n = sorted(values), len(values)
    count = min(n, MOST_POINTS)
    reasons = [_too_few(n, p) for p in PERCENTILES]
    return Distribution(
        name=name,
        title=title,
        n=n,
        points=tuple(rounded(_at(ordered, k, count - 1), _DIGITS) for k in range(count)),
        percentiles=tuple(
            None if reason else rounded(percentile(ordered, p))
            for p, reason in zip(PERCENTILES, reasons, strict=True)
        ),
        reasons=tuple(reasons),
    )


def _at(ordered: Sequence[float], k: int, parts: int) -> float:
    """Return the quantile at k / parts, by linear interpolation as percentiles are made."""
    whole, rest = divmod((len(ordered) - 1) * k, max(1, parts))
    if rest == 0:
        return ordered[whole]
    return ordered[whole] + (ordered[whole + 1] - ordered[whole]) * rest / parts


def _too_few(n: int, p: int) -> str:
    """Return why a percentile is not told; the lower tail needs what the upper one does."""
    least = needed(max(p, 100 - p))
    name = "the median" if p == 50 else f"p{p}"
    return "" if n >= least else f"{name} needs {least} samples, there are {n}"
