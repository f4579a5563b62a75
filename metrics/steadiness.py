"""How far a series is from level: its spread, its trend, and how it falls apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import median

from leanboard.metrics.percentile import percentile

MIN_VALUES = 5
"""Fewest values of which a spread or a trend is said."""

_NORMAL_IQR = 1.349
_TREND_SCORE = 1.96


def spread(values: Sequence[float]) -> float | None:
    """Return the interquartile range / 1.349 as a share of the median.

    For normal values the coefficient of variation; a few outliers leave it as it is. ``None`` for
    fewer than ``MIN_VALUES`` values, or a median that is not positive.
    """
    if len(values) < MIN_VALUES or median(values) <= 0:
        return None
    return (percentile(values, 75) - percentile(values, 25)) / _NORMAL_IQR / median(values)


def middle_range(values: Sequence[float]) -> float | None:
    """Return the distance of the 10th and the 90th percentile as a share of the median.

    ``None`` for fewer than ``MIN_VALUES`` values, or a median that is not positive.
    """
    if len(values) < MIN_VALUES or median(values) <= 0:
        return None
    return (percentile(values, 90) - percentile(values, 10)) / median(values)


def trend(values: Sequence[float]) -> float | None:
    """Return the change from the first value to the last, along a line, as a share of the median.

    The line is Theil and Sen's: the median slope over all pairs. 0 where Mann and Kendall's test
    shows no trend at 5%. ``None`` for fewer than ``MIN_VALUES`` values, or a median that is not
    positive.

    Source: Sen, Estimates of the regression coefficient based on Kendall's tau (1968).
    """
    n = len(values)
    if n < MIN_VALUES or median(values) <= 0:
        return None
    slopes = [(b - a) / (j - i) for (i, a), (j, b) in combinations(enumerate(values), 2)]
    rises = sum((slope > 0) - (slope < 0) for slope in slopes)
    score = (abs(rises) - 1) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    return median(slopes) * (n - 1) / median(values) if score > _TREND_SCORE else 0.0


def widest_gap(values: Sequence[float]) -> float | None:
    """Return the largest step between neighbours of the sorted values, as a share of the lower one.

    ``None`` for fewer than three values, or values that are not all positive.
    """
    if len(values) < 3 or min(values) <= 0:
        return None
    return max(b / a - 1 for a, b in pairwise(sorted(values)))
