"""When there are enough rounds: the intervals of the watched ratios are narrow, twice in a row.

A rule that stops at the first narrow interval stops too often where the spread happened to look
small, and such an interval holds the truth less often than it says. So the interval must be narrow
at two checkpoints in a row, of which the second brings new launches.

Simulated: A/A with independent normal log ratios a launch (rounds of a launch, and what launches
differ by, fall together into the spread of its mean), a width of 5%, spreads from 0.5 to 8%. Share
of 95% intervals that hold 1, lowest and highest over the spreads, 20,000 trials each:

    launches at a look     at the first narrow one   at the second in a row
    8, 16, 24, 32               0.940 to 0.962           0.944 to 0.956
    8, 16, 24 ... 64            0.941 to 0.963           0.947 to 0.956
    16, 32, 48, 64              0.941 to 0.960           0.945 to 0.950
    6, 12, 18, 24, 30           0.939 to 0.969           0.946 to 0.959

A slow-down by 5% is shown in at least 99% of the trials up to a spread of 6% where 64 launches are
allowed, and up to 5% where 30 or 32 are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leanboard.metrics.comparison import RatioEstimate, compare
from leanboard.metrics.pairs import paired_ratios
from leanboard.metrics.registry import metric
from leanboard.metrics.trace import Observation

Widths = Mapping[str, float | None]
"""Relative width of the widest interval of each watched ratio; ``None`` where one has none."""


def relative_width(estimate: RatioEstimate) -> float | None:
    """Return (high - low) / value of a ratio; ``None`` where it has no interval."""
    if estimate.interval is None or estimate.value is None:
        return None
    return (estimate.interval.high - estimate.interval.low) / estimate.value


def widths(
    candidates: Sequence[Observation], baseline: Observation, watched: Sequence[str]
) -> dict[str, float | None]:
    """Return the widest relative width over the candidates for each watched metric.

    ``None`` where a candidate has no interval: it can only be waited for. Without a candidate
    there is nothing to wait for, and the answer is empty.

    Args:
        candidates: what each candidate that still runs has shown so far.
        baseline: what the baseline has shown so far.
        watched: names of metrics.

    Raises:
        KeyError: if a watched metric does not exist.
    """
    if not candidates:
        return {}
    return {name: _widest(name, candidates, baseline) for name in watched}


def _widest(name: str, candidates: Sequence[Observation], baseline: Observation) -> float | None:
    column = metric(name)
    found = [
        relative_width(compare(column, paired_ratios(column, candidate, baseline)))
        for candidate in candidates
    ]
    known = [width for width in found if width is not None]
    return max(known) if len(known) == len(found) else None


def satisfied(looks: Sequence[Widths], target: float) -> bool:
    """Return whether the watched intervals were narrow enough at the last two checkpoints.

    Args:
        looks: the widths at every checkpoint so far, in order.
        target: widest relative width that is narrow enough (0.05: from 0.975 to 1.025).
    """
    return len(looks) >= 2 and all(_narrow(widths, target) for widths in looks[-2:])


def _narrow(found: Widths, target: float) -> bool:
    return all(width is not None and width <= target for width in found.values())
