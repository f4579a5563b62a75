"""Idealized runtime: the fit finds what it should, and is tested on lengths that it never sees."""

from __future__ import annotations

import random

import pytest
from hardware_examples import of_lengths, request

from leanboard.metrics.idealized import Fit, Point, fit, held_out, points
from leanboard.metrics.metric import Missing
from leanboard.metrics.registry import metric
from leanboard.metrics.trace import AnswerObservation, Provenance, RequestObservation

LENGTHS = [64, 96, 128, 192, 256, 320, 384, 512]


def fitted(observation: RequestObservation) -> Fit:
    found = fit(observation)
    assert isinstance(found, Fit)
    return found


def test_every_other_length_between_the_ends_is_held_out() -> None:
    assert held_out(LENGTHS) == (96, 192, 320)
    assert held_out([3, 1, 2, 2]) == (2,)


def test_the_columns_of_a_point_are_those_of_the_model() -> None:
    # Three tokens after a prompt of 10: two more steps, which attend to 11 and 12 positions.
    assert Point(10, 3, 1.0).columns == (1, 10, 100, 2, 23)


def test_a_point_is_the_median_of_its_requests_at_four_output_lengths() -> None:
    times_s = [float(k) for k in range(1, 9)]
    late = [t + 100 for t in times_s]
    seen = RequestObservation(
        requests=(request(0, 5, times_s), request(1, 5, late), request(2, 5, times_s))
    )
    four = [Point(5, 1, 1), Point(5, 2, 2), Point(5, 4, 4), Point(5, 8, 8)]
    assert points(seen) == four
    assert points(RequestObservation(requests=seen.requests[:2])) == four


def test_a_line_is_found_without_the_terms_that_it_does_not_need() -> None:
    seen = of_lengths(LENGTHS, lambda p, o: 0.2 + 0.003 * p + 0.05 * (o - 1), outputs=16)
    found = fitted(seen)
    assert found.coefficients == pytest.approx((0.2, 0.003, 0, 0.05, 0), abs=1e-9)
    assert found.error == pytest.approx(0, abs=1e-9)
    assert (found.prompt_tokens, found.output_tokens) == (192, 16)


def test_quadratic_prefill_and_growing_steps_are_found_where_they_are() -> None:
    def time_s(p: int, o: int) -> float:
        attended = sum(p + j for j in range(1, o))
        return 0.2 + 0.003 * p + 4e-6 * p * p + 0.05 * (o - 1) + 1e-4 * attended

    found = fitted(of_lengths(LENGTHS, time_s, outputs=16))
    assert found.coefficients == pytest.approx((0.2, 0.003, 4e-6, 0.05, 1e-4), rel=1e-6)
    assert found.time_s(200, 10) == pytest.approx(time_s(200, 10), rel=1e-9)


def test_noise_of_five_percent_leaves_an_error_below_ten() -> None:
    noise = random.Random(7)

    def time_s(p: int, o: int) -> float:
        return (0.2 + 0.003 * p + 0.05 * (o - 1)) * noise.gauss(1, 0.05)

    assert 0 < fitted(of_lengths(LENGTHS * 2, time_s)).error < 0.1


def test_a_machine_that_jumps_between_lengths_shows_a_large_error() -> None:
    seen = of_lengths(LENGTHS, lambda p, o: (3.0 if p in held_out(LENGTHS) else 1.0) + o)
    assert fitted(seen).error > 0.1


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (RequestObservation(), "no timed request succeeded"),
        (AnswerObservation(), "the observation holds no generation requests"),
        (of_lengths([8, 16], lambda p, o: p + o), "needs 3 of them, there are 2"),
        (of_lengths([8, 16, 32], lambda p, o: p + o, outputs=1), "at least 2 output tokens"),
        (of_lengths([8, 16, 32], lambda p, o: 0.0 * p * o), "took no measurable time"),
    ],
)
def test_where_nothing_can_be_fitted_the_reason_is_given(
    seen: RequestObservation, reason: str
) -> None:
    found = metric("idealized_runtime_s").reduce(seen)
    assert isinstance(found, Missing)
    assert reason in found.reason


def test_a_fitted_number_is_modelled() -> None:
    drawn = metric("idealized_t_out_s").reduce(of_lengths([8, 16, 32], lambda p, o: p + o))
    assert not isinstance(drawn, Missing)
    assert drawn.provenance is Provenance.MODELLED
