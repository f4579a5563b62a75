"""``leanboard reproduce`` from a file to a verdict, with a bench that runs nothing."""

from __future__ import annotations

import json
import shlex
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from record_factory import Run, make_environment, make_record, make_run, make_workload
from rich.console import Console

from leanboard.metrics.reproduction import Outcome
from leanboard.results.document import record_to_text
from leanboard.results.errors import ConfigError, LeanboardError, RecordError
from leanboard.results.printable import printable
from leanboard.results.schema import Cause, Component, Record, Stability
from leanboard.results.store import Store
from leanboard.runners import reproduce as module
from leanboard.runners.cli import cli
from leanboard.runners.estimate import Estimate, History
from leanboard.runners.grid import BlockSpec, blocks
from leanboard.runners.progress import PlainProgress, Progress
from leanboard.runners.reproduce import Bench, Request, find, reproduce, reproduce_all, sample

REQUEST = Request(store=Path("build/reproduced/records"))


def candidate(number: int = 0, speed: float = 1.5, **options: Any) -> Run:
    knobs = {"lm_head": False}
    return make_run(
        techniques=[Component(name="int8-weight-only", version=1, params=knobs)],
        number=number,
        speed=speed,
        baseline=make_run(number=number),
        **options,
    )


class FakeBench:
    """Answers with records that were made before, and keeps what it was asked."""

    def __init__(self, *fresh: Record, cell: Any = None, estimate_s: float = 20.0) -> None:
        self.ran: list[BlockSpec] = []
        self._fresh = fresh
        self._cell = cell if cell is not None else fresh[-1].cell
        self._estimate_s = estimate_s

    @property
    def bench(self) -> Bench:
        return Bench(
            plan_cell=lambda _spec, _progress: self._cell,
            run_block=self._run,
            estimate_s=lambda _spec: self._estimate_s,
            environment=lambda _kind: make_environment(),
        )

    def _run(self, spec: BlockSpec, _progress: Progress) -> Sequence[Record]:
        self.ran.append(spec)
        return self._fresh


def quiet() -> PlainProgress:
    return PlainProgress(lambda _line: None)


def printed(
    names: Sequence[str], request: Request, fake: FakeBench | None = None
) -> tuple[int, str]:
    console = Console(file=StringIO(), width=200)
    status = reproduce_all(names, request, console, (fake or FakeBench(make_record())).bench)
    return status, console.file.getvalue()  # type: ignore[attr-defined]


def written(folder: Path, record: Record) -> str:
    path = folder / f"{record.run_id}.json"
    path.write_text(record_to_text(record))
    return str(path)


def test_the_block_of_the_record_is_run_and_its_arm_is_judged() -> None:
    fake = FakeBench(make_run(number=1).record, candidate(1).record)
    found = reproduce(candidate(0).record, REQUEST, quiet(), fake.bench)
    assert found.outcome is Outcome.REPRODUCED
    assert found.fresh == candidate(1).record
    (spec,) = fake.ran
    assert [arm.label for arm in spec.arms] == ["none", "int8-weight-only"]
    assert spec.store == REQUEST.store


def test_other_prompts_are_said_and_nothing_is_run() -> None:
    published = candidate().record
    workload = make_workload().model_copy(update={"prompts_hash": "f" * 64})
    fake = FakeBench(cell=published.cell.model_copy(update={"workload": workload}))
    found = reproduce(published, REQUEST, quiet(), fake.bench)
    assert found.outcome is Outcome.OTHER_INPUTS
    assert "workload.prompts_hash" in found.reason
    assert fake.ran == []


def test_another_version_is_run_and_stated() -> None:
    fresh = candidate(1).record
    now = fresh.cell.techniques[0].model_copy(update={"version": 2})
    fresh = fresh.model_copy(update={"cell": fresh.cell.model_copy(update={"techniques": (now,)})})
    found = reproduce(candidate(0).record, REQUEST, quiet(), FakeBench(fresh).bench)
    assert [(d.field, d.then, d.now) for d in found.cell] == [("techniques.0.version", 1, 2)]
    assert found.outcome is Outcome.REPRODUCED


def test_a_long_run_is_asked_for_by_the_minute() -> None:
    fake = FakeBench(candidate(1).record, estimate_s=7200.0)
    with pytest.raises(LeanboardError, match="--minutes"):
        reproduce(candidate().record, REQUEST, quiet(), fake.bench)
    assert fake.ran == []
    reproduce(candidate().record, replace(REQUEST, minutes=150.0), quiet(), fake.bench)
    assert len(fake.ran) == 1


def test_a_resumed_run_without_the_record_says_to_do_it_again() -> None:
    fake = FakeBench(make_run(number=1).record, cell=candidate().record.cell)
    with pytest.raises(LeanboardError, match="same command again"):
        reproduce(candidate().record, REQUEST, quiet(), fake.bench)


@pytest.mark.parametrize(
    ("speed", "status", "verdict"), [(1.5, 0, "reproduced"), (1.1, 1, "drifted")]
)
def test_the_verdict_is_printed_with_both_values_and_is_the_exit_status(
    tmp_path: Path, speed: float, status: int, verdict: str
) -> None:
    name = written(tmp_path, candidate().record)
    report = tmp_path / "report.json"
    got, text = printed(
        [name], replace(REQUEST, report=report), FakeBench(candidate(1, speed).record)
    )
    assert got == status, text
    assert text.splitlines()[-1].startswith(f"{verdict}:")
    row = next(line for line in text.splitlines() if line.startswith("tpot_s ÷ baseline"))
    assert "0.66" in row
    assert verdict in row
    assert json.loads(report.read_text())["reproductions"][0]["outcome"] == verdict


def test_what_differs_in_the_environment_and_an_unstable_run_are_printed(tmp_path: Path) -> None:
    marked = Stability(stable=False, causes=(Cause(kind="steal", message="12% [steal]"),))
    fresh = candidate(1, environment=make_environment(cpu="Other [b]CPU[/b]")).record
    fresh = fresh.model_copy(update={"stability": marked})
    status, text = printed([written(tmp_path, candidate().record)], REQUEST, FakeBench(fresh))
    assert "cpu.name: Example CPU @ 2.0 GHz then, Other [b]CPU[/b] now" in text
    assert "the fresh run is marked unstable: 12% [steal]" in text
    assert "other hardware" in text.splitlines()[-1]
    assert status == 0


def test_a_records_text_cannot_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\x9b1A\u202eok\nreproduced: all is well"
    published = candidate().record
    block = published.block.model_copy(update={"arm": evil})
    model = published.cell.model.model_copy(update={"licence": evil})
    comparison = published.comparisons[0].model_copy(update={"metric": evil})
    lost = published.comparisons[1].model_copy(update={"value": None, "reason": evil})
    published = _resealed(
        published,
        block=block,
        cell=published.cell.model_copy(update={"model": model}),
        comparisons=(comparison, lost, *published.comparisons[2:]),
    )
    fresh = candidate(1).record
    cause = Cause(kind="steal", message=evil)
    fresh = fresh.model_copy(update={"stability": Stability(stable=False, causes=(cause,))})
    _, text = printed([written(tmp_path, published)], REQUEST, FakeBench(fresh))
    failed = make_run(techniques=["bf16"], status="failed", error=evil).record
    _, again = printed([written(tmp_path, published)], REQUEST, FakeBench(failed))
    refused = from_source(published, f"file:{evil}")
    assert printed([written(tmp_path, refused)], REQUEST)[0] == 2
    for said in (text, again, capsys.readouterr().err):
        assert "owned" in said
        assert {c for c in said if unicodedata.category(c) in ("Cc", "Cf")} == {"\n"}
        assert not any(line.startswith("reproduced: all is well") for line in said.splitlines())


def from_source(record: Record, source: str) -> Record:
    model = record.cell.model.model_copy(update={"source": source})
    return _resealed(record, cell=record.cell.model_copy(update={"model": model}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[31mb", "a[31mb"),
        ("a\x00\x7f\x80\x9f\u202e\u200b\u2028\ud800b", "ab"),
        ("one\r\ntwo\tthree", "one  two three"),
        ("é ÷ — 漢", "é ÷ — 漢"),
    ],
)
def test_control_characters_are_dropped(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_the_guard_counts_the_choosing_of_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "history", lambda _store: History())
    (spec,) = blocks(["hardware=cpu-1t", "accuracy=none"])
    estimate = Estimate.of(spec, History())
    assert estimate.choosing_s(spec) > 0
    assert module.estimate_s(spec) == estimate.block_s(spec) + estimate.choosing_s(spec)


def test_a_ratio_that_differs_on_other_hardware_is_status_0(tmp_path: Path) -> None:
    elsewhere = candidate(1, speed=3.0, environment=make_environment(cpu="Other")).record
    status, text = printed([written(tmp_path, candidate().record)], REQUEST, FakeBench(elsewhere))
    assert status == 0
    assert "other hardware: ratios differ there: " in text


def test_what_only_a_baseline_decides_by_is_said(tmp_path: Path) -> None:
    slower = make_run(number=1, speed=0.85).record
    name = written(tmp_path, make_run().record)
    status, text = printed([name], REQUEST, FakeBench(slower))
    assert status == 0, text
    assert "they move with the day, and decide only for a baseline and from 25% on" in text


def test_a_record_that_cannot_be_read_is_status_2_and_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = written(tmp_path, candidate().record)
    bad = tmp_path / "bad.json"
    bad.write_text(Path(good).read_text().replace('"rounds": 8', '"rounds": 9'))
    report = tmp_path / "report.json"
    fake = FakeBench(candidate(1).record)
    status, text = printed([str(bad), good], replace(REQUEST, report=report), fake)
    assert status == 2
    assert "reproduced:" in text
    assert "content hash does not fit" in capsys.readouterr().err
    assert len(json.loads(report.read_text())["errors"]) == 1


def test_shell_words_in_a_record_stay_text() -> None:
    evil = "$(touch owned); `reboot`"
    record = candidate().record
    model = record.cell.model.model_copy(update={"licence": evil})
    record = candidate(warnings=[evil]).record.model_copy(
        update={"cell": record.cell.model_copy(update={"model": model})}
    )
    found = reproduce(record, REQUEST, quiet(), FakeBench(candidate(1).record).bench)
    assert evil in [difference.then for difference in found.cell]
    assert found.outcome is Outcome.REPRODUCED


def test_a_record_is_found_by_file_run_or_cell(tmp_path: Path) -> None:
    store = Store(tmp_path / "records", "published")
    older, newer = candidate(0), make_run(number=1)
    for run in (older, newer):
        store.write(run.record, run.traces)
    assert find(str(store.path_of(older.record))) == older.record
    assert find(older.record.run_id, store.root) == older.record
    assert find(newer.record.cell_id, store.root) == newer.record
    with pytest.raises(RecordError, match="neither a record file nor a run or cell id of the 2"):
        find("../../no/such/record", store.root)


def test_a_sample_takes_timed_and_scored_runs_by_turns_from_the_fastest_two(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "records", "published")
    runs = [candidate(n, workload=make_workload(prompts=8 * (n + 1))) for n in range(4)]
    runs += [make_run(kind="accuracy", task=f"task-{n}", number=n) for n in range(4)]
    runs += [make_run(number=9), make_run(kind="accuracy", task="failed", status="failed")]
    for number, run in enumerate(runs):
        times = run.record.times.model_copy(update={"measure_s": float(number)})
        record = _resealed(run.record, times=times)
        store.write(record, run.traces)
    drawn = sample(2, 0, store.root)
    assert [record.cell.kind for record in drawn] == ["performance", "accuracy"]
    assert drawn == sample(2, 0, store.root)
    everything = sample(10, 0, store.root)
    assert sorted(r.times.measure_s or 0.0 for r in everything) == [0, 1, 4, 5]
    assert {sample(1, seed, store.root)[0].run_id for seed in range(20)} == {
        runs[0].record.run_id,
        runs[1].record.run_id,
    }
    with pytest.raises(ConfigError, match="no records to draw from"):
        sample(2, 0, tmp_path / "nowhere")


def _resealed(record: Record, **fields: Any) -> Record:
    from leanboard.results.identity import sealed

    return sealed({**record.model_dump(mode="json"), **fields})


def test_the_command_reads_its_words(tmp_path: Path) -> None:
    assert isinstance(CliRunner().invoke(cli, ["reproduce"]).exception, ConfigError)
    gone = CliRunner().invoke(cli, ["reproduce", "nothing", "--records", str(tmp_path)])
    assert gone.exit_code == 2
    assert "neither a record file" in gone.output
    evil = make_run(techniques=[Component(name="os.system", version=1)]).record
    line = shlex.join(["reproduce", written(tmp_path, evil)])
    refused = CliRunner().invoke(cli, shlex.split(line))
    assert refused.exit_code == 2
    assert "there is no technique 'os.system'" in refused.output
