"""The bounded form of the baseline's predictions: its numbers by hand, and its file."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from leanboard.metrics.metric import Missing
from leanboard.results.errors import ArmError, LeanboardError
from leanboard.runners.accuracy import reference as module
from leanboard.runners.accuracy.reference import (
    KEPT_TOKENS,
    Keeper,
    Reference,
    compare,
    kl_divergence,
    log_sum,
    most_likely,
    read,
    spread,
)
from leanboard.runners.backends.base import Span


def logs(*rows: list[float]) -> np.ndarray:
    return np.log(np.array(rows)).astype(np.float32)


def random_logs(seed: int, rows: int, vocabulary: int, scale: float = 2.0) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, scale, (rows, vocabulary))
    return (logits - log_sum(logits)[:, None]).astype(np.float32)


def spans_of(tokens: int) -> list[Span]:
    return [Span((0,), tuple(range(tokens)))]


def kept(rows: np.ndarray) -> Reference:
    keeper = Keeper(spans_of(len(rows)), rows.shape[1])
    keeper.add(rows)
    return keeper.reference()


@pytest.fixture
def two_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_TOKENS", 2)


P = [0.125, 0.5, 0.125, 0.25]


@pytest.mark.usefixtures("two_kept")
def test_the_most_likely_tokens_and_the_rest_are_kept() -> None:
    found = kept(logs(P))
    assert found.ids.tolist() == [[1, 3]]
    assert found.kept[0] == pytest.approx([math.log(0.5), math.log(0.25)])
    assert found.rest == pytest.approx([math.log(0.25)])
    assert found.whole_at.tolist() == [0]
    assert found.whole[0] == pytest.approx(np.log(P))


@pytest.mark.usefixtures("two_kept")
def test_the_divergence_worked_by_hand() -> None:
    # q halves and doubles the first two; the rest, 1/4, is shared 1/16 and 3/16 instead of in two.
    # Kept: 1/2 ln 2 + 1/4 ln 1/2 + 1/4 ln 1 = 1/4 ln 2.
    # Whole: 1/4 ln 2 + 1/8 ln(1/8 : 1/16) + 1/8 ln(1/8 : 3/16) = 1/4 ln 2 + 1/8 ln 4/3.
    found = compare(kept(logs(P)), 0, logs([0.0625, 0.25, 0.1875, 0.5]))
    assert found.kl_nats == pytest.approx([0.25 * math.log(2)], abs=1e-7)
    assert found.bound_nats == pytest.approx(found.kl_nats)
    assert found.whole_nats == pytest.approx([0.25 * math.log(2) + math.log(4 / 3) / 8], abs=1e-7)
    assert found.rest == pytest.approx([0.25])
    assert found.agrees.tolist() == [False]


def test_of_a_small_vocabulary_everything_is_kept_and_the_divergence_is_whole() -> None:
    found = compare(kept(logs(P)), 0, logs([0.25, 0.25, 0.25, 0.25]))
    # 1/4 ln 1/2 + 1/2 ln 2 + 1/4 ln 1 = 1/4 ln 2.
    assert found.kl_nats == pytest.approx([0.25 * math.log(2)], abs=1e-7)
    assert found.whole_nats == pytest.approx(found.kl_nats, abs=1e-12)
    assert found.rest.tolist() == [0.0]


def test_a_token_that_ties_for_the_first_place_agrees() -> None:
    baseline = kept(logs([0.5, 0.3, 0.2], [0.4, 0.4, 0.2], [0.2, 0.3, 0.5]))
    candidate = logs([0.4, 0.4, 0.2], [0.3, 0.5, 0.2], [0.2, 0.3, 0.5])
    # The baseline's first of two equals is token 0, which the candidate has behind token 1.
    assert compare(baseline, 0, candidate).agrees.tolist() == [True, False, True]


def test_the_order_of_kept_tokens_is_by_probability_and_then_by_id() -> None:
    assert most_likely(logs([0.2, 0.1, 0.2, 0.5]), 3).tolist() == [[3, 0, 2]]
    assert most_likely(logs([0.25, 0.25, 0.25, 0.25]), 4).tolist() == [[0, 1, 2, 3]]


def test_the_same_predictions_diverge_by_exactly_nothing() -> None:
    rows = random_logs(1, 40, 2000)
    found = compare(kept(rows), 0, rows)
    assert not found.kl_nats.any()
    assert not found.whole_nats.any()
    assert found.agrees.all()


@pytest.mark.parametrize("seed", range(5))
def test_the_bound_lies_between_nothing_and_the_whole_divergence(seed: int) -> None:
    p, q = random_logs(seed, 60, 2000), random_logs(seed + 100, 60, 2000)
    near = random_logs(seed, 60, 2000) + random_logs(seed + 7, 60, 2000) * 1e-4
    near = (near - log_sum(near)[:, None]).astype(np.float32)
    for other in (q, near):
        found = compare(kept(p), 0, other)
        whole = kl_divergence(p.astype(np.float64), other.astype(np.float64))
        assert (found.kl_nats >= -1e-12).all()
        assert (found.kl_nats <= whole + 1e-12).all()
        assert (found.bound_nats < found.whole_nats).all()
        assert found.whole_nats == pytest.approx(whole[spread(60)], rel=1e-9)


def test_a_part_of_the_text_is_compared_with_its_own_rows() -> None:
    p, q = random_logs(3, 50, 600), random_logs(4, 50, 600)
    every = compare(kept(p), 0, q)
    first, second = compare(kept(p), 0, q[:20]), compare(kept(p), 20, q[20:])
    for name in ("kl_nats", "agrees", "rest", "whole_nats", "bound_nats"):
        parts = np.concatenate([getattr(first, name), getattr(second, name)])
        assert np.array_equal(parts, getattr(every, name))


def test_rows_that_are_worked_on_in_parts_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    p, q = random_logs(5, 33, 500), random_logs(6, 33, 500)
    once, found = kept(p), compare(kept(p), 0, q)
    monkeypatch.setattr(module, "_AT_ONCE", 7 * 500)
    again = kept(p)
    assert all(np.array_equal(getattr(once, n), getattr(again, n)) for n in ("ids", "kept", "rest"))
    assert np.array_equal(compare(again, 0, q).kl_nats, found.kl_nats)


def test_an_outcome_that_cannot_happen_adds_nothing_or_everything() -> None:
    never, always = np.log([[0.5, 0.5]]), np.array([[0.0, -np.inf]])
    assert kl_divergence(always, never) == pytest.approx([math.log(2)])
    assert kl_divergence(never, always).tolist() == [math.inf]


def test_whole_distributions_are_kept_at_the_middles_of_equal_stretches() -> None:
    assert spread(3).tolist() == [0, 1, 2]
    assert spread(64).tolist() == list(range(1, 64, 2))
    assert spread(0).tolist() == []


def test_a_token_costs_about_four_kibibytes() -> None:
    found = kept(random_logs(1, 10, 2000))
    assert found.ids.shape == (10, KEPT_TOKENS)
    each = (found.ids.nbytes + found.kept.nbytes + found.rest.nbytes) / 10
    assert each == 8 * KEPT_TOKENS + 8 == 4104


@pytest.mark.parametrize("wrong", [math.nan, 5.0])
def test_numbers_that_are_no_log_probabilities_are_refused(wrong: float) -> None:
    rows = random_logs(1, 4, 800)
    broken = rows.copy()
    broken[2, 7] = wrong
    with pytest.raises(ArmError, match="do not sum to 1"):
        kept(broken)
    with pytest.raises(ArmError, match="do not sum to 1"):
        compare(kept(rows), 0, broken)


ROWS = random_logs(1, 40, 800)


def test_a_reference_comes_back_from_its_file(tmp_path: Path) -> None:
    written = kept(ROWS)
    path = tmp_path / "deep" / "reference.npz"
    written.write(path)
    found = read(path, spans_of(40), 800)
    assert isinstance(found, Reference)
    assert found.windows == written.windows
    for name in ("ids", "kept", "rest", "whole_at", "whole"):
        assert np.array_equal(getattr(found, name), getattr(written, name))
        assert getattr(found, name).dtype == getattr(written, name).dtype
    assert [file.name for file in path.parent.iterdir()] == ["reference.npz"]


def test_a_file_that_is_not_there_is_no_reference(tmp_path: Path) -> None:
    found = read(tmp_path / "none.npz", spans_of(40), 800)
    assert found == Missing("the baseline's predictions were not kept")


def test_a_reference_of_other_tokens_or_another_vocabulary_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    kept(ROWS).write(path)
    reason = "the baseline's predictions are of another text or another tokenizer"
    assert read(path, [Span((1,), tuple(range(40)))], 800) == Missing(reason)
    assert read(path, spans_of(40), 301) == Missing(reason)


def changed(name: str, at: tuple[int, ...], value: float) -> Reference:
    array = getattr(kept(ROWS), name).copy()
    array[at] = value
    return replace(kept(ROWS), **{name: array})


@pytest.mark.parametrize(
    "damaged",
    [
        changed("kept", (3, 0), math.nan),
        changed("kept", (3, 0), -0.001),
        changed("kept", (3, 0), 800.0),
        changed("rest", (3,), -0.5),
        changed("rest", (3,), math.nan),
        changed("ids", (3, 0), 800),
        changed("ids", (3, 0), -1),
        changed("whole", (0, 0), 0.0),
        changed("whole", (0, 0), math.nan),
        changed("whole_at", (0,), 39),
        replace(kept(ROWS), ids=kept(ROWS).ids[:, :-1]),
        replace(kept(ROWS), kept=kept(ROWS).kept[:-1]),
        replace(kept(ROWS), rest=kept(ROWS).rest.astype(np.float32)),
    ],
    ids=lambda _: "",
)
def test_a_reference_that_is_not_what_it_should_be_is_refused(
    tmp_path: Path, damaged: Reference
) -> None:
    path = tmp_path / "reference.npz"
    damaged.write(path)
    assert read(path, spans_of(40), 800) == Missing("the baseline's predictions are damaged")


def test_a_file_that_is_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    kept(ROWS).write(path)
    whole = path.read_bytes()
    for data in (b"", b"no archive", whole[: len(whole) // 2], _flipped(whole)):
        path.write_bytes(data)
        found = read(path, spans_of(40), 800)
        assert isinstance(found, Missing)
        assert found.reason.startswith("the baseline's predictions cannot be read (")
    with path.open("wb") as file:
        np.save(file, ROWS)
    assert isinstance(read(path, spans_of(40), 800), Missing)


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


def test_a_file_that_holds_code_is_never_run(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    arrays = {"format": np.array([print], dtype=object), "windows": np.array("x")}
    np.savez(path, allow_pickle=True, **arrays)
    found = read(path, spans_of(40), 800)
    assert found == Missing("the baseline's predictions cannot be read (ValueError)")


def test_a_reference_of_another_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "reference.npz"
    monkeypatch.setattr(module, "FORMAT", 0)
    kept(ROWS).write(path)
    monkeypatch.undo()
    reason = "the baseline's predictions were kept by another leanboard"
    assert read(path, spans_of(40), 800) == Missing(reason)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LeanboardError, match="cannot write to"):
        kept(ROWS).write(tmp_path / "file" / "reference.npz")
