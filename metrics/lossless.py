"""Whether a technique changes what greedy decoding says: token for token, prompt by prompt."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest

from leanboard.metrics.metric import Missing
from leanboard.metrics.trace import RequestObservation

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an output leaves the baseline's: the prompt, and the token position from 0."""

    prompt_id: str
    position: int


@dataclass(frozen=True, slots=True)
class Lossless:
    """Greedy outputs of a candidate against its baseline's.

    Args:
        identical: whether every output equals the baseline's, token for token.
        prompts: number of prompts compared.
        differing: number of prompts with a different output.
        first: the first difference, in the order of the baseline's prompts.
    """

    identical: bool
    prompts: int
    differing: int
    first: Difference | None


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
    differences = [
        Difference(prompt, position)
        for prompt in shared
        if (position := _first_difference(ours[prompt], theirs[prompt][0])) is not None
    ]
    lacking = len(theirs) - len(shared)
    if lacking and not differences:
        return Missing(f"the candidate has no output for {lacking} of {len(theirs)} prompts")
    first = differences[0] if differences else None
    return Lossless(not differences, len(shared), len(differences), first)


def _outputs(observation: RequestObservation) -> dict[str, list[Ids]]:
    """Return the distinct outputs of each prompt, in the order they were first seen."""
    outputs: dict[str, list[Ids]] = {}
    for request in observation.timed:
        seen = outputs.setdefault(request.prompt_id, [])
        if request.output_ids not in seen:
            seen.append(request.output_ids)
    return outputs


def _first_difference(outputs: list[Ids], reference: Ids) -> int | None:
    positions = [
        position
        for output in outputs
        for position, (a, b) in enumerate(zip_longest(output, reference))
        if a != b
    ]
    return min(positions, default=None)
