"""Whether a technique changes what greedy decoding says: token for token, prompt by prompt.

Where two tokens are as likely as each other, rounding decides which of them is the first: another
order of the same sums gives another output, and no technique is to blame. Such a tie is judged by
the baseline's own log-probabilities at the token where the outputs part. What follows a tie is no
longer comparable, so a prompt counts by its first difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Literal

from leanboard.metrics.metric import Missing
from leanboard.metrics.trace import RequestObservation

TIE_NATS = 1e-3
"""Largest gap between the log-probabilities of two tokens that are a tie.

Far above what float32 was seen to lose between decoding with a cache and scoring at once (3e-5
over 149 tokens of SmolLM2-135M), far below what weights of 8 bits change. A lower precision loses
more: then near ties are a no, and the gap on the record lets one see them.
"""

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an output leaves the baseline's: the prompt, and the token position from 0.

    Args:
        gap_nats: ``RequestTrace.tie_gap_nats`` there; ``None`` if it is not known.
    """

    prompt_id: str
    position: int
    gap_nats: float | None = None

    @property
    def is_tie(self) -> bool:
        """Whether the gap is known and at most ``TIE_NATS``, either way."""
        return self.gap_nats is not None and abs(self.gap_nats) <= TIE_NATS


@dataclass(frozen=True, slots=True)
class Lossless:
    """Greedy outputs of a candidate against its baseline's.

    Args:
        identical: whether every output equals the baseline's, token for token.
        prompts: number of prompts compared.
        differing: number of prompts with a different output.
        first: the first difference, in the order of the baseline's prompts; one that is no tie,
            if there is such a one.
        ties: number of the differing prompts whose outputs all part from the baseline's at a tie.
        judged: whether the baseline was asked how near a difference is to a tie; one that it was
            not asked about is none.
    """

    identical: bool
    prompts: int
    differing: int
    first: Difference | None
    ties: int = 0
    judged: bool = False

    @property
    def answer(self) -> Literal["yes", "yes up to ties", "no"]:
        """The answer in words."""
        if self.identical:
            return "yes"
        return "yes up to ties" if self.ties == self.differing else "no"


@dataclass(frozen=True, slots=True)
class Parting:
    """The first token at which an output leaves the baseline's.

    Args:
        prompt_id: the prompt of both.
        common: the tokens before it, the same in both.
        baseline_token: what the baseline says there.
        candidate_token: what the candidate says there.
    """

    prompt_id: str
    common: Ids
    baseline_token: int
    candidate_token: int


def lossless(candidate: RequestObservation, baseline: RequestObservation) -> Lossless | Missing:
    """Compare every timed output of the candidate with the baseline's of the same prompt.

    A difference is shown by any prompt; that there is none is only said if the candidate has an
    output for every prompt of the baseline.
    """
    theirs = _outputs(baseline)
    ours = _outputs(candidate)
    unstable = [prompt for prompt, outputs in theirs.items() if len(outputs) > 1]
    if unstable:
        return Missing(f"the baseline does not repeat its own output on prompt {unstable[0]}")
    shared = [prompt for prompt in theirs if prompt in ours]
    if not shared:
        return Missing("candidate and baseline share no prompt")
    found = [_differences(prompt, ours[prompt], next(iter(theirs[prompt]))) for prompt in shared]
    differing = [differences for differences in found if differences]
    lacking = len(theirs) - len(shared)
    if lacking and not differing:
        return Missing(f"the candidate has no output for {lacking} of {len(theirs)} prompts")
    every = [difference for differences in differing for difference in differences]
    return Lossless(
        identical=not differing,
        prompts=len(shared),
        differing=len(differing),
        first=next((d for d in every if not d.is_tie), every[0] if every else None),
        ties=sum(all(d.is_tie for d in differences) for differences in differing),
        judged=any(d.gap_nats is not None for d in every),
    )


def partings(candidate: RequestObservation, baseline: RequestObservation) -> tuple[Parting, ...]:
    """Return where the candidate's outputs leave the baseline's, each once, in their order.

    An output that only ends sooner or later parts at no token: it is not among them. Nor are
    those of a prompt on which the baseline contradicts itself.
    """
    references = _references(baseline)
    found = (
        parting(request.prompt_id, request.output_ids, references[request.prompt_id])
        for request in candidate.timed
        if request.prompt_id in references
    )
    return tuple(dict.fromkeys(part for part in found if part is not None))


def with_tie_gaps(
    candidate: RequestObservation, baseline: RequestObservation, gaps: Mapping[Parting, float]
) -> RequestObservation:
    """Return the candidate's observation with the gaps (nats) noted on the requests they are of."""
    references = _references(baseline)
    noted = []
    for request in candidate.requests:
        reference = references.get(request.prompt_id)
        counts = reference is not None and not request.warmup and request.error is None
        found = parting(request.prompt_id, request.output_ids, reference or ()) if counts else None
        gap = None if found is None else gaps.get(found)
        noted.append(request if gap is None else replace(request, tie_gap_nats=gap))
    return replace(candidate, requests=tuple(noted))


def parting(prompt_id: str, output: Ids, reference: Ids) -> Parting | None:
    """Return where an output leaves the baseline's; ``None`` if no token of both differs."""
    position = first_difference(output, reference)
    if position is None or position >= min(len(output), len(reference)):
        return None
    return Parting(prompt_id, reference[:position], reference[position], output[position])


def first_difference(output: Ids, reference: Ids) -> int | None:
    """Return the first position where two outputs differ, or one ends; ``None`` if they do not."""
    pairs = enumerate(zip_longest(output, reference))
    return next((position for position, (a, b) in pairs if a != b), None)


def _outputs(observation: RequestObservation) -> dict[str, dict[Ids, float | None]]:
    """Return each prompt's distinct outputs with their gaps, in the order they were first seen."""
    outputs: dict[str, dict[Ids, float | None]] = {}
    for request in observation.timed:
        seen = outputs.setdefault(request.prompt_id, {})
        seen.setdefault(request.output_ids, request.tie_gap_nats)
    return outputs


def _references(baseline: RequestObservation) -> dict[str, Ids]:
    outputs = _outputs(baseline)
    return {prompt: next(iter(seen)) for prompt, seen in outputs.items() if len(seen) == 1}


def _differences(
    prompt_id: str, outputs: Mapping[Ids, float | None], reference: Ids
) -> list[Difference]:
    """Return one difference for each distinct output that is not the reference, nearest first.

    An output that only ends sooner or later is at no tie: no token stands against another.
    """
    found = [
        Difference(prompt_id, position, gap if parting(prompt_id, output, reference) else None)
        for output, gap in outputs.items()
        if (position := first_difference(output, reference)) is not None
    ]
    return sorted(found, key=lambda difference: difference.position)
