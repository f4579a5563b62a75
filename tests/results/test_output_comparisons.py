"""What a record says of outputs that part from the baseline's, with and without ties."""

from __future__ import annotations

from dataclasses import replace

from record_factory import request_observation

from leanboard.metrics.lossless import partings, with_tie_gaps
from leanboard.metrics.metric import Verdict
from leanboard.metrics.trace import Provenance, RequestObservation
from leanboard.results.output_comparisons import LOSSLESS, UP_TO_TIES, output_comparisons
from leanboard.results.schema import Comparison
from leanboard.results.traces import from_parquet, to_parquet

BASELINE = "20261120T120000Z-00000000"
THEIRS = request_observation()
PROMPTS = tuple(dict.fromkeys(request.prompt_id for request in THEIRS.requests))


def parted(number: int) -> RequestObservation:
    """Return the observation with another fourth token after so many of the eight prompts."""
    requests = tuple(
        replace(r, output_ids=(*r.output_ids[:3], 999, *r.output_ids[4:]))
        if r.prompt_id in PROMPTS[:number]
        else r
        for r in THEIRS.requests
    )
    return replace(THEIRS, requests=requests)


def compared(candidate: RequestObservation) -> dict[str, Comparison]:
    return {c.metric: c for c in output_comparisons(candidate, THEIRS, BASELINE)}


def judged(number: int, *gaps: float) -> dict[str, Comparison]:
    candidate = parted(number)
    places = partings(candidate, THEIRS)
    assert len(places) == number
    noted = with_tie_gaps(candidate, THEIRS, dict(zip(places, gaps, strict=False)))
    stored = from_parquet(to_parquet(noted))
    assert isinstance(stored, RequestObservation)
    assert stored == noted
    return compared(stored)


def test_equal_outputs_are_lossless_and_nothing_is_said_of_ties() -> None:
    found = compared(THEIRS)
    assert list(found) == [LOSSLESS]
    assert (found[LOSSLESS].value, found[LOSSLESS].reason) == (1.0, None)


def test_differences_that_were_not_judged_say_nothing_of_ties() -> None:
    found = compared(parted(2))
    assert list(found) == [LOSSLESS]
    reason = f"2 of 8 outputs differ, first on prompt {PROMPTS[0]} at token 3"
    assert (found[LOSSLESS].value, found[LOSSLESS].reason) == (0.75, reason)


def test_ties_alone_make_it_lossless_up_to_ties() -> None:
    found = judged(2, 0.0, -0.0005)
    assert found[LOSSLESS].value == 0.75
    assert found[LOSSLESS].verdict is Verdict.UNDECIDED
    assert found[LOSSLESS].reason == (
        "2 of 8 outputs differ, each first at a tie (two tokens within 0.001 nats); the first on "
        f"prompt {PROMPTS[0]} at token 3, 0 nats apart"
    )
    tied = found[UP_TO_TIES]
    assert (tied.statistic, tied.value, tied.n, tied.reason) == ("agreement", 1.0, 8, None)
    assert tied.verdict is Verdict.NO_DIFFERENCE_SHOWN
    assert tied.provenance is Provenance.MEASURED


def test_one_real_difference_is_a_no_that_counts_the_ties() -> None:
    found = judged(3, 0.0, 0.25)
    assert (found[LOSSLESS].value, found[UP_TO_TIES].value) == (0.625, 0.75)
    reason = (
        "3 of 8 outputs differ, 1 of them first at a tie (two tokens within 0.001 nats); the first "
        f"other on prompt {PROMPTS[1]} at token 3, 0.25 nats apart"
    )
    assert {c.reason for c in found.values()} == {reason}
    assert {c.verdict for c in found.values()} == {Verdict.UNDECIDED}


def test_outputs_that_cannot_be_compared_give_the_reason() -> None:
    other = replace(THEIRS, requests=tuple(replace(r, prompt_id="x") for r in THEIRS.requests))
    found = compared(other)
    assert list(found) == [LOSSLESS]
    assert found[LOSSLESS].value is None
    assert found[LOSSLESS].reason == "candidate and baseline share no prompt"
