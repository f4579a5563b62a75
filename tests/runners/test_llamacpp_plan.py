"""What is fed to llama.cpp, without llama.cpp: shared beginnings once, batches filled."""

from __future__ import annotations

import random

import pytest

from leanboard.runners.backends.base import Span
from leanboard.runners.backends.llama_alone import pieces
from leanboard.runners.backends.llama_context import Token, batch_of
from leanboard.runners.backends.llama_plan import Path, plan_batches, plan_paths
from leanboard.runners.backends.llama_tree import TRUNK, Branch, Trunk
from leanboard.runners.backends.spans import common_prefix, fed


class Cells:
    """A cache that holds what llama.cpp's would: (token, position) of each sequence."""

    def __init__(self) -> None:
        self.held: dict[int, list[int]] = {}
        self.fed = 0

    def fork(self, source: int, target: int, count: int = -1) -> None:
        tokens = self.held.get(source, [])
        self.held[target] = list(tokens if count < 0 else tokens[:count])

    def drop(self, sequence: int) -> None:
        self.held.pop(sequence, None)

    def cut(self, sequence: int, count: int) -> None:
        del self.held[sequence][count:]

    def decode(self, tokens: list[Token]) -> None:
        """Take tokens; each must stand right behind what its sequences hold."""
        self.fed += len(tokens)
        for token in tokens:
            for sequence in token.sequences:
                held = self.held.setdefault(sequence, [])
                assert len(held) == token.position
                held.append(token.id)


def random_spans(seed: int, count: int) -> list[Span]:
    """Spans over three tokens, so that many begin alike, contain each other or are the same."""
    draw = random.Random(seed)

    def some(most: int) -> tuple[int, ...]:
        return tuple(draw.choices(range(3), k=draw.randint(1, most)))

    return [Span(some(5), some(4)) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_every_position_of_every_span_is_read_once_where_its_very_tokens_are_fed(seed):
    spans = random_spans(seed, 30)
    read: dict[tuple[int, int], int] = {}
    for path in plan_paths(spans):
        for stretch in path.stretches:
            assert path.shared <= stretch.start < stretch.stop <= len(path.tokens)
            tokens = fed(spans[stretch.place])
            assert path.tokens[: stretch.stop] == tokens[: stretch.stop]
            for at in range(stretch.start, stretch.stop):
                read[stretch.place, at] = read.get((stretch.place, at), 0) + 1
    expected = {
        (place, at): 1
        for place, span in enumerate(spans)
        for at in range(len(span.context) - 1, len(fed(span)))
    }
    assert read == expected


@pytest.mark.parametrize("seed", range(20))
def test_no_beginning_is_fed_twice(seed):
    spans = random_spans(seed, 30)
    beginnings = {fed(span)[:stop] for span in spans for stop in range(1, len(fed(span)) + 1)}
    assert sum(path.own for path in plan_paths(spans)) == len(beginnings)


def test_continuations_of_one_token_cost_nothing_beyond_their_context():
    spans = [Span((5, 6, 7), (token,)) for token in range(4)]
    (path,) = plan_paths(spans)
    assert (path.tokens, path.own) == ((5, 6, 7), 3)
    assert [(s.place, s.start, s.stop) for s in path.stretches] == [(i, 2, 3) for i in range(4)]


def test_a_span_within_another_is_read_on_the_way():
    (path,) = plan_paths([Span((1, 2), (3, 4, 5)), Span((1,), (2, 3)), Span((1, 2), (3, 4))])
    assert path.tokens == (1, 2, 3, 4)


@pytest.mark.parametrize("seed", range(10))
def test_batches_keep_the_order_and_their_bounds(seed):
    paths = plan_paths(random_spans(seed, 40))
    batches = list(plan_batches(paths, tokens=12, sequences=3))
    assert [path for batch in batches for path in batch] == paths
    assert max(len(batch) for batch in batches) == 3
    assert all(len(b) == 1 or sum(p.own for p in b) <= 12 for b in batches)


def test_a_path_longer_than_a_batch_goes_with_none_before_it():
    long = Path(tuple(range(30)), 0)
    short = Path((40, 41), 0)
    assert list(plan_batches([short, long, short], 10, 5)) == [[short], [long], [short]]


@pytest.mark.parametrize("seed", range(20))
def test_a_tree_feeds_what_is_missing_and_every_sequence_holds_its_tokens(seed):
    cells = Cells()
    trunk = Trunk(cells)
    paths = plan_paths(random_spans(seed, 40))
    for batch in plan_batches(paths, tokens=20, sequences=4):
        branches = [Branch(s, path.tokens, {0}) for s, path in enumerate(batch, start=1)]
        tokens = trunk.grow(branches)
        cells.decode(tokens)
        assert all(token.output == (token.position == 0) for token in tokens)
        for branch in branches:
            assert tuple(cells.held[branch.sequence]) == branch.tokens
        trunk.follow(branches[-1])
        assert trunk.tokens == tuple(cells.held[TRUNK]) == branches[-1].tokens
        for branch in branches:
            cells.drop(branch.sequence)
    assert cells.fed == sum(path.own for path in paths)


def test_the_last_token_of_a_branch_is_fed_even_if_it_is_there_already():
    cells = Cells()
    trunk = Trunk(cells)
    for _ in range(2):
        branches = [Branch(1, (4, 5, 6), {2}), Branch(2, (4, 5, 6), {2})]
        tokens = trunk.grow(branches)
        cells.decode(tokens)
        assert [(t.position, t.sequences) for t in tokens if t.output] == [(2, (1,)), (2, (2,))]
        trunk.follow(branches[-1])
        cells.drop(1)
        cells.drop(2)


def test_a_call_holds_no_more_tokens_and_outputs_than_it_may(monkeypatch):
    monkeypatch.setattr("leanboard.runners.backends.llama_alone.TOKENS_A_CALL", 8)
    tokens = [Token(i, i, (1,), output=i >= 10) for i in range(20)]
    found = [[token.id for token in piece] for piece in pieces(tokens, outputs=4)]
    assert [len(ids) for ids in found] == [7, 7, 4, 2]
    assert [i for ids in found for i in ids] == list(range(20))


def test_a_batch_tells_llama_every_sequence_of_a_token():
    batch = batch_of([Token(7, 0, (1, 3)), Token(8, 1, (3,), output=True)])
    assert [batch.n_seq_id[i] for i in range(2)] == [2, 1]
    assert [batch.seq_id[0][i] for i in range(2)] == [1, 3]
    assert (batch.seq_id[1][0], batch.logits[0], batch.logits[1]) == (3, 0, 1)


@pytest.mark.parametrize(
    ("one", "other", "length"), [((), (1,), 0), ((1, 2), (1, 2, 3), 2), ((1, 2, 9), (1, 3, 9), 1)]
)
def test_the_common_prefix_is_that_of_the_common_beginning(one, other, length):
    assert common_prefix(one, other) == common_prefix(other, one) == length
