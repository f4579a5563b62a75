"""Whether sharing what spans begin with changes their scores: known beforehand, then tried."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from leanboard.runners.backends.base import Span, SpanScore
from leanboard.runners.backends.torch_plan import Group, Row, fed, plan_whole
from leanboard.runners.backends.torch_rows import RowRunner

if TYPE_CHECKING:
    import torch

FULL, SLIDING = "full_attention", "sliding_attention"
_INPUTS = ("attention_mask", "position_ids", "past_key_values", "use_cache")

_FLOAT32_NATS = 1e-3
_EIGHT_BIT_EPSILON = 2**-7
_LOGIT_STEPS = 32
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


class ExactnessCheck:
    """Scores spans of the first batch of each kind (trunk, stem, tree) alone, and compares."""

    def __init__(
        self, model: torch.nn.Module, runner: RowRunner, spans: Sequence[Span], fed_tokens: int
    ) -> None:
        """Take what is scored.

        Args:
            model: gives the tolerance.
            runner: scores the sample.
            spans: all of them.
            fed_tokens: tokens that scoring them feeds.
        """
        self._runner = runner
        self._spans = spans
        self._most_tokens = _SAMPLE_SHARE * fed_tokens
        self._tolerance_nats = tolerance_nats(model)
        self._checked: set[tuple[bool, bool, bool]] = set()

    def differs(self, group: Group, rows: Sequence[Row], found: dict[int, SpanScore]) -> str | None:
        """Return by how much the scores of a batch are off; ``None`` if they are not.

        Only the first batch of its kind is looked at.
        """
        kind = (bool(group.trunk), bool(rows[0].stem), not all(row.is_chain for row in rows))
        if not any(kind) or kind in self._checked:
            return None
        self._checked.add(kind)
        for place in self._sample(rows):
            alone = self._alone(place)
            off = abs(alone - found[place].loglikelihood) / len(self._spans[place].continuation)
            # Of NaN too: whole sequences then say whether the model gives it.
            if not off <= self._tolerance_nats:
                return (
                    f"shared prefixes move a score by {off:.2g} nats a token, and rounding "
                    f"explains {self._tolerance_nats:.2g}"
                )
        return None

    def _alone(self, place: int) -> float:
        batches = self._runner.scores(plan_whole(self._spans, [place]))
        return sum(score.loglikelihood for _, found in batches for score in found.values())

    def _sample(self, rows: Sequence[Row]) -> list[int]:
        """Return places: the last branches of the longest row and of the most padded one.

        The first branches too, where that takes few tokens.
        """
        places = [rows[n].reads[m].place for m in (-1, 0) for n in (0, -1)]
        tokens = sum(len(fed(self._spans[place])) for place in set(places))
        return list(dict.fromkeys(places if tokens <= self._most_tokens else places[:2]))


def tolerance_nats(model: torch.nn.Module) -> float:
    """Return what rounding may move a score by, in nats a token.

    In float32 it is 1e-3, hundreds of times what is seen. A logit of magnitude 16 to 32 in another
    float type is rounded to steps of 16 times the type's epsilon, and the sum over the vocabulary
    moves with it: two such steps (float16 0.03, bfloat16 0.25). Eight-bit activations are rounded
    as coarsely as bfloat16: a last bit that falls the other way moves all that comes after.
    """
    import torch

    weights = list(model.parameters())
    epsilons = [float(torch.finfo(w.dtype).eps) for w in weights if w.is_floating_point()]
    # torchao's name for how the activations before a weight are quantised.
    if any(getattr(weight, "act_quant_kwargs", None) is not None for weight in weights):
        epsilons.append(_EIGHT_BIT_EPSILON)
    return max(_FLOAT32_NATS, *(_LOGIT_STEPS * epsilon for epsilon in epsilons))
