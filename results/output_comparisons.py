"""Greedy outputs of timed requests against the baseline's: the same, up to ties, or not."""

from __future__ import annotations

from collections.abc import Iterator

from leanboard.metrics.intervals import METHOD_VERSION
from leanboard.metrics.lossless import TIE_NATS, Difference, Lossless, lossless
from leanboard.metrics.metric import Missing, Verdict
from leanboard.metrics.trace import Provenance, RequestObservation
from leanboard.results.schema import Comparison

LOSSLESS = "lossless"
UP_TO_TIES = "lossless_up_to_ties"


def output_comparisons(
    candidate: RequestObservation, baseline: RequestObservation, baseline_run: str
) -> Iterator[Comparison]:
    """Yield whether the candidate is lossless and, where ties were judged, whether up to ties.

    Both have the statistic ``agreement``: the share of prompts whose output equals the baseline's
    token for token, and of those whose output does or first differs at a tie. So 1 is a yes, and
    the reason of another value counts the differences and names the first.

    Args:
        candidate: observation of an arm with techniques.
        baseline: observation of the arm without, from the same block.
        baseline_run: run id of the baseline.
    """
    found = lossless(candidate, baseline)
    if isinstance(found, Missing):
        yield _agreement(LOSSLESS, baseline_run, None, 0, found.reason)
        return
    share, n, reason = 1 - found.differing / found.prompts, found.prompts, _told(found)
    yield _agreement(LOSSLESS, baseline_run, share, n, reason)
    if found.judged:
        share = 1 - (found.differing - found.ties) / found.prompts
        told = None if found.ties == found.differing else reason
        yield _agreement(UP_TO_TIES, baseline_run, share, n, told)


def _told(found: Lossless) -> str | None:
    if found.first is None:
        return None
    differ = f"{found.differing} of {found.prompts} outputs differ"
    if not found.judged:
        return f"{differ}, first {_place(found.first)}"
    tie = f"at a tie (two tokens within {TIE_NATS:g} nats)"
    if found.ties == found.differing:
        return f"{differ}, each first {tie}; the first {_place(found.first)}"
    return f"{differ}, {found.ties} of them first {tie}; the first other {_place(found.first)}"


def _place(difference: Difference) -> str:
    gap = difference.gap_nats
    place = f"on prompt {difference.prompt_id} at token {difference.position}"
    return place if gap is None else f"{place}, {gap:.2g} nats apart"


def _agreement(
    metric: str, baseline_run: str, value: float | None, n: int, reason: str | None
) -> Comparison:
    # Another output is not a worse one: scores say that.
    same = value is not None and reason is None
    return Comparison(
        metric=metric,
        statistic="agreement",
        baseline_run=baseline_run,
        value=value,
        interval=None,
        n=n,
        verdict=Verdict.NO_DIFFERENCE_SHOWN if same else Verdict.UNDECIDED,
        provenance=None if value is None else Provenance.MEASURED,
        method_version=METHOD_VERSION,
        reason=reason,
    )
