"""What a KL divergence from bounded predictions is worth, as the scoring runs noted it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from pydantic import JsonValue

from leanboard.leaderboard.columns import KL
from leanboard.leaderboard.format import number, plural, quantity
from leanboard.results.schema import Record
from leanboard.results.task_scores import task_of

LOWER_BOUND = "a lower bound: the baseline's less likely tokens count as one outcome"


def bound(record: Record) -> str:
    """Return in words how far the divergence of a scored text may be too low."""
    kept, tokens, error = (
        fact(record.facts, name) for name in ("kl_kept_tokens", "kl_whole_tokens", "kl_error")
    )
    parts = [LOWER_BOUND]
    if kept is not None:
        parts.append(f"the {number(kept, 0)} likeliest of each prediction are kept")
    if error is not None:
        where = "" if tokens is None else f" on {plural(int(tokens), 'token')}"
        parts.append(f"against whole predictions{where} it is {quantity(error, 'nat')} too low")
    return "; ".join(parts)


def bounds(records: Iterable[Record]) -> str:
    """Return the same for all texts with a divergence, by name if there are several."""
    texts = [
        record
        for record in records
        if any(c.metric == KL and c.value is not None for c in record.comparisons)
    ]
    if len(texts) == 1:
        return bound(texts[0])
    return "; ".join(f"{task_of(record).name}: {bound(record)}" for record in texts)


def fact(facts: Mapping[str, JsonValue], name: str) -> float | None:
    """Return the value of a fact; ``None`` where it is not there, or is no finite number."""
    found = facts.get(name)
    value = found.get("value") if isinstance(found, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
