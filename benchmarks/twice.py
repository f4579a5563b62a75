"""Two full quickstarts, one after the other: do their ratios agree?

For every comparison of the quickstart the log ratio of the first run is taken from that of the
second; its 95% interval must include 0 in at least 90% of the cells.

    python -m benchmarks.twice                       two runs, half an hour on two cores
    python -m benchmarks.twice FIRST SECOND          two stores of records that are there already
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import REPORTS, Line, write
from leanboard.metrics.change import Change, Reading, change
from leanboard.metrics.intervals import Interval
from leanboard.results.schema import Comparison
from leanboard.results.store import Store

METRICS = ("ttft_s", "tpot_s")
_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Pair:
    """One comparison in both runs."""

    cell: str
    metric: str
    first: float
    second: float
    low: float
    high: float

    @property
    def agrees(self) -> bool:
        """Whether the interval of second / first includes 1."""
        return self.low <= 1 <= self.high


def pairs(first: Path, second: Path) -> Iterator[Pair]:
    """Yield the comparisons that two stores share, with second / first of their ratios."""
    ours, theirs = _comparisons(first), _comparisons(second)
    for key in sorted(ours.keys() & theirs.keys()):
        found = change(_reading(ours[key]), _reading(theirs[key]))
        if isinstance(found, Change) and found.interval is not None:
            values = (ours[key].value or 0.0, theirs[key].value or 0.0)
            yield Pair(*key, *values, found.interval.low, found.interval.high)


def _comparisons(store: Path) -> dict[tuple[str, str], Comparison]:
    found = {}
    for entry in Store(store, "local").entries():
        record = entry.record
        if record.cell.kind != "performance":
            continue
        cell = f"{record.cell.backend.name} {record.block.arm} {record.cell.workload.name}"
        for comparison in record.comparisons:
            if comparison.metric in METRICS and comparison.interval is not None:
                found[cell, comparison.metric] = comparison
    return found


def _reading(comparison: Comparison) -> Reading:
    interval = comparison.interval
    if comparison.value is None or interval is None:
        raise ValueError("a comparison without an interval cannot be compared again")
    return Reading(
        comparison.value,
        comparison.launches or comparison.n,
        Interval(interval.low, interval.high, interval.method, interval.level),
    )


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
    found = list(pairs(*stores))
    if not found:
        parser.error("the two stores share no comparison with an interval")
    for pair in found:
        print(
            f"{pair.cell:<44} {pair.metric:<7} {pair.first:.3f} {pair.second:.3f}  "
            f"{pair.second / pair.first:.3f} [{pair.low:.3f}, {pair.high:.3f}]"
            f"{'' if pair.agrees else '  DIFFERS'}"
        )
    agree = sum(pair.agrees for pair in found)
    line = Line(
        "two quickstarts: difference of log ratios includes 0",
        f"{agree} of {len(found)} ({agree / len(found):.0%})",
        agree >= _SHARE * len(found),
    )
    return write("twice", [line], [asdict(pair) for pair in found])


if __name__ == "__main__":
    raise SystemExit(main())
