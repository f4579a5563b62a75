"""What a benchmark prints and keeps: claims, figures, and whether each held."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

REPORTS = Path("build/benchmarks")


@dataclass(frozen=True, slots=True)
class Line:
    """One claim with its figure; ``held`` is ``None`` for a figure that is only reported."""

    claim: str
    figure: str
    held: bool | None = None


def write(name: str, lines: Sequence[Line], data: object) -> int:
    """Print the lines, keep them with the data as JSON, and return the exit status."""
    words = {True: "held", False: "NOT HELD", None: ""}
    width = max(len(line.claim) for line in lines)
    for line in lines:
        print(f"{line.claim:<{width}}  {line.figure:<34} {words[line.held]}")
    REPORTS.mkdir(parents=True, exist_ok=True)
    kept = {"lines": [asdict(line) for line in lines], "data": data}
    (REPORTS / f"{name}.json").write_text(json.dumps(kept, indent=1), encoding="utf-8")
    return 1 if any(line.held is False for line in lines) else 0
