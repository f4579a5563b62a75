"""Make a block ready: fetch and convert the model, choose prompts, fix the items."""

from __future__ import annotations
