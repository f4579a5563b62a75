"""Whether sharing what spans begin with changes their scores: known beforehand, then tried."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from leanboard.runners.backends.base import Span, SpanScore
from leanboard.runners.backends.spans import fed_tokens
from leanboard.runners.backends.torch_plan import Group, Row, plan_whole
from leanboard.runners.backends.torch_rope import rope_bounds
from leanboard.runners.backends.torch_rows import RowRunner

if TYPE_CHECKING:
    import torch

FULL, SLIDING = "full_attention", "sliding_attention"
_INPUTS = ("attention_mask", "position_ids", "past_key_values", "use_cache")

LEAST_NATS = 2.5e-4
"""What a score may move by in any case: a quarter of the bound, as few spans speak for many."""

TIMES_NOISE = 8
"""How many times the noise a sample may be off.

Sharing rounds at more places than a batch does: with sound models in bfloat16 it was up to four
times as far off (torch 2, sdpa on a CPU).
"""

_MANY = 8
"""Spans that are tried, and others for the noise, where one of the first few is off."""

_SAMPLE_SHARE = 0.02
"""Tokens that a sample of four may feed, of all that are fed; else it is of two."""


def why_not_shared(model: torch.nn.Module) -> str | None:
    """Return why a model's rows cannot share what they begin with; ``None`` if they can."""
    accepted = inspect.signature(model.forward).parameters
    missing = [name for name in _INPUTS if name not in accepted]
    if missing:
        return f"the model takes no {missing[0]}"
    config: Any = model.config.get_text_config()
    if config._attn_implementation not in ("sdpa", "eager"):
        return f"attention {config._attn_implementation} takes no mask of a tree"
    if rope_bounds(config):
        return "the model's rotary embeddings depend on the longest row of a batch"
    others = layer_types(config) - {FULL, SLIDING}
    if others:
        return f"the model has layers of another kind ({', '.join(sorted(others))})"
    return None


def layer_types(config: Any) -> set[str]:
    """Return the kinds of a model's layers; without a list, all are of one kind."""
    listed = getattr(config, "layer_types", None)
    if listed:
        return set(listed)
    return {FULL if getattr(config, "sliding_window", None) is None else SLIDING}


RowKind = tuple[bool, bool, bool]
"""What rows share: a trunk, stems, branches."""


class ExactnessCheck:
    """Scores spans of shared rows alone, and compares: who differs by more than rounding?

    Rows are of a kind by what they share (trunk, stem, branches). A kind is tried with its first
    batch, and again with every batch that reaches further: a mask may be wrong from there on only.
    What is exact to a quarter of the bound is tried once for a loaded model; what is off by more
    and yet no more than by rounding is tried anew with every list of spans, since rounding follows
    from the text too (activations in few bits).

    What rounding does is measured: whole spans alone, and in pairs padded on the left.
    """

    def __init__(
        self, runner: RowRunner, spans: Sequence[Span], fed_tokens: int, exact: dict[RowKind, int]
    ) -> None:
        """Take what is scored.

        Args:
            runner: scores the samples.
            spans: all of them.
            fed_tokens: tokens that scoring them feeds.
            exact: kinds that were found exact with this model, and up to which reach; what is
                found exact is added.
        """
        self._runner = runner
        self._spans = spans
        self._most_tokens = _SAMPLE_SHARE * fed_tokens
        self._exact = exact
        self._tried = dict(exact)
        self._known: dict[int, float] = {}
        self._beside: dict[int, SpanScore] = {}

    def differs(self, group: Group, rows: Sequence[Row], found: dict[int, SpanScore]) -> str | None:
        """Return by how much the scores of a batch are off; ``None`` if they are not."""
        kind = kind_of(group, rows)
        reach = reach_tokens(self._spans, rows)
        if not any(kind) or reach <= self._tried.get(kind, 0):
            return None
        self._tried[kind] = reach
        few = self._few(rows, reach)
        # Not ``>``: NaN is off too, and whole sequences then say whether the model gives it.
        if all(self._off(place, found) <= LEAST_NATS for place in few):
            self._exact[kind] = reach
            return None
        many = [*few, *_spread([read.place for row in rows for read in row.reads])]
        self._measure_noise([*many, *_spread(range(len(self._spans)))])
        moved = {place: found[place] for place in many}
        if self._deviation(moved) <= TIMES_NOISE * self._deviation(self._beside):
            return None
        return (
            f"shared prefixes move a score by {self._most(moved):.2g} nats, "
            f"and another batch moves one by {self._most(self._beside):.2g}"
        )

    def _few(self, rows: Sequence[Row], reach: int) -> list[int]:
        """Return places: the last branches of the longest row and of the most padded one.

        The first branches too, where that takes few tokens; always a span that reaches furthest.
        """
        places = [rows[n].reads[m].place for m in (-1, 0) for n in (0, -1)]
        if sum(self._tokens(place) for place in set(places)) > self._most_tokens:
            places = places[:2]
        if all(self._tokens(place) < reach for place in places):
            reads = (read.place for row in rows for read in row.reads)
            places.append(next(place for place in reads if self._tokens(place) == reach))
        return list(dict.fromkeys(places))

    def _tokens(self, place: int) -> int:
        return fed_tokens(self._spans[place])

    def _measure_noise(self, places: Sequence[int]) -> None:
        fresh = [place for place in dict.fromkeys(places) if place not in self._beside]
        fresh.sort(key=self._tokens)
        # The longest with the shortest: the more padding, the more of the arithmetic differs.
        half = (len(fresh) + 1) // 2
        for pair in zip_longest(fresh[:half], reversed(fresh[half:])):
            places_of_pair = [place for place in pair if place is not None]
            self._beside |= self._runner.padded(plan_whole(self._spans, places_of_pair).rows)

    def _alone(self, place: int) -> float:
        if place not in self._known:
            ((_, found),) = self._runner.scores(plan_whole(self._spans, [place]))
            self._known[place] = found[place].loglikelihood
        return self._known[place]

    def _off(self, place: int, scores: Mapping[int, SpanScore]) -> float:
        return abs(scores[place].loglikelihood - self._alone(place))

    def _most(self, scores: Mapping[int, SpanScore]) -> float:
        return max((self._off(place, scores) for place in scores), default=0.0)

    def _deviation(self, scores: Mapping[int, SpanScore]) -> float:
        """Return how far scores are from those alone: root mean square, nats at one token.

        Rounding at each token adds to that at the others as a random walk does.
        """
        squares = [
            self._off(place, scores) ** 2 / len(self._spans[place].continuation) for place in scores
        ]
        return math.sqrt(math.fsum(squares) / len(squares)) if squares else 0.0


def kind_of(group: Group, rows: Sequence[Row]) -> RowKind:
    """Return what the rows of a batch share."""
    return bool(group.trunk), bool(rows[0].stem), not all(row.is_chain for row in rows)


def reach_tokens(spans: Sequence[Span], rows: Sequence[Row]) -> int:
    """Return the tokens of the longest sequence that rows hold, what they share included."""
    return max(fed_tokens(spans[read.place]) for row in rows for read in row.reads)


def _spread(places: Sequence[int]) -> Sequence[int]:
    """Return some of the places, in even steps."""
    return places[:: -(-len(places) // _MANY)]
