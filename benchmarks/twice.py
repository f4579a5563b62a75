"""Two full quickstarts, one after the other: do their ratios agree?

For every cell the log ratio of TPOT in the first run is taken from that in the second; the 95%
interval of the difference must include 0 in at least 90% of the cells. A cell that a run lacks, or
that has no interval, does not agree. TTFT is reported beside it.

    python -m benchmarks.twice                       two runs, half an hour on two cores
    python -m benchmarks.twice FIRST SECOND          two stores of records that are there already
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.report import REPORTS, Line, write
from leanboard.metrics.change import change
from leanboard.metrics.metric import Missing
from leanboard.results.reproduction import reading_of
from leanboard.results.schema import Comparison, PerformanceCell
from leanboard.results.store import Store

METRICS = ("tpot_s", "ttft_s")
_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Pair:
    """One comparison in both runs; ``ratio`` is second / first, ``None`` where a run lacks it."""

    cell: str
    metric: str
    first: float | None = None
    second: float | None = None
    ratio: tuple[float, float, float] | None = None

    @property
    def agrees(self) -> bool:
        """Whether the interval of second / first includes 1."""
        return self.ratio is not None and self.ratio[1] <= 1 <= self.ratio[2]


def pairs(first: Path, second: Path) -> list[Pair]:
    """Return every comparison that either of two stores has."""
    ours, theirs = _comparisons(first), _comparisons(second)
    found = [_pair(key, ours.get(key), theirs.get(key)) for key in ours.keys() | theirs.keys()]
    return sorted(found, key=lambda pair: (pair.metric, pair.cell))


def _pair(key: tuple[str, str], first: Comparison | None, second: Comparison | None) -> Pair:
    then, now = (None if found is None else found.value for found in (first, second))
    lacking = Pair(*key, first=then, second=now)
    readings = reading_of(first), reading_of(second)
    if isinstance(readings[0], Missing) or isinstance(readings[1], Missing):
        return lacking
    moved = change(readings[0], readings[1])
    if isinstance(moved, Missing) or moved.interval is None:
        return lacking
    return replace(lacking, ratio=(moved.value, moved.interval.low, moved.interval.high))


def _comparisons(store: Path) -> dict[tuple[str, str], Comparison]:
    found: dict[tuple[str, str], Comparison] = {}
    for entry in Store(store, "local").entries():
        record = entry.record
        if isinstance(record.cell, PerformanceCell):
            cell = f"{record.cell.backend.name} {record.block.arm} {record.cell.workload.name}"
            found |= {(cell, c.metric): c for c in record.comparisons if c.metric in METRICS}
    return found


def _run(store: Path) -> None:
    command = [sys.executable, "-m", "leanboard.runners.cli", "run", "suite=quickstart"]
    subprocess.run([*command, f"store={store}"], check=True)


def main() -> int:
    """Run the quickstart twice, or read two runs, and say whether they agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stores", nargs="*", type=Path, help="two stores that are there already")
    stores = parser.parse_args().stores
    if not stores:
        stores = [REPORTS / f"quickstart-{which}" / "records" for which in ("first", "second")]
        for store in stores:
            _run(store)
    if len(stores) != 2:
        parser.error("two stores are compared, or none and two are made")
    found = pairs(*stores)
    if not found:
        parser.error("the two stores hold no comparison")
    for pair in found:
        print(f"{pair.metric:<7} {pair.cell:<44} {_text(pair)}")
    lines = [_line(name, [pair for pair in found if pair.metric == name]) for name in METRICS]
    return write("twice", lines, [asdict(pair) for pair in found])


def _text(pair: Pair) -> str:
    if pair.ratio is None or pair.first is None or pair.second is None:
        return "no interval in a run"
    value, low, high = pair.ratio
    mark = "" if pair.agrees else "  DIFFERS"
    return f"{pair.first:.3f} {pair.second:.3f}  {value:.3f} [{low:.3f}, {high:.3f}]{mark}"


def _line(name: str, found: list[Pair]) -> Line:
    agree = sum(pair.agrees for pair in found)
    widths = [pair.ratio[2] - pair.ratio[1] for pair in found if pair.ratio is not None]
    width = f"median width {statistics.median(widths):.0%}" if widths else "no interval"
    held = agree >= _SHARE * len(found) if name == METRICS[0] else None
    claim = f"two quickstarts: {name}, difference of log ratios includes 0"
    return Line(claim, f"{agree} of {len(found)} cells, {width}", held)


if __name__ == "__main__":
    raise SystemExit(main())
