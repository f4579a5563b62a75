"""Does the procedure say what is true? Trials in which the truth is known.

Each trial is a block of three arms on llama.cpp, measured by leanboard's own runner with its rule
that stops early: the baseline, the same again (A/A: the ratio is 1), and the baseline with every
step made longer by 5%. A trial's intervals must hold 1 for the second and leave it out for the
third.

Then replays: the recorded launches of baseline and A/A arm, shuffled in runs of neighbours and
handed to either side by the toss of a coin for each run, go through the same rule two thousand
times.

    python -m benchmarks.noise                        40 trials, about half an hour on two cores
    python -m benchmarks.noise --replay-only          replays of the trials recorded last
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.planted import Delay, DelayedLlama
from benchmarks.replay import Replayed, replay
from benchmarks.report import REPORTS, Line, write
from leanboard.metrics.comparison import compare
from leanboard.metrics.metric import Samples
from leanboard.metrics.pairs import paired_ratios
from leanboard.metrics.registry import metric
from leanboard.metrics.stopping import relative_width
from leanboard.metrics.trace import RequestObservation
from leanboard.results.schema import Procedure
from leanboard.runners.arms import RunningArm
from leanboard.runners.block import Block
from leanboard.runners.energy.meters import NullMeter
from leanboard.runners.energy.probes import Probe
from leanboard.runners.grid import ArmSpec, BlockSpec, TechniqueSpec, blocks
from leanboard.runners.lock import measuring
from leanboard.runners.machine.conditions import watch_for
from leanboard.runners.machine.memory_use import memory_watch_for
from leanboard.runners.prepare import prepare
from leanboard.runners.progress import PlainProgress
from leanboard.runners.rounds import Instruments
from leanboard.runners.timing import Timing

TARGET = 0.05
METRICS = ("tpot_s", "ttft_s")
TRIALS = REPORTS / "noise-trials.json"
_OVERRIDES = (
    "backend=llamacpp",
    "workload=short",
    "accuracy=none",
    "procedure.rounds=6",
    "procedure.rounds_per_launch=2",
    "procedure.max_rounds=36",
    f"procedure.target_width={TARGET}",
)


def specification(share: float) -> BlockSpec:
    """Return the block of a trial: the baseline, the same again, and a slower one."""
    spec = blocks(_OVERRIDES)[0]
    module = Delay.__module__
    delay = TechniqueSpec("delay", {"_target_": f"{module}.Delay", "share": share})
    arms = (ArmSpec("none", ()), ArmSpec("same", ()), ArmSpec("slower", (delay,)))
    backend = {"_target_": f"{module}.{DelayedLlama.__name__}"}
    return replace(spec, arms=arms, backend=backend)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A ratio to the baseline, the width of its interval as a share of it, and the verdict."""

    value: float | None
    width: float | None
    n: int
    verdict: str


@dataclass(frozen=True, slots=True)
class Trial:
    """What one trial showed: per metric and arm a value a round, and what was said of it."""

    seed: int
    stopped_by: str
    values: dict[str, dict[str, list[float]]]
    estimates: dict[str, dict[str, Estimate]]


def run_trial(block: Block, seed: int, logs: Path) -> Trial:
    """Run one trial in fresh processes."""
    procedure = block.spec.procedure.model_copy(update={"seed": seed})
    block = replace(block, spec=replace(block.spec, procedure=procedure))
    arms = tuple(RunningArm(arm) for arm in block.arms)
    instruments = Instruments(
        procedure=procedure,
        probe=Probe(NullMeter("joules are not asked for")),
        watch=watch_for(block.spec.device.kind),
        memory=memory_watch_for(block.spec.device.kind),
        loaded=lambda _: None,
        advance=lambda *_: None,
    )
    timing = Timing(block, arms, instruments, logs)
    timing.run(lambda _: None)
    workload = block.workloads[0]
    seen = {arm.label: arm.observation(workload.config.name) for arm in arms}
    failed = [str(arm.error) for arm in arms if arm.error is not None]
    if failed:
        raise SystemExit(f"a trial failed: {failed[0]}")
    return Trial(
        seed=seed,
        stopped_by=timing.sampling(workload).stopped_by,
        values={name: {k: _values(name, o) for k, o in seen.items()} for name in METRICS},
        estimates={
            name: {k: _plain(name, seen[k], seen["none"]) for k in ("same", "slower")}
            for name in METRICS
        },
    )


def _values(name: str, observation: RequestObservation) -> list[float]:
    drawn = metric(name).reduce(observation)
    return list(drawn.values) if isinstance(drawn, Samples) else []


def _plain(name: str, candidate: RequestObservation, baseline: RequestObservation) -> Estimate:
    column = metric(name)
    found = compare(column, paired_ratios(column, candidate, baseline))
    return Estimate(found.value, relative_width(found), found.n, found.verdict.value)


def run_trials(count: int, share: float, trials: list[Trial]) -> list[Trial]:
    """Run the trials that are left, one after the other, and keep each as soon as it is there."""
    spec = specification(share)
    progress = PlainProgress(print)
    with measuring(spec.device.kind, print), tempfile.TemporaryDirectory() as logs:
        block = prepare(spec, progress)
        for seed in range(len(trials), count):
            started_s = time.perf_counter()
            trials.append(run_trial(block, seed, Path(logs)))
            same, slower = (trials[-1].estimates["tpot_s"][k] for k in ("same", "slower"))
            print(
                f"trial {seed}: same {same.value or 0:.3f} {same.verdict}, "
                f"slower {slower.value or 0:.3f} {slower.verdict}, "
                f"{same.n} rounds, {time.perf_counter() - started_s:.0f} s",
                flush=True,
            )
            REPORTS.mkdir(parents=True, exist_ok=True)
            TRIALS.write_text(json.dumps([asdict(trial) for trial in trials]), encoding="utf-8")
    return trials


def recorded() -> list[Trial]:
    """Return the trials that were recorded last."""
    plain = json.loads(TRIALS.read_text(encoding="utf-8"))
    return [
        Trial(
            **{
                **trial,
                "estimates": {
                    name: {arm: Estimate(**estimate) for arm, estimate in arms.items()}
                    for name, arms in trial["estimates"].items()
                },
            }
        )
        for trial in plain
    ]


def lines(trials: Sequence[Trial], replays: dict[str, Replayed]) -> list[Line]:
    """Return the claims of the issue and what was found."""
    count = len(trials)
    same = [trial.estimates["tpot_s"]["same"] for trial in trials]
    slower = [trial.estimates["tpot_s"]["slower"] for trial in trials]
    hold = sum(e.verdict == "no difference shown" for e in same)
    found = sum(e.verdict == "worse" for e in slower)
    widths = [e.width for e in same if e.width is not None]
    width = statistics.median(widths)
    told = [
        Line("A/A, live: TPOT interval contains 1", f"{hold} of {count}", hold >= 0.875 * count),
        Line("A/A, live: median width of the interval", f"{width:.1%}", width <= TARGET),
        Line("5% slower: found", f"{found} of {count}", found >= 0.9 * count),
        Line("5% slower: median ratio", f"{statistics.median(e.value or 0 for e in slower):.4f}"),
        Line("rounds a trial: median", f"{statistics.median(e.n for e in same):g}"),
    ]
    ttft = sum(t.estimates["ttft_s"]["same"].verdict == "no difference shown" for t in trials)
    told.append(Line("A/A, live: TTFT interval contains 1", f"{ttft} of {count}"))
    for name, seen in replays.items():
        share = seen.hold_one / seen.trials
        told.append(
            Line(
                f"A/A, replayed: {name} interval contains 1",
                f"{share:.1%} of {seen.trials}, width {seen.median_width:.1%}",
                0.93 <= share <= 0.97 if name == "tpot_s" else None,
            )
        )
    return told


def launches_of(trials: Sequence[Trial], name: str, rounds: int) -> list[list[list[float]]]:
    """Return each trial's launches, each the ratios of its rounds: the same again / baseline."""
    ratios = [
        [a / b for a, b in zip(t.values[name]["same"], t.values[name]["none"], strict=True)]
        for t in trials
    ]
    return [[each[i : i + rounds] for i in range(0, len(each), rounds)] for each in ratios]


def main() -> int:
    """Run or read the trials, replay them, and say what held."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--trials", type=int, default=40, help="live trials")
    parser.add_argument("--replays", type=int, default=2000, help="replayed trials")
    parser.add_argument("--share", type=float, default=0.05, help="the planted slow-down")
    parser.add_argument(
        "--resume", action="store_true", help="go on after the trials recorded last"
    )
    parser.add_argument("--replay-only", action="store_true", help="use the trials recorded last")
    asked = parser.parse_args()
    trials = recorded() if asked.resume or asked.replay_only else []
    if not asked.replay_only:
        trials = run_trials(asked.trials, asked.share, trials)
    procedure: Procedure = specification(asked.share).procedure
    each = procedure.rounds_per_launch or procedure.rounds
    replays = {
        name: replay(launches_of(trials, name, each), name, procedure, asked.replays)
        for name in METRICS
    }
    found = {name: asdict(seen) for name, seen in replays.items()}
    return write("noise", lines(trials, replays), {"replays": found})


if __name__ == "__main__":
    raise SystemExit(main())
