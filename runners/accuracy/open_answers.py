"""What a task of lm-eval asks of an open answer: how long it may get, and what ends it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lm_eval.models.utils import normalize_gen_kwargs

from leanboard.results.errors import ArmError

MAX_TOKENS = 256
"""Most tokens of an answer where the task does not say: lm-eval's own number (``HFLM``)."""

# They choose among sampled tokens; the most likely token is always among what they leave.
_OF_SAMPLING = frozenset({"do_sample", "temperature", "top_k", "top_p", "min_p"})
_UNDERSTOOD = _OF_SAMPLING | {"until", "max_gen_toks"}


def greedy_limits(name: str, asked: Mapping[str, Any]) -> tuple[int, tuple[str, ...]]:
    """Return the most tokens of an answer and the texts that end it, in the task's order.

    Names, defaults and the meaning of a temperature are read by lm-eval's own code.

    Args:
        name: what is asked, for messages.
        asked: the task's ``generation_kwargs``.

    Raises:
        ArmError: if the task wants anything else than greedy decoding.
    """
    wanted = dict(normalize_gen_kwargs(dict(asked), MAX_TOKENS))
    if wanted["do_sample"] and wanted.get("temperature", 1.0) > 0:
        raise ArmError(
            f"{name}: it wants its answers sampled, and only greedy answers are the same for "
            "every arm. Choose another task."
        )
    others = sorted(key for key in wanted if key not in _UNDERSTOOD and wanted[key] is not None)
    if others:
        raise ArmError(
            f"{name}: it wants {others[0]}={wanted[others[0]]!r}, which plain greedy decoding "
            "does not know. Choose another task."
        )
    if wanted["max_gen_toks"] < 1:
        raise ArmError(f"{name}: an answer of {wanted['max_gen_toks']} tokens cannot be scored.")
    return wanted["max_gen_toks"], tuple(stop for stop in wanted["until"] if stop)
