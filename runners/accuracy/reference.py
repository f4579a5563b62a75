"""What the baseline predicts at every token of a text, in a bounded form.

Of each distribution the most likely tokens are kept, and how much the rest weighs together. The
Kullback-Leibler divergence of two distributions with the rest taken as one outcome is at most
that of the whole ones, since taking outcomes together loses information (log sum inequality: Cover
and Thomas, Elements of Information Theory, 2006, 2.7). How much it loses is measured: at a few
tokens spread over the text the whole distribution is kept as well.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from leanboard.metrics.metric import Missing
from leanboard.results.errors import ArmError
from leanboard.results.files import write_failed, write_whole
from leanboard.results.identity import digest
from leanboard.runners.backends.base import Span

FORMAT = 1
"""Raised whenever the file of a reference changes its meaning."""

KEPT_TOKENS = 512
"""Most likely tokens kept of a large vocabulary: 8 bytes each, 4 KiB for each scored token.

On SmolLM2-135M and the passages of the quickstart they hold 96% of the probability and show 93% of
the divergence of weights of 8 bits; a quarter of them would show 85%, twice as many 96%.
"""

WHOLE_TOKENS = 32
"""Scored tokens, spread over the text, at which the whole distribution is kept."""

SUM_TOLERANCE = 1e-4
"""How far the sum of a distribution may be from 1: float32 over a large vocabulary."""

_AT_ONCE = 2**24
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile)

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reference:
    """The baseline's distributions over the scored tokens of a text, one row a token.

    Args:
        windows: digest of the tokens that were scored.
        ids: the most likely tokens, most likely first: (tokens, kept).
        kept: their log-probabilities in nats: (tokens, kept).
        rest: log of the probability of all others together, -inf if there are none: (tokens,).
        whole_at: rows of which the whole distribution is kept, ascending.
        whole: log-probabilities of these: (rows, vocabulary).
    """

    windows: str
    ids: NDArray[np.int32]
    kept: Floats
    rest: Doubles
    whole_at: NDArray[np.int64]
    whole: Floats

    def write(self, path: Path) -> None:
        """Write all of it or nothing.

        Raises:
            LeanboardError: if that fails, with the reason.
        """
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, format=np.int64(FORMAT), **arrays)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, file.getvalue())
        except OSError as error:
            raise write_failed(error, path.parent) from error


@dataclass(frozen=True, slots=True)
class Divergences:
    """A candidate's distributions against the baseline's, one value a scored token.

    Args:
        kl_nats: KL(baseline || candidate) with the rest as one outcome.
        agrees: whether the baseline's most likely token is (one of) the candidate's.
        rest: the baseline's probability of the rest.
        whole_nats: KL of the whole distributions, at the rows where the baseline's are kept.
        bound_nats: ``kl_nats`` at these rows.
    """

    kl_nats: Doubles
    agrees: NDArray[np.bool_]
    rest: Doubles
    whole_nats: Doubles
    bound_nats: Doubles


class Keeper:
    """Gathers a reference while the text is scored.

    Args:
        spans: all that will be scored, in order.
        vocabulary: number of token ids.
    """

    def __init__(self, spans: Sequence[Span], vocabulary: int) -> None:
        self._windows = digest_of(spans, vocabulary)
        self._whole_at = spread(sum(len(span.continuation) for span in spans))
        self._most = kept_tokens(vocabulary)
        self._ids: list[NDArray[np.int32]] = []
        self._kept: list[Floats] = []
        self._rest: list[Doubles] = []
        self._whole: list[Floats] = []
        self._rows = 0

    def add(self, log_probabilities: Floats) -> None:
        """Take the next distributions: (tokens, vocabulary).

        Raises:
            ArmError: if one does not sum to 1.
        """
        end = self._rows + len(log_probabilities)
        here = self._whole_at[(self._whole_at >= self._rows) & (self._whole_at < end)]
        self._whole.append(log_probabilities[here - self._rows].astype(np.float32))
        self._rows = end
        for rows in _parts(log_probabilities):
            ids = most_likely(rows, self._most)
            kept, rest = gathered(rows, ids)
            self._ids.append(ids)
            self._kept.append(kept.astype(np.float32))
            self._rest.append(rest)

    def reference(self) -> Reference:
        """Return what was gathered."""
        return Reference(
            self._windows,
            np.concatenate(self._ids),
            np.concatenate(self._kept),
            np.concatenate(self._rest),
            self._whole_at,
            np.concatenate(self._whole),
        )


def compare(reference: Reference, first: int, log_probabilities: Floats) -> Divergences:
    """Compare a candidate's distributions with the baseline's.

    Args:
        reference: of the same text.
        first: row of the reference that the first distribution belongs to.
        log_probabilities: of the candidate, in nats: (tokens, vocabulary).

    Raises:
        ArmError: if one does not sum to 1.
    """
    kl, agrees, at = [], [], first
    for rows in _parts(log_probabilities):
        here = slice(at, at + len(rows))
        ids = reference.ids[here]
        kept, rest = gathered(rows, ids)
        ours = np.column_stack([kept, rest])
        theirs = np.column_stack([reference.kept[here].astype(np.float64), reference.rest[here]])
        kl.append(kl_divergence(theirs, ours))
        agrees.append(kept[:, 0] >= rows.max(axis=1))
        at += len(rows)
    bound = np.concatenate(kl)
    chosen = (reference.whole_at >= first) & (reference.whole_at < at)
    places = reference.whole_at[chosen] - first
    whole = reference.whole[chosen].astype(np.float64)
    return Divergences(
        kl_nats=bound,
        agrees=np.concatenate(agrees),
        rest=np.exp(reference.rest[first:at]),
        whole_nats=kl_divergence(whole, log_probabilities[places].astype(np.float64)),
        bound_nats=bound[places],
    )


def kl_divergence(p: Doubles, q: Doubles) -> Doubles:
    """Return sum(p (log p - log q)) in nats of each row, from log-probabilities.

    Each row is scaled to the sum 1 first, so that the result is not below 0 by more than the
    rounding of float64. An outcome of probability 0 under ``p`` adds nothing.

    Source: Kullback and Leibler, On Information and Sufficiency (1951).
    """
    p, q = (part - log_sum(part)[:, None] for part in (p, q))
    difference = np.zeros_like(p)
    np.subtract(p, q, out=difference, where=p > -np.inf)
    divergence: Doubles = (np.exp(p) * difference).sum(axis=1)
    return divergence


def gathered(log_probabilities: Floats, ids: NDArray[np.int32]) -> tuple[Doubles, Doubles]:
    """Return the log-probabilities of some tokens, and the log of the rest's probability.

    Raises:
        ArmError: if a distribution does not sum to 1.
    """
    kept = np.take_along_axis(log_probabilities, ids, axis=1).astype(np.float64)
    others = log_probabilities.copy()
    np.put_along_axis(others, ids, -np.inf, axis=1)
    rest = log_sum(others)
    if not _sums_to_one(kept, rest):
        raise ArmError(
            "The probabilities of the next token do not sum to 1: the backend gave something else "
            "than log-probabilities, or they are not finite. This is a fault of the backend."
        )
    return kept, rest


def most_likely(log_probabilities: Floats, most: int) -> NDArray[np.int32]:
    """Return the ids of the most likely tokens of each row, most likely first, then by id."""
    first = log_probabilities.shape[1] - most
    ids = np.argpartition(log_probabilities, first, axis=1)[:, first:] if first > 0 else None
    if ids is None:
        ids = np.broadcast_to(np.arange(most), log_probabilities.shape)
    order = np.lexsort((ids, -np.take_along_axis(log_probabilities, ids, axis=1)))
    return np.take_along_axis(ids, order, axis=1).astype(np.int32)


def log_sum(rows: NDArray[np.floating]) -> Doubles:
    """Return log(sum(exp(x))) of each row; -inf for a row of nothing but -inf."""
    top = rows.max(axis=1)
    shift = np.where(np.isneginf(top), 0, top).astype(rows.dtype)
    total = np.exp(rows - shift[:, None]).sum(axis=1, dtype=np.float64)
    result = np.full(len(rows), -np.inf)
    np.log(total, out=result, where=total > 0)
    return result + shift


def kept_tokens(vocabulary: int) -> int:
    """Return how many tokens are kept of each distribution."""
    return min(vocabulary, KEPT_TOKENS)


def spread(tokens: int) -> NDArray[np.int64]:
    """Return the rows of which whole distributions are kept: the middles of equal stretches."""
    number = min(tokens, WHOLE_TOKENS)
    return (2 * np.arange(number, dtype=np.int64) + 1) * tokens // (2 * max(number, 1))


def digest_of(spans: Sequence[Span], vocabulary: int) -> str:
    """Return the digest of what is scored: every token, and how many there could be."""
    plain = [[list(span.context), list(span.continuation)] for span in spans]
    return digest({"spans": plain, "vocabulary": vocabulary})


def read(path: Path, spans: Sequence[Span], vocabulary: int) -> Reference | Missing:
    """Return the reference in a file if it is whole and of these spans, or what is wrong."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if int(file["format"]) != FORMAT:
                return Missing("the baseline's predictions were kept by another leanboard")
            arrays = {field.name: file[field.name] for field in fields(Reference)}
    except FileNotFoundError:
        return Missing("the baseline's predictions were not kept")
    except _UNREADABLE as error:
        return Missing(f"the baseline's predictions cannot be read ({type(error).__name__})")
    found = Reference(**{**arrays, "windows": str(arrays["windows"])})
    if found.windows != digest_of(spans, vocabulary):
        return Missing("the baseline's predictions are of another text or another tokenizer")
    tokens = sum(len(span.continuation) for span in spans)
    sound = _shaped(found, tokens, vocabulary) and _plausible(found)
    return found if sound else Missing("the baseline's predictions are damaged")


def _shaped(found: Reference, tokens: int, vocabulary: int) -> bool:
    kept, whole_at = (tokens, kept_tokens(vocabulary)), spread(tokens)
    wanted = {
        "ids": (np.int32, kept),
        "kept": (np.float32, kept),
        "rest": (np.float64, (tokens,)),
        "whole_at": (np.int64, whole_at.shape),
        "whole": (np.float32, (len(whole_at), vocabulary)),
    }
    parts = {name: getattr(found, name) for name in wanted}
    if any((parts[n].dtype, parts[n].shape) != (np.dtype(d), s) for n, (d, s) in wanted.items()):
        return False
    inside = bool(np.all((found.ids >= 0) & (found.ids < vocabulary)))
    return inside and bool(np.array_equal(found.whole_at, whole_at))


def _plausible(found: Reference) -> bool:
    nothing = np.full(len(found.whole), -np.inf)
    whole = _sums_to_one(found.whole.astype(np.float64), nothing)
    return whole and _sums_to_one(found.kept.astype(np.float64), found.rest)


def _sums_to_one(kept: Doubles, rest: Doubles) -> bool:
    if np.isnan(kept).any() or np.isnan(rest).any() or kept.max(initial=-np.inf) > SUM_TOLERANCE:
        return False
    total = np.exp(kept).sum(axis=1) + np.exp(rest)
    return bool(np.all(np.abs(total - 1) <= SUM_TOLERANCE))


def _parts(log_probabilities: Floats) -> Iterator[Floats]:
    """Cut rows into parts that a few copies of stay small."""
    rows = max(1, _AT_ONCE // log_probabilities.shape[1])
    for start in range(0, len(log_probabilities), rows):
        yield log_probabilities[start : start + rows]
