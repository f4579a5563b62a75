"""Many answers at once: a row that has ended leaves, and one that waits takes its place.

Import this module where torch is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import torch

from leanboard.results.errors import ArmError, OutOfMemoryError
from leanboard.runners.backends.base import UntilAnswer, UntilRequest
from leanboard.runners.backends.torch_growing_cache import GrowingCache
from leanboard.runners.backends.torch_loading import torch_failures
from leanboard.runners.backends.until import Answer, Decode
from leanboard.runners.machine.memory import device_available_bytes


@dataclass(frozen=True, slots=True)
class Limits:
    """How much goes through the model at once.

    Args:
        cache_bytes: bytes that all rows of the cache may grow to.
        rows: most rows of a batch.
        prefill_tokens: most prompt tokens of a forward.
    """

    cache_bytes: int
    rows: int
    prefill_tokens: int


def limits_of(device: torch.device) -> Limits:
    """Return the limits of a device: a quarter of the memory that is free goes to the cache.

    More rows and tokens than these do not make a forward faster for each of them.
    """
    free = device_available_bytes(device.type)
    bound = 2**30 if free is None else free // 4
    if device.type == "cuda":
        return Limits(bound, rows=256, prefill_tokens=8192)
    return Limits(bound, rows=64, prefill_tokens=512)


@dataclass
class Row:
    """A request with its answer so far."""

    place: int
    request: UntilRequest
    answer: Answer

    @property
    def prompt(self) -> tuple[int, ...]:
        """The token ids of the request."""
        return self.request.prompt

    @property
    def most_tokens(self) -> int:
        """Tokens that the row may grow to."""
        return len(self.request.prompt) + self.request.max_tokens


@dataclass
class ContinuousBatch:
    """Answers requests with one model, greedily; the next token is the first of the likeliest.

    Args:
        model: takes ``position_ids`` and a cache.
        windows: for each layer the tokens that a query sees; ``None`` for all.
        limits: how much goes through the model at once.
        ends: tokens that end a text.
        decode: the tokenizer.
    """

    model: torch.nn.Module
    windows: Sequence[int | None]
    limits: Limits
    ends: Collection[int]
    decode: Decode
    _waiting: list[Row] = field(default_factory=list, init=False)
    _live: list[Row] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Ask for the last logits only, where the model can be asked."""
        takes = inspect.signature(self.model.forward).parameters
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    def answer(self, requests: Sequence[UntilRequest]) -> Iterator[tuple[int, UntilAnswer]]:
        """Yield each answer with the place of its request, as soon as it has ended.

        Raises:
            ArmError: if a logit is not finite.
            OutOfMemoryError: if not even one request fits.
        """
        self._live = []
        self._wait(self._row(place, request) for place, request in enumerate(requests))
        self._most_rows = self.limits.rows
        with torch_failures("reading the prompts"):
            self._read_prefix([request.prompt for request in requests])
        while self._waiting or self._live:
            group = self._group()
            try:
                with torch_failures("answering"):
                    ended = self._admit(group) if group else self._step()
            except OutOfMemoryError:
                rows = len(self._live) + len(group)
                if rows == 1:
                    raise
                self._start_over(rows // 2)
                continue
            yield from ((row.place, row.answer.result()) for row in ended)

    def _row(self, place: int, request: UntilRequest) -> Row:
        return Row(place, request, Answer(request, self.ends, self.decode))

    def _wait(self, rows: Iterator[Row]) -> None:
        self._waiting = sorted(rows, key=lambda row: (-len(row.prompt), row.place))

    def _read_prefix(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Compute what all prompts begin with; from each prompt one token at least is left."""
        pairs = zip(min(prompts), max(prompts), strict=False)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        self._shared = min(shared, min(map(len, prompts)) - 1)
        # Without anything in common one token is read all the same: it tells the cache's shape.
        first = prompts[0][: max(self._shared, 1)]
        self._prefix = GrowingCache(self.windows, 1, len(first))
        self._feed(self._prefix, [first])
        self._cache = self._prefix.like()
        self._next = torch.empty(0, dtype=torch.long, device=self._device)

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _rows_for(self, tokens: int) -> int:
        """Return how many rows of so many tokens there may be."""
        fit = self.limits.cache_bytes // (self._prefix.bytes_a_token * tokens)
        return max(1, min(fit, self._most_rows))

    def _more_rows(self, admitted: int) -> int:
        """Return how many rows there may soon be beside those that are there."""
        rows = len(self._live) + admitted
        waiting = self._waiting[admitted:]
        if not waiting:
            return 0
        most_tokens = max(row.most_tokens for row in (*self._live, *self._waiting))
        return max(0, min(self._rows_for(most_tokens) - rows, len(waiting)))

    def _group(self) -> list[Row]:
        """Return the rows to let in now, if any: few at a time would cost a forward each."""
        group: list[Row] = []
        most_tokens = max((row.most_tokens for row in self._live), default=0)
        for row in self._waiting:
            most_tokens = max(most_tokens, row.most_tokens)
            may, rows = self._rows_for(most_tokens), len(self._live) + len(group) + 1
            fed = (len(group) + 1) * (len(self._waiting[0].prompt) - self._shared)
            if rows > may or (group and fed > self.limits.prefill_tokens):
                break
            if self._live and not group and (may - len(self._live)) * 8 < may:
                break
            group.append(row)
        return group

    def _admit(self, group: list[Row]) -> list[Row]:
        """Read the prompts of the group, whose first is the longest; return the rows that ended."""
        longest, live = len(group[0].prompt), len(self._live)
        fed = longest - self._shared
        self._cache.reserve(live + len(group), longest, more_rows=self._more_rows(len(group)))
        part = self._cache.branch(len(group), fed)
        part.seed(self._prefix, [len(row.prompt) - fed for row in group])
        padded = [(0,) * (fed - len(row.prompt)) + row.prompt[-fed:] for row in group]
        logits = self._feed(part, padded)
        self._cache.join(part)
        del self._waiting[: len(group)]
        self._live += group
        return self._take(logits, live)

    def _step(self) -> list[Row]:
        """Give every row its next token; return the rows that ended."""
        self._cache.reserve(len(self._live), 0, more_rows=self._more_rows(0))
        return self._take(self._forward(self._cache, self._next[:, None]), 0)

    def _feed(self, cache: GrowingCache, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Read prompts, long ones in parts; return the logits behind the last token of each."""
        tokens = torch.tensor(ids, device=self._device)
        for part in tokens.split(max(1, self.limits.prefill_tokens // len(ids)), dim=1):
            logits = self._forward(cache, part)
        return logits

    def _forward(self, cache: GrowingCache, ids: torch.Tensor) -> torch.Tensor:
        """Feed tokens (rows, tokens); return the logits behind the last: (rows, vocabulary)."""
        layout, device = cache.layout, ids.device
        end = layout.end + ids.shape[1]
        starts = torch.tensor(layout.starts, device=device)[:, None]
        mask = None
        if min(layout.starts) < max(layout.starts):
            mask = (torch.arange(layout.first, end, device=device) >= starts).long()
        positions = torch.arange(layout.end, end, device=device) - starts
        with torch.no_grad():
            output = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions.clamp(min=0),
                past_key_values=cache,
                use_cache=True,
                **self._last,
            )
        cache.advance(ids.shape[1])
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _take(self, logits: torch.Tensor, first: int) -> list[Row]:
        """Choose the next tokens of the rows from ``first`` on; return the rows that ended."""
        chosen = logits.argmax(dim=-1)
        finite = logits.gather(1, chosen[:, None])[:, 0].isfinite()
        self._next = torch.cat((self._next[:first], chosen))
        found = torch.stack((chosen, finite)).tolist()
        ended = set()
        for number, (token, is_finite) in enumerate(zip(*found, strict=True), start=first):
            row = self._live[number]
            if not is_finite:
                raise not_finite(row.place, len(row.answer.ids))
            if row.answer.add(token):
                ended.add(number)
        gone = [self._live[number] for number in sorted(ended)]
        if gone:
            self._close_up(ended)
        return gone

    def _close_up(self, ended: set[int]) -> None:
        """Let the rows at the end take the places of those that ended."""
        left = len(self._live) - len(ended)
        movers = [number for number in range(left, len(self._live)) if number not in ended]
        order = [movers.pop() if number in ended else number for number in range(left)]
        self._cache.keep(order)
        self._live = [self._live[number] for number in order]
        self._next = self._next[order]

    def _start_over(self, rows: int) -> None:
        """Drop the cache, and begin the answers that have not ended again, fewer at once."""
        self._most_rows = rows
        self._cache = self._prefix.like()
        self._next = self._next[:0]
        again, self._live = [self._row(row.place, row.request) for row in self._live], []
        self._wait(iter([*again, *self._waiting]))
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def not_finite(place: int, tokens: int) -> ArmError:
    """Return the error of logits that are not finite."""
    return ArmError(
        f"Request {place}: the logits after {tokens} tokens of its answer are not finite (NaN or "
        "inf). The model or a technique computes something that its dtype cannot hold."
    )
