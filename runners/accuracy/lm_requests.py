"""lm-eval's requests before they are scored: their names, their texts, and what does not fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lm_eval.api.instance import Instance

from leanboard.results.errors import ArmError

REQUESTS_A_CALL = 256
"""Requests whose texts are encoded at once: each call is a round trip to another process."""


def name_of(request: Instance) -> str:
    """Return what messages call a request."""
    return f"Task {request.task_name}, item {request.doc_id}"


def without_tokens(request: Instance) -> str:
    """Return the message about a request that has nothing to score."""
    return f"{name_of(request)}: its text gives no tokens to score. Leave this task out."


def chunks(requests: Sequence[Instance]) -> Iterator[list[Instance]]:
    """Yield the requests in pieces of ``REQUESTS_A_CALL``."""
    for start in range(0, len(requests), REQUESTS_A_CALL):
        yield list(requests[start : start + REQUESTS_A_CALL])


def texts_of(requests: Sequence[Instance]) -> Iterator[str]:
    """Yield what lm-eval is going to encode: each context without its trailing spaces, and whole.

    A text that is missing here is only encoded later, alone.

    Raises:
        ArmError: if a request has an empty answer, with the item's name.
    """
    for request in requests:
        context, continuation = request.args
        if not continuation:
            raise ArmError(f"{name_of(request)}: it has an empty answer. Leave this task out.")
        if context:
            yield context.rstrip()
        yield context + continuation


def refuse_long(
    requests: Sequence[Instance], lengths: Sequence[int], window: int, remedy: str
) -> None:
    """Refuse a task, before anything of it is scored, if a request does not fit the window.

    Args:
        requests: all of the task's.
        lengths: tokens that each needs.
        window: tokens that the model can be fed.
        remedy: what would make them shorter.

    Raises:
        ArmError: with how many do not fit, and the first one's name.
    """
    long = [place for place, length in enumerate(lengths) if length > window]
    if long:
        raise ArmError(
            f"{name_of(requests[long[0]])}: {len(long)} of {len(requests)} requests do not fit "
            f"the model's window of {window} tokens; this is the first of them, the longest has "
            f"{max(lengths)}. Nothing is cut off, and nothing was scored. Use {remedy} or another "
            "task."
        )
