"""Techniques: one small dataclass a file; its fields are its knobs."""
