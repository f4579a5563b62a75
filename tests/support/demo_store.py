"""A store of synthetic records that has a bit of everything: for tests of the site only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from record_factory import (
    Run,
    make_environment,
    make_procedure,
    make_run,
    make_workload,
    request_observation,
)

from leanboard.leaderboard.board import Board
from leanboard.leaderboard.build import BuildReport
from leanboard.metrics.trace import RequestObservation
from leanboard.results.store import Loaded, Store, read_stores

TORCH = {
    "bf16": 0.62,
    "int8-weight-only": 0.88,
    "int8-dynamic": 1.31,
    "static-cache": 1.002,
    "prompt-lookup": 1.74,
}
LLAMA = {"gguf-q8_0": 1.42, "gguf-q4_1": 1.9}
QUALITY = {"int8-dynamic": 0.56, "gguf-q4_1": 0.6, "bf16": 0.6}
ODD = ("gguf-q4_1", "chat")
"""The arm and the workload whose processes differ: by far the fastest, if it were stable."""
NO_JOULES = "the counter went backwards"
PROCEDURE = make_procedure(rounds_per_launch=1)
REQUANTISED = ("int8-weight-only", "int8-dynamic", "gguf-q8_0")


@dataclass(frozen=True)
class Demo:
    """The demo records, their board, and the site built from them."""

    loaded: Loaded
    board: Board
    report: BuildReport

    @property
    def folder(self) -> Path:
        return self.report.folder

    def address(self, page: str = "index.html", state: str = "") -> str:
        return (self.folder / page).as_uri() + (f"#{state}" if state else "")


def write_demo(root: Path) -> Loaded:
    """Write two blocks, two workloads, scores, a failure and a refusal; read them back."""
    published, local = Store(root / "published", "published"), Store(root / "local", "local")
    for run in _runs():
        published.write(run.record, run.traces)
    other = make_environment(cpu="Another CPU", cores=8)
    for run in _block("transformers", {"bf16": 1.4}, "chat", environment=other):
        local.write(run.record, run.traces)
    return read_stores([(published.root, "published"), (local.root, "local")])


def _runs() -> Iterator[Run]:
    for workload in ("chat", "long-prompt"):
        yield from _block("transformers", TORCH, workload)
        yield from _block("llamacpp", LLAMA, workload, reference=3.9)
    for backend, arms in (("transformers", TORCH), ("llamacpp", LLAMA)):
        for arm in ("none", *arms):
            yield from _scores(backend, arm)
    refusal = "bitsandbytes refused: 'nf4 needs a CUDA device'"
    for arm, status, error in (
        ("nf4", "unsupported", refusal),
        ("eager-all", "failed", "needs 31 GiB, there are 16"),
    ):
        yield make_run(techniques=[arm], status=status, error=error, procedure=PROCEDURE)


def _block(
    backend: str,
    arms: dict[str, float],
    workload: str,
    *,
    reference: float = 1.0,
    **options: object,
) -> Iterator[Run]:
    common = {
        "backend": backend,
        "workload": workload,
        "arms": ("none", *arms),
        "procedure": PROCEDURE,
        **options,
    }
    baseline = make_run(observation=_observation("none", workload, reference, 0), **common)
    yield baseline
    for number, (arm, speed) in enumerate(arms.items(), start=1):
        yield make_run(
            techniques=[arm],
            observation=_observation(arm, workload, reference * speed, number),
            baseline=baseline,
            number=number,
            warnings=_warnings(arm),
            **common,
        )


def _observation(arm: str, workload: str, speed: float, seed: int) -> RequestObservation:
    """Return rounds that each have a process; joules of one arm could not be read."""
    return request_observation(
        arm=arm,
        workload=make_workload(workload),
        speed=speed,
        seed=seed,
        rounds_per_launch=PROCEDURE.rounds_per_launch,
        wobble=(1.0, 0.7) if (arm, workload) == ODD else (1.0,),
        no_energy=NO_JOULES if arm == "static-cache" else None,
    )


def _scores(backend: str, arm: str) -> Iterator[Run]:
    techniques = [] if arm == "none" else [arm]
    for task in ("arc_easy", "hellaswag", "squad-passages"):
        yield make_run(
            kind="accuracy",
            techniques=techniques,
            backend=backend,
            task=task,
            accuracy=QUALITY.get(arm, 0.58),
            number=len(arm),
            warnings=_warnings(arm),
        )


def _warnings(arm: str) -> tuple[str, ...]:
    return ("requantised: the weights were q4_1 before",) if arm in REQUANTISED else ()
