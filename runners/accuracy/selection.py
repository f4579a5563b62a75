"""Which items of a split are scored: the same ones on every machine and for every technique."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence


def choose(count: int, limit: int | None, seed: int) -> tuple[int, ...]:
    """Return the positions of the items to score, ascending.

    The order of a seeded permutation decides: positions sorted by sha256 of ``seed:position``.
    It is the same on every machine and in every Python, and a larger limit only adds items.
    """
    if limit is None or limit >= count:
        return tuple(range(count))
    ranked = sorted(range(count), key=lambda i: _rank(seed, i))
    return tuple(sorted(ranked[:limit]))


def choose_by_stratum(
    sizes: Mapping[str, int], limit: int | None, seed: int
) -> dict[str, tuple[int, ...]]:
    """Return the positions of the items to score in each stratum, ascending.

    Each stratum gets its share of the limit (``shares``), and the first of its own seeded
    permutation (``choose``). A larger limit therefore only adds items, except where a stratum's
    share falls: largest remainders allow that, by one item.
    """
    quotas = sizes if limit is None else shares(sizes, limit, seed)
    return {stratum: choose(size, quotas[stratum], seed) for stratum, size in sizes.items()}


def choose_within(strata: Sequence[str], limit: int, seed: int) -> tuple[int, ...]:
    """Return the positions of the items to score, ascending: of every stratum its share.

    Args:
        strata: the stratum of each item of the split.
        limit: items to choose.
        seed: as ``choose_by_stratum``, which chooses within each stratum.
    """
    places: dict[str, list[int]] = {}
    for place, stratum in enumerate(strata):
        places.setdefault(stratum, []).append(place)
    sizes = {stratum: len(places[stratum]) for stratum in sorted(places)}
    chosen = choose_by_stratum(sizes, limit, seed)
    return tuple(sorted(places[s][index] for s, indices in chosen.items() for index in indices))


def shares(sizes: Mapping[str, int], limit: int, seed: int) -> dict[str, int]:
    """Divide a limit among strata in proportion to their sizes, by largest remainders.

    Equal remainders go by the sha256 of ``seed:stratum``. Source: Hamilton's method.
    """
    total = sum(sizes.values())
    if limit >= total:
        return dict(sizes)
    # In integers: a quota is size * limit / total, exact.
    quotas = {stratum: size * limit // total for stratum, size in sizes.items()}
    remainders = {stratum: size * limit % total for stratum, size in sizes.items()}
    ranked = sorted(sizes, key=lambda stratum: (-remainders[stratum], _rank(seed, stratum)))
    for stratum in ranked[: limit - sum(quotas.values())]:
        quotas[stratum] += 1
    return quotas


def _rank(seed: int, what: int | str) -> bytes:
    return hashlib.sha256(f"{seed}:{what}".encode()).digest()
