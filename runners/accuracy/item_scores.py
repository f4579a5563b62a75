"""From lm-eval's results of one item to the numbers that a trace keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask

INSTRUCTIONS = "instructions"
"""Beside scores that are shares of an item's instructions: how many instructions it has."""

WORDS = "words"
"""Beside a text's log-likelihood: how many words lm-eval counts in it."""

_BYTES = ("byte_perplexity", "bits_per_byte")


@dataclass(frozen=True, slots=True)
class ItemScores:
    """The scores of one item.

    Args:
        scores: by name; averaged over items, weighed with ``instructions`` or ``words`` where
            there are such.
        text_bytes: bytes that a running text's log-likelihood is divided by; 0 for other tasks.
    """

    scores: dict[str, float]
    text_bytes: int = 0


def averaged(harness: ConfigurableTask) -> tuple[str, ...]:
    """Return the metrics that lm-eval averages over the items."""
    from lm_eval.api.metrics import mean

    return tuple(sorted(m for m, function in harness.aggregation().items() if function is mean))


def item_scores(harness: ConfigurableTask, results: Mapping[str, Any]) -> ItemScores:
    """Return the numbers of what lm-eval's ``process_results`` gave for one item.

    What a mean over items cannot make up (F1, a perplexity) is left out, except shares of an
    item's instructions and counts of a running text.
    """
    plain = averaged(harness)
    scores = {name: float(results[name]) for name in plain if name in results}
    for name, value in results.items():
        if isinstance(value, list) and value and name not in plain:
            scores[name] = sum(map(float, value)) / len(value)
            scores[INSTRUCTIONS] = float(len(value))
    if "word_perplexity" in results:
        scores[WORDS] = float(results["word_perplexity"][1])
    sizes = [int(results[name][1]) for name in _BYTES if name in results]
    return ItemScores(scores, sizes[0] if sizes else 0)
