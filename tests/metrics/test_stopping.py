"""When rounds end, and what the rule does to coverage."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from leanboard.metrics.comparison import compare
from leanboard.metrics.metric import Missing
from leanboard.metrics.pairs import PairedRatios
from leanboard.metrics.registry import metric
from leanboard.metrics.signed_rank import averages_left_out, ratio_interval
from leanboard.metrics.stopping import relative_width, satisfied, widths
from leanboard.metrics.trace import RequestObservation, RequestTrace

TPOT = metric("tpot_s")
TARGET = 0.05


def arm(tpot_s: Sequence[float]) -> RequestObservation:
    """Requests of two tokens, one a launch."""
    return RequestObservation(
        requests=tuple(
            RequestTrace("p", "a", i, False, 0, 0.0, 0.0, None, (1.0, 1.0 + v), 1, (1, 2), launch=i)
            for i, v in enumerate(tpot_s)
        )
    )


def test_the_relative_width_is_that_of_the_interval() -> None:
    # As in the comparison worked by hand: [0.5 / 1.1, 0.5 x 1.1].
    ratios = PairedRatios((0.5 * 1.1, 0.5 / 1.1) * 4, tuple(range(8)))
    assert relative_width(compare(TPOT, ratios)) == pytest.approx(1.1 - 1 / 1.1)


def test_without_an_interval_there_is_no_width() -> None:
    assert relative_width(compare(TPOT, PairedRatios((0.5,) * 4, (0, 1, 2, 3)))) is None
    assert relative_width(compare(TPOT, Missing("killed"))) is None


def test_the_widest_candidate_counts_for_each_watched_metric() -> None:
    baseline, calm, wild = arm([1.0] * 8), arm([2.0] * 8), arm([1.0, 1.2] * 4)
    found = widths([calm, wild], baseline, ["tpot_s", "ttft_s"])
    alone = widths([wild], baseline, ["tpot_s"])
    assert found == {"tpot_s": alone["tpot_s"], "ttft_s": pytest.approx(0.0, abs=1e-12)}
    assert (alone["tpot_s"] or 0) > 0.1


def test_a_candidate_without_an_interval_is_waited_for() -> None:
    baseline = arm([1.0] * 8)
    assert widths([baseline, arm([1.0] * 3)], baseline, ["tpot_s"]) == {"tpot_s": None}


def test_a_baseline_alone_has_nothing_to_wait_for() -> None:
    assert widths([], arm([1.0] * 8), ["tpot_s"]) == {}
    assert satisfied([{}, {}], TARGET)


def test_a_watched_metric_must_exist() -> None:
    with pytest.raises(KeyError, match="did you mean"):
        widths([arm([1.0])], arm([1.0]), ["tpot"])


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([], False),
        ([0.04], False),
        ([0.04, 0.04], True),
        ([0.04, 0.05], True),
        ([0.06, 0.04], False),
        ([0.04, 0.06], False),
        ([0.06, 0.04, 0.04], True),
        ([0.04, 0.06, 0.04], False),
        ([None, 0.04], False),
        ([0.04, None], False),
    ],
)
def test_the_last_two_looks_must_be_narrow(looks: list[float | None], *, expected: bool) -> None:
    assert satisfied([{"tpot_s": width} for width in looks], TARGET) is expected


def test_every_watched_metric_must_be_narrow() -> None:
    narrow = {"tpot_s": 0.01, "ttft_s": 0.04}
    assert satisfied([narrow, narrow], TARGET)
    assert not satisfied([narrow, narrow | {"ttft_s": 0.06}], TARGET)


def intervals(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both ends of the interval of each row's middle: ``ratio_interval`` of many at once."""
    n = logs.shape[1]
    rows, columns = np.triu_indices(n)
    averages = (logs[:, rows] + logs[:, columns]) / 2
    places = [averages_left_out(n) - 1, len(rows) - averages_left_out(n)]
    ends = np.partition(averages, places, axis=1)[:, places]
    return ends[:, 0], ends[:, 1]


def test_these_intervals_are_those_of_the_product() -> None:
    logs = np.random.default_rng(3).normal(0.1, 0.2, (5, 12))
    low, high = intervals(logs)
    for row, *ends in zip(logs, np.exp(low), np.exp(high), strict=True):
        found = ratio_interval(list(np.exp(row)))
        assert found is not None
        assert [found.low, found.high] == pytest.approx(ends)


def relative(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return how wide intervals are, as shares of a ratio that lies in their middle."""
    return np.asarray(2 * np.sinh((high - low) / 2))


def stopped(logs: np.ndarray, looks: Sequence[int]) -> tuple[float, float, float]:
    """Follow the rule; return coverage of 0, mean number of launches, share that leaves out 0."""
    trials = len(logs)
    held, taken = np.zeros(trials, dtype=bool), np.zeros(trials, dtype=int)
    history: list[list[dict[str, float | None]]] = [[] for _ in range(trials)]
    for n in looks:
        low, high = intervals(logs[:, :n])
        width = relative(low, high)
        for i in np.flatnonzero(taken == 0):
            history[i].append({"tpot_s": float(width[i])})
            if n == looks[-1] or satisfied(history[i], TARGET):
                taken[i], held[i] = n, low[i] <= 0 <= high[i]
    return float(held.mean()), float(taken.mean()), float(1 - held.mean())


@pytest.mark.parametrize("spread", [0.01, 0.02, 0.03, 0.04, 0.06])
@pytest.mark.parametrize("looks", [range(8, 33, 8), range(16, 65, 16), range(8, 65, 8)])
def test_stopping_keeps_the_coverage(spread: float, looks: Sequence[int]) -> None:
    trials = 4000
    chance = np.random.default_rng(int(1e4 * spread) + len(looks))
    logs = chance.normal(0, spread, (trials, looks[-1]))
    covered, _, _ = stopped(logs, looks)
    # 0.95 +- 0.01, and three standard errors of 4000 trials.
    assert 0.94 - 0.0104 <= covered <= 0.96 + 0.0104


def test_stopping_at_the_first_narrow_interval_would_keep_it_less_often() -> None:
    trials, looks = 10_000, range(6, 31, 6)
    logs = np.random.default_rng(5).normal(0, 0.04, (trials, looks[-1]))
    held = np.zeros(trials, dtype=bool)
    going = np.ones(trials, dtype=bool)
    for n in looks:
        low, high = intervals(logs[:, :n])
        ends = going & ((relative(low, high) <= TARGET) | (n == looks[-1]))
        held[ends] = ((low <= 0) & (high >= 0))[ends]
        going &= ~ends
    covered, _, _ = stopped(logs, looks)
    assert held.mean() < covered - 0.003


def test_launches_that_differ_are_covered_by_their_means_and_not_by_their_rounds() -> None:
    chance = np.random.default_rng(7)
    trials, launches, rounds = 2000, 8, 2
    process = chance.normal(0, 0.03, (trials, launches, 1))
    logs = process + chance.normal(0, 0.02, (trials, launches, rounds))
    covered, _, _ = stopped(logs.mean(axis=2), [launches])
    naive, _, _ = stopped(logs.reshape(trials, -1), [launches * rounds])
    assert 0.935 <= covered <= 0.965
    assert naive < 0.90


@pytest.mark.parametrize(("spread", "least"), [(0.02, 0.999), (0.03, 0.99), (0.05, 0.94)])
def test_five_percent_slower_is_found(spread: float, least: float) -> None:
    chance = np.random.default_rng(int(1e4 * spread))
    logs = np.log(1.05) + chance.normal(0, spread, (2000, 32))
    _, _, found = stopped(logs, range(8, 33, 8))
    assert found >= least
