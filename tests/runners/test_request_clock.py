"""The times of a request: a clock that goes back makes them worthless."""

from __future__ import annotations

import pytest

from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import BatchTimes, Request


def times(*seconds: float) -> BatchTimes:
    sent_s, encoded_s, *token_s = seconds
    return BatchTimes(sent_s, encoded_s, tuple(token_s), tuple(0.0 for _ in token_s))


def test_times_that_stand_still_or_go_forward_are_taken() -> None:
    trace = times(1.0, 1.0, 1.5, 1.5, 1.75).trace(Request("p", "text", 3), 4, [7, 8, 9])
    assert (trace.sent_s, trace.token_s) == (1.0, (1.5, 1.5, 1.75))


@pytest.mark.parametrize(
    ("seconds", "back"),
    [((1.0, 0.9, 2.0), "0.1"), ((1.0, 1.1, 0.6), "0.5"), ((1.0, 1.1, 2.0, 1.75, 3.0), "0.25")],
)
def test_a_clock_that_steps_back_fails_the_run(seconds: tuple[float, ...], back: str) -> None:
    with pytest.raises(ArmError, match=f"clock went back by {back} s during a request"):
        times(*seconds)
