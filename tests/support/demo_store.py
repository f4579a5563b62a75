"""A store of synthetic records that has a bit of everything: for tests of the site only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from record_factory import (
    Run,
    answer_observation,
    make_environment,
    make_procedure,
    make_run,
    make_task,
    make_workload,
    request_observation,
)

from leanboard.leaderboard.board import Board
from leanboard.leaderboard.build import BuildReport
from leanboard.metrics.trace import AnswerObservation, Provenance, Quantity, RequestObservation
from leanboard.results.store import Loaded, Store, read_stores

TORCH = {
    "bf16": 0.62,
    "int8-weight-only": 0.88,
    "int8-dynamic": 1.31,
    "static-cache": 1.002,
    "prompt-lookup": 1.74,
}
LLAMA = {"gguf-q8_0": 1.42, "gguf-q4_1": 1.9}
QUALITY = {"int8-dynamic": 0.56, "gguf-q4_1": 0.5, "bf16": 0.6, "prompt-lookup": 0.575}
"""Accuracies other than the baseline's 0.58: gates that pass, fail and are undecided."""
ITEMS = 400
TASKS = ("arc_easy", "gsm8k", "hellaswag", "squad-passages")
ODD = ("gguf-q4_1", "chat")
"""The arm and the workload whose processes differ, and which others disturbed: the fastest."""
NO_JOULES = "the counter went backwards"
NEVER_TIMED = "fp16"
"""An arm that was only scored: on all tasks, and on one more without success."""
NO_ANSWER = "no answer within 300 s"
PROCEDURE = make_procedure(rounds_per_launch=1)
KL_FACTS = {
    "kl_kept_tokens": Quantity(512, "tok", Provenance.COUNTED),
    "kl_whole_tokens": Quantity(256, "tok", Provenance.COUNTED),
    "kl_error": Quantity(0.0004, "nat", Provenance.MEASURED),
}
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

    @property
    def kinds(self) -> list[str]:
        """Every page; of those of runs and cells one of each kind stands for the others."""
        pages = [name for name in self.report.pages if not name.startswith("runs/")]
        found: dict[tuple[object, ...], str] = {}
        for entry in self.loaded.entries:
            record = entry.record
            cell = f"runs/{record.machine_id}/{record.cell_id}"
            kind = record.cell.kind, record.status, record.block.baseline, record.stability is None
            found.setdefault(kind, f"{cell}/{record.run_id}.html")
            found.setdefault((record.cell.kind,), f"{cell}/index.html")
        return [*pages, *found.values()]


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
    yield from _scores("transformers", (*TORCH, NEVER_TIMED))
    yield from _scores("llamacpp", tuple(LLAMA))
    yield make_run(
        kind="accuracy",
        techniques=[NEVER_TIMED],
        task=make_task("ifeval", limit=ITEMS),
        status="failed",
        error=NO_ANSWER,
    )
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
    odd = (arm, workload) == ODD
    seen = request_observation(
        arm=arm,
        workload=make_workload(workload),
        speed=speed,
        seed=seed,
        rounds_per_launch=PROCEDURE.rounds_per_launch,
        wobble=(1.0, 0.7) if odd else (1.0,),
        no_energy=NO_JOULES if arm == "static-cache" else None,
    )
    if not odd:
        return seen
    return replace(
        seen, rounds=tuple(replace(around, minor_faults=100_000) for around in seen.rounds)
    )


def _scores(backend: str, arms: Sequence[str]) -> Iterator[Run]:
    """Yield every arm's run on every task, the baseline first, with its answers compared."""
    for task in TASKS:
        baseline = None
        for arm in ("none", *arms):
            run = make_run(
                kind="accuracy",
                techniques=[] if arm == "none" else [arm],
                backend=backend,
                task=make_task(task, limit=ITEMS),
                observation=scored(task, arm),
                baseline=baseline,
                number=len(arm),
                warnings=(*_warnings(arm), *_notes(arm)),
            )
            baseline = baseline or run
            yield run


def scored(task: str, arm: str) -> AnswerObservation:
    """Return an arm's answers; those of the baseline are also right in an arm that scores more."""
    accuracy = QUALITY.get(arm, 0.58)
    seen = answer_observation(task=task, items=ITEMS, accuracy=accuracy)
    facts = {
        "answers_cached": Quantity(12, "1", Provenance.COUNTED),
        "answers_scored": Quantity(ITEMS - 12, "1", Provenance.COUNTED),
        "scored_tokens": Quantity(21_000, "tok", Provenance.COUNTED),
        "scored_tokens_plain": Quantity(64_000, "tok", Provenance.COUNTED),
        "scoring_peak_memory_bytes": Quantity(900 * 2**20, "B", Provenance.MEASURED),
    }
    if task == "squad-passages" and arm != "none":
        return _beside_the_baseline(replace(seen, facts={**facts, **KL_FACTS}), arm)
    if task == "gsm8k":
        return _generated(replace(seen, facts=facts), arm)
    return replace(seen, facts=facts)


def _beside_the_baseline(seen: AnswerObservation, arm: str) -> AnswerObservation:
    """Return text windows with predictions beside the baseline's; exact arms have the same."""
    lost = abs(QUALITY.get(arm, 0.58) - 0.58)
    answers = tuple(
        replace(
            answer,
            kl_nats=lost * answer.tokens * (1 + number % 5 / 10),
            agreeing=answer.tokens - round(lost * answer.tokens) - (number % 3 if lost else 0),
            kl_rest=0.01 * answer.tokens,
        )
        for number, answer in enumerate(seen.answers)
    )
    return replace(seen, answers=answers)


def _generated(seen: AnswerObservation, arm: str) -> AnswerObservation:
    """Return answers that were generated; some of a lossy arm are shorter than the baseline's."""
    lossy = arm in QUALITY
    answers = tuple(
        replace(
            answer,
            scores={"exact_match,flexible-extract": answer.scores["acc"]},
            loglikelihoods=(),
            output_ids=tuple(range(40 if lossy and number % 4 == 0 else 48 + number % 2)),
        )
        for number, answer in enumerate(seen.answers)
    )
    return replace(seen, answers=answers)


def _warnings(arm: str) -> tuple[str, ...]:
    return ("requantised: the weights were q4_1 before",) if arm in REQUANTISED else ()


def _notes(arm: str) -> tuple[str, ...]:
    return ("scored whole: its cache cannot be shared",) if arm == "static-cache" else ()
