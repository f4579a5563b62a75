"""What a benchmark prints and keeps: claims, figures, and whether each held.

python -m benchmarks.report          the figures kept last, as the table of docs/measurement.md
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from leanboard.runners.machine.environment import git_state

REPORTS = Path("build/benchmarks")
_WORDS = {True: "held", False: "not held", None: ""}


@dataclass(frozen=True, slots=True)
class Line:
    """One claim with its figure; ``held`` is ``None`` for a figure that is only reported."""

    claim: str
    figure: str
    held: bool | None = None


def write(name: str, lines: Sequence[Line], data: object) -> int:
    """Print the lines, keep them with the data as JSON, and return the exit status."""
    width = max(len(line.claim) for line in lines)
    for line in lines:
        print(f"{line.claim:<{width}}  {line.figure:<34} {_WORDS[line.held].upper()}")
    REPORTS.mkdir(parents=True, exist_ok=True)
    commit, edited = git_state(Path())
    report = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit,
        "edited": edited,
        "lines": [asdict(line) for line in lines],
        "data": data,
    }
    (REPORTS / f"{name}.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    return 1 if any(line.held is False for line in lines) else 0


def kept(name: str) -> Any:
    """Return the data that was kept last under a name; ``None`` where there is none."""
    file = REPORTS / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8"))["data"] if file.is_file() else None


def table(folder: Path = REPORTS) -> Iterator[str]:
    """Yield the kept reports as a Markdown table."""
    yield "| benchmark | claim | measured | |"
    yield "|---|---|---|---|"
    for file in sorted(folder.glob("*.json")):
        report = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(report, dict):
            for line in report["lines"]:
                held = _WORDS[line["held"]]
                yield f"| {file.stem} | {line['claim']} | {line['figure']} | {held} |"


if __name__ == "__main__":
    print("\n".join(table()))
