"""When tokens arrive, and what a draft proposed: the observers of one ``generate`` call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers.generation.candidate_generator import CandidateGenerator

Clock = Callable[[], float]


class ClientTime:
    """The seconds that leanboard's own code has taken since a request was sent.

    What it does to others (a cache or a lock that it holds) cannot be seen from inside.
    """

    def __init__(self, clock: Clock) -> None:
        """Take the bare clock; it is never waited for."""
        self.now = clock
        self.total_s = 0.0

    def add_since(self, started_s: float) -> None:
        """Add what has passed since a reading of ``now``."""
        self.total_s += self.now() - started_s


class CommitTimes:
    """A streamer for ``generate`` that notes when each token was committed.

    transformers hands it the prompt first, then after every decoding step the new tokens:
    a vector with one token a sequence, or under speculation a matrix with all that were accepted.
    Tokens that were committed together share one time. All that happens here is leanboard's own
    time, waiting for the device included.

    Attributes:
        token_s: arrival of each token.
        client_s: for each token, leanboard's own time until it arrived.
    """

    def __init__(self, mark: Clock, client: ClientTime) -> None:
        """Watch one ``generate`` call.

        Args:
            mark: the clock, which synchronises the device before it reads the time.
            client: gathers leanboard's own time.
        """
        self._mark = mark
        self._client = client
        self._prompt_seen = False
        self.token_s: list[float] = []
        self.client_s: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        """Note the time of the tokens in ``value``."""
        entered_s = self._client.now()
        if self._prompt_seen:
            now_s = self._mark()
            tokens = value.shape[1] if value.dim() == 2 else 1
            self.token_s.extend([now_s] * tokens)
            self.client_s.extend([self._client.total_s + now_s - entered_s] * tokens)
        self._prompt_seen = True
        self._client.add_since(entered_s)

    def end(self) -> None:
        """Do nothing: the last token has been noted."""


@dataclass
class Drafts:
    """What was proposed in one speculative ``generate`` call.

    Args:
        proposals: for every forward of the target: the length of the sequence before it, and the
            tokens drafted to follow (none where nothing was found).
    """

    proposals: list[tuple[int, torch.Tensor]] = field(default_factory=list)

    @property
    def target_forwards(self) -> int | None:
        """Forwards of the target model, prefill included; ``None`` without speculation."""
        return len(self.proposals) or None

    @property
    def drafted(self) -> int | None:
        """Tokens proposed; ``None`` without speculation."""
        if not self.proposals:
            return None
        drafted: int = sum(draft.numel() for _, draft in self.proposals)
        return drafted

    def accepted(self, sequence: Sequence[int]) -> int | None:
        """Return how many drafted tokens stand in the final sequence (prompt and output).

        ``None`` without speculation.
        """
        if not self.proposals:
            return None
        return sum(_agreeing(draft, sequence[start:]) for start, draft in self.proposals)


def _agreeing(draft: torch.Tensor, final: Sequence[int]) -> int:
    """Return how many leading tokens of a draft are those of the final text."""
    pairs = zip(draft.flatten().tolist(), final, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


@contextmanager
def observed_drafts(model: torch.nn.Module, client: ClientTime) -> Iterator[Drafts]:
    """Record the drafts of assisted decoding, which calls its generator once a target forward.

    Nothing is recorded, and nothing costs time, when ``generate`` does not speculate. What the
    recording takes is added to ``client``.
    """
    drafts = Drafts()
    make_generator: Callable[..., CandidateGenerator] | None = getattr(
        model, "_get_candidate_generator", None
    )
    if make_generator is None:
        yield drafts
        return

    def observed_generator(*args: object, **kwargs: object) -> CandidateGenerator:
        generator = make_generator(*args, **kwargs)
        propose = generator.get_candidates

        def get_candidates(
            input_ids: torch.Tensor, *rest: object, **options: object
        ) -> tuple[torch.Tensor, torch.Tensor | None]:
            candidates, logits = propose(input_ids, *rest, **options)
            entered_s = client.now()
            length = input_ids.shape[1]
            drafts.proposals.append((length, candidates[:, length:]))
            client.add_since(entered_s)
            return candidates, logits

        generator.get_candidates = get_candidates
        return generator

    model.__dict__["_get_candidate_generator"] = observed_generator
    try:
        yield drafts
    finally:
        del model.__dict__["_get_candidate_generator"]
