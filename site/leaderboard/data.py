"""The board for the browser: columns of numbers in one script that works from ``file://``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from leanboard.leaderboard.board import FILTERS, Board
from leanboard.leaderboard.cells import BAR_WIDTH, DOUBT, GLYPHS, MARK_WIDTH, BoardCell
from leanboard.leaderboard.columns import ARROWS, BETTER, Column
from leanboard.leaderboard.gate_marks import CLASSES as GATE_CLASSES
from leanboard.leaderboard.gate_marks import SIGNS
from leanboard.leaderboard.tradeoff import ESTIMATE, UNRANKED, UNSTABLE

Json = dict[str, object]


def data_script(board: Board) -> str:
    """Return a classic script that declares the constant ``LEANBOARD``.

    Strings are ASCII with ``<``, ``>`` and ``&`` escaped, so the text stays inert wherever it
    lands. Repeated texts are stored once and named by number.
    """
    text = json.dumps(_data(board), separators=(",", ":"), sort_keys=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"const LEANBOARD = {text};\n"


def _data(board: Board) -> Json:
    lines = board.lines
    texts = {
        **{name: [str(getattr(line, field)) for line in lines] for name, field in FILTERS.items()},
        "techniqueText": [line.label_text for line in lines],
        "workloadText": [line.workload_text for line in lines],
        "backendText": [line.backend_text for line in lines],
        "machine": [line.machine for line in lines],
        "device": [line.device for line in lines],
        "status": [line.status.value for line in lines],
        "reason": [line.reason for line in lines],
        "unstable": [line.unstable for line in lines],
        "gate": [line.gate.text for line in lines],
    }
    return {
        "barWidth": BAR_WIDTH,
        "markWidth": MARK_WIDTH,
        "filters": list(FILTERS),
        "unranked": UNRANKED,
        "unstableRun": UNSTABLE,
        "estimate": ESTIMATE,
        "doubt": DOUBT,
        "gates": {SIGNS[verdict]: css for verdict, css in GATE_CLASSES.items()},
        "glyphs": {verdict.value: glyph for verdict, glyph in GLYPHS.items()},
        "rows": len(lines),
        "href": [line.href for line in lines],
        "baseline": [int(line.baseline) for line in lines],
        "gateTitle": _dictionary([line.gate.title if line.gate.text else "" for line in lines]),
        "ranked": [int(line.ranked) for line in lines],
        "texts": {name: _dictionary(values) for name, values in texts.items()},
        "metrics": [_metric(column) for column in board.columns],
        "cells": [
            _cells([line.cells[place] for line in lines]) for place in range(len(board.columns))
        ],
    }


def _metric(column: Column) -> Json:
    return {
        "name": column.name,
        "label": column.label,
        "short": column.short,
        "factor": column.scale.factor,
        "suffix": column.scale.suffix,
        "direction": column.direction.value,
        "arrow": ARROWS[column.direction],
        "better": BETTER[column.direction],
        "quality": int(column.quality),
        "shown": int(column.shown),
        "axis": int(column.axis),
        "gated": int(column.gated),
        "largest": column.largest,
    }


def _cells(cells: Sequence[BoardCell]) -> Json:
    gains = [cell.gain for cell in cells]
    return {
        "value": [cell.value for cell in cells],
        "low": [cell.low for cell in cells],
        "high": [cell.high for cell in cells],
        "unranked": [int(cell.unranked) for cell in cells],
        "estimate": _dictionary([cell.estimate for cell in cells]),
        "doubted": [int(gain is not None and gain.doubted) for gain in gains],
        "title": _dictionary([cell.title for cell in cells]),
        "gain": [None if gain is None else gain.factor for gain in gains],
        "verdict": _dictionary(["" if gain is None else gain.verdict.value for gain in gains]),
        "gainTitle": _dictionary(["" if gain is None else gain.title for gain in gains]),
    }


def _dictionary(values: Sequence[str]) -> Json:
    """Return the distinct texts, sorted, and each row's number among them."""
    texts = sorted(set(values))
    numbers = {text: number for number, text in enumerate(texts)}
    return {"texts": texts, "rows": [numbers[value] for value in values]}
