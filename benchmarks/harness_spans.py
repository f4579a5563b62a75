"""What is scored in `harness_speed`: spans of tokens, how they are divided, what they must cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from leanboard.metrics.trace import AnswerTrace
from leanboard.runners.accuracy.tasks import PreparedTask, no_progress
from leanboard.runners.backends.base import Engine, Span, SpanScore
from leanboard.runners.backends.spans import fed
from leanboard.runners.backends.torch_engine import TransformersEngine

MOST_NATS = 1e-3


@dataclass
class SpanEngine:
    """The engine's encoder, with scores from elsewhere: notes what it is asked to score.

    Args:
        inner: encodes.
        scores: known scores; a span that lacks one gets 0.
    """

    inner: Engine
    scores: Mapping[Span, SpanScore] = field(default_factory=dict)
    spans: list[Span] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        """Ask the engine for everything else."""
        return getattr(self.inner, name)

    def loglikelihood(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        """Note the spans and give what is known of them."""
        self.spans += spans
        unknown = SpanScore(0.0, is_greedy=False)
        for place, span in enumerate(spans):
            yield place, self.scores.get(span, unknown)


def bound(spans: Sequence[Span], body: int, head: int) -> float:
    """Return how many times faster the token counts allow.

    Args:
        spans: what is scored.
        body: multiplications for a token without the output head.
        head: those of the output head.
    """
    plain = sum(map(len, {fed(span) for span in spans}))
    needed, read = needed_tokens(spans)
    return plain * (body + head) / (needed * body + read * head)


def needed_tokens(spans: Sequence[Span]) -> tuple[int, int]:
    """Return how many tokens must be fed, and at how many of them logits must be read.

    A token is told from another by all that precedes it: these are the nodes of one tree of all
    sequences, whatever a plan makes of them.
    """
    nodes: dict[tuple[int, int], int] = {}
    read: set[int] = set()
    for span in spans:
        node = 0
        for number, token in enumerate(fed(span), start=1):
            node = nodes.setdefault((node, token), len(nodes) + 1)
            if number >= len(span.context):
                read.add(node)
    return len(nodes), len(read)


def work(engine: TransformersEngine) -> tuple[int, int]:
    """Return the multiplications of a token: those of the body and of the output head."""
    model = engine._target.model
    head = model.get_output_embeddings().weight.numel()
    linear = sum(w.numel() for name, w in model.named_parameters() if w.dim() == 2)
    embedding = model.get_input_embeddings().weight.numel()
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    return linear - embedding - (0 if tied else head), head


def slices_of(spans: Sequence[Span], count: int) -> list[list[Span]]:
    """Divide the spans by their contexts, in turn: each slice is like the whole."""
    contexts = list(dict.fromkeys(span.context for span in spans))
    slice_of = {context: number % count for number, context in enumerate(contexts)}
    return [[s for s in spans if slice_of[s.context] == number] for number in range(count)]


def slice_of(spans: Sequence[Span], sequences: int) -> list[Span]:
    """Return the smallest slice that feeds so many different sequences; all if none does."""
    count = max(1, len({fed(span) for span in spans}) // sequences)
    while count > 1 and len({fed(span) for span in slices_of(spans, count)[0]}) < sequences:
        count -= 1
    return slices_of(spans, count)[0]


def differences(
    task: PreparedTask,
    engine: TransformersEngine,
    ours: Mapping[Span, SpanScore],
    theirs: Mapping[Span, SpanScore],
) -> dict[str, Any]:
    """Compare log-likelihoods, and the items' scores by lm-eval's own metrics."""
    one, other = (task.answers(SpanEngine(engine, kept), no_progress) for kept in (ours, theirs))
    unlike = [(a, b) for a, b in zip(one, other, strict=True) if a.scores != b.scores]
    return {
        "nats": max(abs(ours[s].loglikelihood - theirs[s].loglikelihood) for s in ours),
        "greedy": sum(ours[s].is_greedy != theirs[s].is_greedy for s in ours),
        "unlike": len(unlike),
        "ties": sum(is_tie(a) for a, _ in unlike),
        "scores": {name: [_mean(one, name), _mean(other, name)] for name in sorted(one[0].scores)},
    }


def is_tie(answer: AnswerTrace) -> bool:
    """Return whether the two best choices of an item are as near as both sides may differ."""
    best = sorted(answer.loglikelihoods)[-2:]
    return best[-1] - best[0] <= 2 * MOST_NATS


def _mean(answers: Sequence[AnswerTrace], name: str) -> float:
    return sum(answer.scores[name] for answer in answers) / len(answers)
