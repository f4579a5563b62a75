"""Rotary embeddings whose frequencies depend on the longest sequence of a forward."""

from __future__ import annotations

from typing import Any

_LOOKS_AROUND = ("dynamic", "longrope")


def rope_bounds(config: Any) -> tuple[int, ...]:
    """Return the lengths beyond which such embeddings take other frequencies; mostly none.

    With any, a token's keys depend on how long the longest row of its forward is: rows must not
    share tokens with longer ones, and go through the model beside those on the same side only.
    """
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    kinds = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    bounds = {
        kind.get("original_max_position_embeddings") or text.max_position_embeddings
        for kind in kinds
        if kind.get("rope_type") in _LOOKS_AROUND
    }
    return tuple(sorted(bounds))
