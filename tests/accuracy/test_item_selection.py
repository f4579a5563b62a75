from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leanboard.runners.accuracy.selection import choose, choose_by_stratum, choose_within, shares

SIZES = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(1, 40), min_size=1)


def test_a_limit_is_divided_in_proportion_and_the_rest_by_largest_remainders() -> None:
    """By hand: of 10, a gets 10 x 50 / 90 = 5.56, b 10 x 30 / 90 = 3.33, c 10 x 10 / 90 = 1.11."""
    assert shares({"a": 50, "b": 30, "c": 10}, 10, 0) == {"a": 6, "b": 3, "c": 1}


def test_equal_remainders_go_by_the_seed_and_not_by_the_name() -> None:
    sizes = {name: 10 for name in "abcdefgh"}
    winners = {tuple(n for n, q in shares(sizes, 4, seed).items() if q) for seed in range(8)}
    assert len(winners) > 1
    assert shares(sizes, 4, 3) == shares(dict(reversed(sizes.items())), 4, 3)


@given(SIZES, st.integers(1, 300), st.integers(0, 5))
def test_shares_add_up_and_none_is_a_whole_item_away_from_proportion(
    sizes: dict[str, int], limit: int, seed: int
) -> None:
    quotas = shares(sizes, limit, seed)
    total = sum(sizes.values())
    assert sum(quotas.values()) == min(limit, total)
    for stratum, size in sizes.items():
        assert 0 <= quotas[stratum] <= size
        assert abs(quotas[stratum] - size * min(limit, total) / total) < 1


def test_each_stratum_gives_the_first_of_its_own_seeded_permutation() -> None:
    chosen = choose_by_stratum({"a": 100, "b": 50}, 30, 7)
    assert chosen == {"a": choose(100, 20, 7), "b": choose(50, 10, 7)}
    assert choose_by_stratum({"a": 4, "b": 2}, None, 0) == {"a": (0, 1, 2, 3), "b": (0, 1)}


def test_within_a_split_every_stratum_gives_its_share() -> None:
    """By hand: of 9 items a gives 6 x 3 / 9 = 2 and b 3 x 3 / 9 = 1."""
    strata = "aabaabaab"
    chosen = choose_within(strata, 3, 0)
    assert [strata[place] for place in chosen].count("a") == 2
    assert [strata[place] for place in chosen].count("b") == 1
    assert chosen == tuple(sorted(chosen))
    assert choose_within(strata, 9, 0) == tuple(range(9))
    assert choose_within("x" * 100, 30, 5) == choose(100, 30, 5)


def test_a_task_without_strata_is_chosen_from_as_ever() -> None:
    """The items of published records: they must not change."""
    assert choose_by_stratum({"": 570}, 50, 0)[""][:6] == (15, 36, 44, 46, 76, 87)
