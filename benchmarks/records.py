"""Many records for benchmarks of the site, made from the published ones. None of them was measured.

Every copy of the newest run of each published cell has a model, a technique, a workload or a
machine of its own, and values that are moved at random: ratios keep their side of 1, so that
verdicts still follow from their intervals, and candidates keep their baselines. Identities and
hashes are right. The same number gives the same bytes. The copies have no trace files.

    python -m benchmarks.records FOLDER --count 10000
    python -m benchmarks.records FOLDER --count 10000 --timed    no scoring runs: a row each, nearly
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from leanboard.results.document import json_text
from leanboard.results.identity import cell_id, content_hash, digest, machine_id
from leanboard.results.parallel import processes_for, started
from leanboard.results.published import published_root
from leanboard.results.schema import AccuracyCell, Environment, PerformanceCell
from leanboard.results.store import find_records

Fields = dict[str, Any]

_MODELS, _TECHNIQUES, _WORKLOADS = 8, 2, 3
_RUN_DATE = len("20260101T000000Z-")
_COPIES_A_TASK = 4


def write_records(folder: Path, count: int, *, timed: bool = False) -> None:
    """Write so many records into a store.

    Args:
        folder: root of the store.
        count: how many.
        timed: leave scoring runs out, so that every record is a row of the board, but for older
            runs of a baseline.
    """
    sources = [path.read_bytes() for path in newest_runs(published_root(), timed=timed)]
    copies = -(-count // len(sources))
    tasks = [
        partial(_write, folder, sources, range(first, min(first + _COPIES_A_TASK, copies)), count)
        for first in range(0, copies, _COPIES_A_TASK)
    ]
    with started(tasks, processes_for(count)) as finish:
        finish()


def newest_runs(root: Path, *, timed: bool) -> list[Path]:
    """Return the newest record of every cell of a store, and those that they are compared with.

    Baselines come first, as a cut keeps those.
    """
    read = {path: from_json(path.read_bytes()) for path in find_records(root)[0]}
    newest: dict[Path, Path] = {}
    for path, fields in read.items():
        if not timed or fields["cell"]["kind"] == "performance":
            newest[path.parent] = max(path, newest.get(path.parent, path))
    chosen = set(newest.values())
    named = {found["baseline_run"] for path in chosen for found in read[path]["comparisons"]}
    chosen |= {path for path, fields in read.items() if fields["run_id"] in named}
    return sorted(chosen, key=lambda path: (not read[path]["block"]["baseline"], path))


def copied(source: bytes, number: int) -> Fields:
    """Return the fields of a copy of a record.

    Args:
        source: the record's JSON.
        number: which copy; the same one for all records of a block.
    """
    fields: Fields = from_json(source)
    place, model = divmod(number, _MODELS)
    place, technique = divmod(place, _TECHNIQUES)
    machine, workload = divmod(place, _WORKLOADS)
    move(fields, random.Random(f"{number}/{fields['run_id']}"))  # noqa: S311
    _name_model(fields["cell"]["model"], model)
    _name_techniques(fields, technique)
    if "workload" in fields["cell"]:
        _name_workload(fields["cell"]["workload"], workload)
    fields["machine_id"] = _name_machine(fields["environment"], machine)
    fields["run_id"] = _run_id(fields["run_id"], number)
    for comparison in fields["comparisons"]:
        comparison["baseline_run"] = _run_id(comparison["baseline_run"], number)
    fields["block"]["block_id"] = digest([fields["block"]["block_id"], number])[:16]
    fields["cell_id"] = _cell_id(fields["cell"])
    fields["traces"] = None
    fields["content_hash"] = content_hash(fields)
    return fields


def move(fields: Fields, draw: random.Random) -> None:
    """Change what was measured by a factor, and ratios by a power, which keeps their side of 1."""
    slower = draw.uniform(0.7, 1.4)
    for measured in fields["measurements"].values():
        if measured["provenance"] == "measured" and measured["unit"] != "1":
            factor = slower * draw.uniform(0.97, 1.03)
            _scale(measured, 1 / factor if measured["unit"].endswith("/s") else factor)
    for comparison in fields["comparisons"]:
        power = draw.uniform(0.8, 1.2)
        if comparison["statistic"] == "ratio":
            _raise(comparison, power)
        elif comparison["statistic"] == "difference":
            _scale(comparison, power)


def _scale(number: Fields, factor: float) -> None:
    for part in ("value", "stderr"):
        if number[part] is not None:
            number[part] *= factor
    for part in ("samples", "pairs"):
        if number.get(part) is not None:
            number[part] = [value * factor for value in number[part]]
    for end in ("low", "high"):
        if number["interval"] is not None:
            number["interval"][end] *= factor


def _raise(ratio: Fields, power: float) -> None:
    def raised(value: float) -> float:
        return float(value**power) if value > 0 else value

    if ratio["value"] is not None:
        ratio["value"] = raised(ratio["value"])
    if ratio["pairs"] is not None:
        ratio["pairs"] = [raised(value) for value in ratio["pairs"]]
    for end in ("low", "high"):
        if ratio["interval"] is not None:
            ratio["interval"][end] = raised(ratio["interval"][end])


def _name_model(model: Fields, which: int) -> None:
    model["name"] = _named(model["name"], "m", which)
    model["content_hash"] = digest([model["content_hash"], which])
    model["parameters"] *= 1 + 4 * which


def _name_techniques(fields: Fields, which: int) -> None:
    for technique in fields["cell"]["techniques"]:
        technique["name"] = _named(technique["name"], "t", which)
    block = fields["block"]
    block["arm"] = _arm(block["arm"], which)
    block["arms"] = [_arm(arm, which) for arm in block["arms"]]


def _arm(arm: str, which: int) -> str:
    return "+".join(part if part == "none" else _named(part, "t", which) for part in arm.split("+"))


def _name_workload(workload: Fields, which: int) -> None:
    workload["name"] = _named(workload["name"], "w", which)
    workload["prompts_hash"] = digest([workload["prompts_hash"], which])


def _name_machine(environment: Fields, which: int) -> str:
    """Name the processor of a machine, and return the id that follows from it."""
    environment["cpu"]["name"] = f"{environment['cpu']['name']} {which}"
    return machine_id(Environment.model_validate(environment))


def _named(name: str, kind: str, which: int) -> str:
    return f"{name}-{kind}{which}" if which else name


def _run_id(run_id: str, number: int) -> str:
    return run_id[:_RUN_DATE] + digest([run_id, number])[:8]


def _cell_id(cell: Mapping[str, Any]) -> str:
    if cell["kind"] == "performance":
        return cell_id(PerformanceCell.model_validate(cell))
    return cell_id(AccuracyCell.model_validate(cell))


def _write(folder: Path, sources: Sequence[bytes], copies: range, count: int) -> None:
    """Write some copies of all records, but no more than ``count`` over all tasks."""
    left = max(0, count - copies.start * len(sources))
    for fields in islice(_copies(sources, copies), left):
        place = folder / fields["machine_id"] / fields["cell_id"]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{fields['run_id']}.json").write_text(json_text(fields), encoding="utf-8")


def _copies(sources: Sequence[bytes], copies: range) -> Iterator[Fields]:
    for number in copies:
        for source in sources:
            yield copied(source, number)


def main(arguments: Sequence[str]) -> int:
    """Write the records and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--timed", action="store_true", help="leave scoring runs out")
    asked = parser.parse_args(arguments)
    write_records(asked.folder, asked.count, timed=asked.timed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
