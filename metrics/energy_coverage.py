"""How many of a run's energy windows have joules."""

from __future__ import annotations

from collections import Counter

from leanboard.metrics.trace import Observation, Phase


def missing_windows(observation: Observation) -> str | None:
    """Say how many of the timed windows have no joules, with the most frequent reason.

    Metrics leave such windows out. ``None`` where none lacks joules, and where all do: then the
    metrics are null and give the reason themselves. The first of equally frequent reasons is given.

    Args:
        observation: any observation; energy windows are common to all.
    """
    timed = [window for window in observation.windows if window.phase is Phase.MIXED]
    reasons = [w.reason or "no reason was recorded" for w in timed if w.energy_j is None]
    if not reasons or len(reasons) == len(timed):
        return None
    lack = "has" if len(reasons) == 1 else "have"
    ((reason, _),) = Counter(reasons).most_common(1)
    return f"{len(reasons)} of {len(timed)} energy windows {lack} no joules: {reason}"
