"""Open answers through transformers' own ``generate``, with a technique's arguments.

Import this module where torch is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from leanboard.results.errors import OutOfMemoryError
from leanboard.runners.backends.base import UntilAnswer, UntilRequest
from leanboard.runners.backends.torch_continuous import not_finite
from leanboard.runners.backends.torch_loading import TorchTarget, torch_failures
from leanboard.runners.backends.until import Answer, Decode

ROWS = 8
"""Requests that go through ``generate`` together, where rows cannot touch one another."""

_ROWS_APART = frozenset({"cache_implementation", "disable_compile", "max_cache_len"})
"""Arguments of which each row alone decides."""


class Ended(StoppingCriteria):  # type: ignore[misc]
    """Tells ``generate`` which rows have ended, and keeps their answers.

    Under speculation several tokens come at once; those behind an end are not taken.

    Args:
        answers: one a row.
        width: tokens of the prompts, padding included.
    """

    def __init__(self, answers: Sequence[Answer], width: int) -> None:
        """Watch one ``generate`` call."""
        self._answers = answers
        self._read = width

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        """Read the new tokens; return for each row whether it has ended."""
        new = input_ids[:, self._read :].tolist()
        self._read = input_ids.shape[1]
        for answer, tokens in zip(self._answers, new, strict=True):
            for token in tokens:
                if answer.ended is None:
                    answer.add(token)
        ended = [answer.ended is not None for answer in self._answers]
        return torch.tensor(ended, device=input_ids.device)


class Finite(LogitsProcessor):  # type: ignore[misc]
    """Refuses logits of which the largest is not finite.

    Args:
        places: the request of each row.
        answers: one a row; those that have ended are not looked at.
    """

    def __init__(self, places: Sequence[int], answers: Sequence[Answer]) -> None:
        """Watch one ``generate`` call."""
        self._places = places
        self._answers = answers

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        """Return the logits as they are.

        Raises:
            ArmError: if they are not finite, with the request and the step.
        """
        finite = scores.max(dim=-1).values.isfinite().tolist()
        for place, answer, good in zip(self._places, self._answers, finite, strict=True):
            if answer.ended is None and not good:
                raise not_finite(place, len(answer.ids))
        return scores


def generate_answers(
    target: TorchTarget,
    requests: Sequence[UntilRequest],
    ends: Collection[int],
    decode: Decode,
) -> Iterator[tuple[int, UntilAnswer]]:
    """Answer the requests through ``generate``, the longest first; yield each with its place.

    One at a time, but for a static cache, which keeps rows apart: there some of them together.

    Raises:
        ArmError: if ``generate`` fails, or a logit is not finite.
        OutOfMemoryError: if not even one request fits.
    """
    order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].prompt), i))
    rows = ROWS if target.generation and set(target.generation) <= _ROWS_APART else 1
    done = 0
    while done < len(order):
        places = _alike(requests, order[done : done + rows])
        answers = [Answer(requests[place], ends, decode) for place in places]
        try:
            with torch_failures("answering"):
                _generate(target, [requests[place] for place in places], places, answers, ends)
        except OutOfMemoryError:
            if rows == 1:
                raise
            rows = max(1, rows // 2)
            continue
        yield from ((place, answer.result()) for place, answer in zip(places, answers, strict=True))
        done += len(places)


def _alike(requests: Sequence[UntilRequest], places: list[int]) -> list[int]:
    """Return the places up to the first whose answer may have another length."""
    most = requests[places[0]].max_tokens
    other = (n for n, place in enumerate(places) if requests[place].max_tokens != most)
    return places[: next(other, len(places))]


def _generate(
    target: TorchTarget,
    requests: Sequence[UntilRequest],
    places: Sequence[int],
    answers: Sequence[Answer],
    ends: Collection[int],
) -> None:
    # transformers keeps the largest static cache of earlier calls; an answer must not depend
    # on what ran before it.
    target.model.__dict__.pop("_previous_max_cache_length", None)
    device = next(target.model.parameters()).device
    width = max(len(request.prompt) for request in requests)
    gaps = [width - len(request.prompt) for request in requests]
    ids = [(0,) * gap + request.prompt for gap, request in zip(gaps, requests, strict=True)]
    mask = [[0] * gap + [1] * (width - gap) for gap in gaps]
    target.model.generate(
        torch.tensor(ids, device=device),
        attention_mask=torch.tensor(mask, device=device),
        max_new_tokens=requests[0].max_tokens,
        do_sample=False,
        eos_token_id=sorted(ends),
        stopping_criteria=[Ended(answers, width)],
        logits_processor=[Finite(places, answers)],
        **target.generation,
    )
