"""What is fed to score spans: every token that is needed, shared ones once."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence

import pytest

from leanboard.runners.backends.base import Span
from leanboard.runners.backends.spans import common_prefix, fed
from leanboard.runners.backends.torch_batches import (
    Room,
    Shape,
    Sizes,
    cut,
    fed_together,
    in_order_of_size,
    shape_of,
    sizes_of,
    width,
)
from leanboard.runners.backends.torch_plan import (
    TAIL_TOKENS,
    Group,
    Row,
    plan_shared,
    plan_whole,
)

Ids = tuple[int, ...]
SIZES = Sizes(token=100, kept=10, seen=4, mask=4, weight=7, logits=1000)


def ids(count: int, seed: str) -> Ids:
    chosen = random.Random(seed)
    return tuple(chosen.randrange(5, 50_000) for _ in range(count))


def choices(context: Ids, lengths: tuple[int, ...], seed: str) -> list[Span]:
    return [Span(context, ids(n, f"{seed}{k}")) for k, n in enumerate(lengths)]


def tokens(groups: list[Group]) -> int:
    return sum(group.tokens for group in groups)


def path(group: Group, row: Row, node: int) -> Ids:
    """Return all that a token of a row's tail sees, itself included."""
    branch: list[int] = []
    while node >= 0:
        branch.append(row.tail[node])
        assert row.parents[node] < node
        node = row.parents[node]
    return (*group.trunk, *row.stem, *reversed(branch))


def check(groups: list[Group], spans: list[Span]) -> None:
    """Every span is read once, each token where all that precedes it has just been seen."""
    places = []
    for group in groups:
        for row in group.rows:
            for read in row.reads:
                span = spans[read.place]
                places.append(read.place)
                assert read.targets == span.continuation
                for number, node in enumerate(read.nodes):
                    assert path(group, row, node) == (
                        *span.context,
                        *span.continuation[:number],
                    )
                    before = len(group.trunk) + len(row.stem)
                    assert before + row.depths[node] == len(span.context) + number - 1
    assert sorted(places) == list(range(len(spans)))


def test_a_question_is_fed_once_for_all_of_its_answers():
    context = ids(50, "q")
    spans = choices(context, (30, 20, 10, 5), "a")
    groups = plan_shared(spans)
    check(groups, spans)
    # By hand: 50 of the context, and of each answer all but its last token.
    assert tokens(groups) == 50 + 29 + 19 + 9 + 4
    assert sum(len(fed(span)) for span in spans) == 4 * 50 + 29 + 19 + 9 + 4


def test_answers_of_one_token_feed_nothing_beyond_the_context():
    spans = choices(ids(40, "q"), (1, 1, 1, 1), "a")
    ((row,),) = (group.rows for group in plan_shared(spans))
    assert len(row.tail) == 40
    assert row.is_chain
    assert [read.nodes for read in row.reads] == [(39,)] * 4


def test_examples_before_every_question_are_a_trunk_and_fed_once():
    examples = ids(400, "shots")
    spans = [
        span
        for n in range(20)
        for span in choices(examples + ids(40 + n, f"q{n}"), (1, 1, 1, 1), f"a{n}")
    ]
    (group,) = groups = plan_shared(spans)
    check(groups, spans)
    assert group.trunk == examples
    assert tokens(groups) == 400 + sum(40 + n for n in range(20))


def test_each_subject_has_a_trunk_of_its_own_also_where_subjects_begin_alike():
    head = ids(40, "the same first words")
    spans = []
    for subject in "abc":
        examples = head + ids(300, subject)
        for n in range(6):
            spans += choices(examples + ids(30, f"{subject}{n}"), (1, 1), f"{subject}{n}")
    groups = plan_shared(spans)
    check(groups, spans)
    assert [len(group.trunk) for group in groups] == [340, 340, 340]
    assert [len(group.rows) for group in groups] == [6, 6, 6]


def test_a_few_words_that_every_question_begins_with_are_no_trunk():
    spans = [
        span
        for n in range(50)
        for span in choices(ids(7, "Question:") + ids(60, f"q{n}"), (9, 9), f"a{n}")
    ]
    (group,) = plan_shared(spans)
    assert group.trunk == ()
    assert len(group.rows) == 50


def test_two_contexts_that_differ_in_one_word_share_a_row():
    sentence = ids(20, "the trophy does not fit because the")
    answer = ids(6, "is too large")
    spans = [Span(sentence + ids(1, "trophy"), answer), Span(sentence + ids(2, "case"), answer)]
    (group,) = groups = plan_shared(spans)
    check(groups, spans)
    assert len(group.rows) == 1
    assert tokens(groups) == 20 + (1 + 5) + (2 + 5)


def test_a_long_context_is_a_stem_without_its_last_token_which_is_read():
    spans = choices(ids(900, "shots"), (4, 3), "a")
    ((row,),) = (group.rows for group in plan_shared(spans))
    check(plan_shared(spans), spans)
    assert len(row.stem) == 899
    assert len(row.tail) == 1 + 3 + 2
    assert not row.is_chain


def test_answers_that_begin_alike_or_are_the_same_share_what_they_share():
    context, start = ids(30, "q"), ids(4, "start")
    spans = [
        Span(context, start + ids(3, "x")),
        Span(context, start + ids(3, "y")),
        Span(context, start),
        Span(context, start + ids(3, "x")),
    ]
    groups = plan_shared(spans)
    check(groups, spans)
    assert tokens(groups) == 30 + 4 + 2 + 2


def test_a_context_that_another_begins_with_is_read_on_the_way():
    whole = ids(60, "text")
    spans = [Span(whole[:40], whole[40:41]), Span(whole[:45], whole[45:60])]
    groups = plan_shared(spans)
    check(groups, spans)
    assert tokens(groups) == 59


def test_very_many_answers_of_one_question_are_several_rows_behind_a_trunk():
    spans = choices(ids(300, "q"), (30,) * 60, "a")
    groups = plan_shared(spans)
    check(groups, spans)
    assert tokens(groups) < 300 + 60 * 29 + 10
    assert all(len(row.tail) <= TAIL_TOKENS + 1 for group in groups for row in group.rows)


def test_a_plan_of_whole_spans_shares_nothing():
    spans = choices(ids(20, "q"), (3, 4), "a")
    group = plan_whole(spans, [1, 0])
    check([group], spans)
    assert [row.tail for row in group.rows] == [fed(spans[1]), fed(spans[0])]
    assert all(row.is_chain and not row.stem for row in group.rows)


@pytest.mark.parametrize("seed", range(40))
def test_any_spans_are_read_where_they_must_be_and_never_cost_more(seed: int):
    chosen = random.Random(seed)
    vocabulary = chosen.choice([2, 3, 1000])

    def some(most: int) -> Ids:
        return tuple(chosen.randrange(vocabulary) for _ in range(chosen.randint(1, most)))

    starts = [(), some(120), some(400)]
    contexts = [chosen.choice(starts) + some(30) for _ in range(chosen.randint(1, 12))]
    spans = [Span(chosen.choice(contexts), some(12)) for _ in range(chosen.randint(1, 40))]
    groups = plan_shared(spans)
    check(groups, spans)
    assert tokens(groups) <= sum(len(fed(span)) for span in spans)


def test_a_plan_does_not_depend_on_the_order_of_the_spans():
    spans = [
        span
        for n in range(12)
        for span in choices(ids(100, f"s{n % 3}") + ids(20, f"q{n}"), (5, 7), f"a{n}")
    ]
    shuffled = random.Random(1).sample(spans, len(spans))
    one, other = plan_shared(spans), plan_shared(shuffled)
    assert [g.trunk for g in one] == [g.trunk for g in other]
    assert [[(r.stem, r.tail, r.parents) for r in g.rows] for g in one] == [
        [(r.stem, r.tail, r.parents) for r in g.rows] for g in other
    ]


def test_no_spans_are_no_groups():
    assert plan_shared([]) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [((), (1,), 0), ((1, 2), (1, 2), 2), ((1, 2, 3), (1, 2, 4, 5), 2), ((1,), (2,), 0)],
)
def test_the_common_prefix_of_two_sequences(one: Ids, other: Ids, expected: int):
    assert common_prefix(one, other) == expected


def rows_of(lengths: list[int]) -> list[Row]:
    spans = [Span(ids(n, f"{k}"), (1,)) for k, n in enumerate(lengths)]
    return in_order_of_size(plan_whole(spans, range(len(spans))).rows)


def shape(rows: Sequence[Row]) -> Shape:
    return functools.reduce(Shape.joined, map(shape_of, rows))


def test_rows_run_together_where_they_are_of_like_length():
    batches = cut(rows_of([10, 100, 11, 101, 12, 99]), 0, SIZES, Room(1000, 10**9))
    assert [[len(row.tail) for row in batch] for batch in batches] == [[101, 100, 99], [12, 11, 10]]


def test_batches_hold_every_row_once_and_keep_within_tokens_and_bytes():
    rows = rows_of([random.Random(n).randint(5, 300) for n in range(200)])
    room = Room(1024, 100_000)
    batches = cut(rows, 0, SIZES, room)
    assert [row for batch in batches for row in batch] == rows
    for batch in batches:
        assert len(batch) == 1 or len(batch) * width(batch)[1] <= room.tokens
        assert len(batch) == 1 or SIZES.of(shape(batch), 0, room.tokens) <= room.bytes
    padded = sum(len(batch) * width(batch)[1] for batch in batches)
    assert padded <= 1.1 * sum(len(row.tail) for row in rows)


def test_a_row_that_alone_takes_more_than_there_is_room_for_runs_alone():
    assert [len(b) for b in cut(rows_of([50, 50]), 0, SIZES, Room(10, 10))] == [1, 1]


def test_rows_with_branches_do_not_run_with_rows_without():
    spans = [*choices(ids(30, "q"), (5, 5), "a"), Span(ids(34, "p"), (1,))]
    rows = in_order_of_size(plan_shared(spans)[0].rows)
    batches = cut(rows, 0, SIZES, Room(1000, 10**9))
    assert [[row.is_chain for row in batch] for batch in batches] == [[False], [True]]


def test_the_bytes_of_a_batch_by_hand():
    spans = [*choices(ids(300, "q"), (3, 2), "a"), *choices(ids(310, "p"), (3, 2), "b")]
    rows = plan_shared(spans)[0].rows
    # Each row: a stem of up to 309 tokens, a tail of 1 + 2 + 1, four tokens of it read; behind a
    # trunk of 50.
    keys = 50 + 309 + 4
    cache = (50 + 309) * SIZES.kept
    stem = 309 * SIZES.token + (50 + 309) * SIZES.seen + 309 * (50 + 309) * SIZES.weight
    tail = 4 * SIZES.token + keys * SIZES.seen + 4 * keys * (SIZES.weight + SIZES.mask)
    assert stem > tail
    logits = 2 * 4 * SIZES.logits
    assert SIZES.of(shape(rows), 50, 1024) == 2 * (cache + stem) + logits
    # Stems that are fed one after the other: what one needs, and its cache once more.
    assert SIZES.of(shape(rows), 50, 400) == 2 * cache + max(stem + cache, 2 * tail) + logits


def test_stems_are_fed_together_as_far_as_a_forward_takes_them():
    spans = [
        span
        for n, length in enumerate((700, 600, 400, 300, 290, 280, 270))
        for span in choices(ids(length, f"q{n}"), (3, 2), f"a{n}")
    ]
    rows = in_order_of_size(plan_shared(spans)[0].rows)
    stems = [len(row.stem) for row in rows]
    assert stems == sorted(stems, reverse=True)
    groups = list(fed_together(rows, 1000))
    assert [row for group in groups for row in group] == rows
    assert [len(group) for group in groups] == [1, 1, 2, 3]
    assert list(fed_together(rows[:1], 10)) == [rows[:1]]


def test_room_halves_when_memory_runs_out_and_comes_back_to_its_bound_only():
    room = Room(100, 1000)
    assert not room.grow()
    room.shrink()
    room.shrink()
    assert room.bytes == 250
    assert [room.grow() for _ in range(16)] == [False] * 15 + [True]
    assert [room.grow() for _ in range(16)] == [False] * 15 + [True]
    assert not any(room.grow() for _ in range(50))
    assert room.bytes == 1000


def test_a_size_that_failed_again_is_tried_half_as_often():
    room = Room(100, 1000)
    waits = []
    for _ in range(3):
        room.shrink()
        waits.append(1)
        while not room.grow():
            waits[-1] += 1
    assert waits == [8, 16, 32]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_the_bound_holds_what_rows_with_stems_really_keep(attention: str):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(hidden_size=576, intermediate_size=1536, num_hidden_layers=30)
    config.num_attention_heads, config.num_key_value_heads, config.head_dim = 9, 3, 64
    config._attn_implementation = attention
    with torch.device("meta"):
        sizes = sizes_of(LlamaForCausalLM(config))
    examples = ids(3000, "shots")
    spans = []
    for n in range(80):
        spans += choices(examples + ids(260, f"q{n}"), (8, 8), f"a{n}")
    (group,) = plan_shared(spans)
    room = Room(1024, 256 * 2**20)
    for batch in cut(in_order_of_size(group.rows), len(group.trunk), sizes, room):
        stem, _ = width(batch)
        kept = len(batch) * 30 * 2 * 3 * 64 * 4 * (len(group.trunk) + stem)
        if attention == "eager":
            at_once = min(len(batch), room.tokens // stem)
            kept += at_once * 9 * stem * (len(group.trunk) + stem) * 4
        assert stem > 0
        assert len(batch) == 1 or kept <= room.bytes
        assert sizes.of(shape(batch), len(group.trunk), room.tokens) > kept
