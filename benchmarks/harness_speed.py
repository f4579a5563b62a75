"""Scoring: leanboard beside lm-eval's own HFLM at its best batch size.

Both score the same spans of tokens, which lm-eval's tasks and leanboard's adapter made, with one
loaded model, by turns in random order. A turn is all of a task's items, or a slice of them where
all would take too long; each gives one ratio. HFLM's batch size is the one that is fastest on a
slice of the same work, of at least eight times the largest batch.
Peak memory is that of a process for each side, which holds the same libraries.

The bound is what the token counts allow: the work of HFLM's tokens (it computes equal sequences
once), body and output head, over that of the tokens that must be fed, body, and read, head.
Attention, padding and everything else are left out of it.

    python -m benchmarks.harness_speed                          all tasks, 80 minutes on two cores
    python -m benchmarks.harness_speed --task hellaswag         one; those measured before are kept
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from lm_eval.models.huggingface import HFLM

from benchmarks.harness_spans import (
    MOST_NATS,
    SpanEngine,
    bound,
    differences,
    slice_of,
    slices_of,
    work,
)
from benchmarks.report import Line, kept, write
from leanboard.metrics.signed_rank import ratio_centre, ratio_interval
from leanboard.runners.accuracy.choices import choices
from leanboard.runners.accuracy.fetched import prepare_tasks
from leanboard.runners.accuracy.settings import AccuracyConfig
from leanboard.runners.accuracy.tasks import PreparedTask, no_progress
from leanboard.runners.backends.base import Span, SpanScore, in_order
from leanboard.runners.backends.spans import fed_tokens
from leanboard.runners.backends.torch_engine import TransformersEngine
from leanboard.runners.backends.transformers import TransformersBackend
from leanboard.runners.grid import BlockSpec, blocks
from leanboard.runners.lock import measuring
from leanboard.runners.machine.allocator import keep_freed_memory
from leanboard.runners.machine.memory import process_memory, reset_peak
from leanboard.runners.models import prepare_model

BATCHES = (1, 4, 8, 16, 32)
MOST_MEMORY, OF_THE_BOUND = 1.5, 0.85
_BATCHES_TRIED, _LONGEST, _SEED = 8, 64, 0
_LOGIT_BYTES = 2 * 2**30
"""Batch sizes whose logits would take more are not tried: HFLM holds them twice."""


@dataclass(frozen=True, slots=True)
class Case:
    """A task and what is claimed of it.

    Args:
        task: as ``accuracy.tasks`` takes it.
        least: how many times faster at least.
        slices: turns that the items are divided into; 1 where they share their examples.
        rounds: how often all items are scored.
    """

    task: Mapping[str, Mapping[str, int]]
    least: float
    slices: int
    rounds: int


CASES = {
    "hellaswag": Case({"hellaswag": {"num_fewshot": 0}}, 2.0, slices=1, rounds=6),
    "arc_challenge, 25-shot": Case({"arc_challenge": {"num_fewshot": 25}}, 4.0, slices=8, rounds=1),
    "mmlu, 5-shot": Case(
        {"mmlu_high_school_psychology": {"num_fewshot": 5}}, 4.0, slices=1, rounds=6
    ),
}


class Harness:
    """lm-eval's HFLM on a loaded model."""

    def __init__(self, engine: TransformersEngine) -> None:
        """Take the model of an engine."""
        self._model, self._tokenizer = engine._target.model, engine._tokenizer

    def scores(self, spans: Sequence[Span], batch: int) -> list[SpanScore]:
        """Score spans in batches of this size."""
        side = HFLM(
            pretrained=self._model, tokenizer=self._tokenizer, backend="causal", batch_size=batch
        )
        asked = [(("", ""), list(span.context), list(span.continuation)) for span in spans]
        found = side._loglikelihood_tokens(asked, disable_tqdm=True)
        return [SpanScore(loglikelihood, is_greedy=greedy) for loglikelihood, greedy in found]


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides on one loaded model."""

    engine: TransformersEngine
    harness: Harness

    def timed(self, spans: Sequence[Span], batch: int | None) -> tuple[float, list[SpanScore]]:
        """Return (seconds, scores) of HFLM with this batch size, or of leanboard."""
        started_s = time.perf_counter()
        if batch is None:
            scores = in_order(self.engine.loglikelihood(spans))
        else:
            scores = self.harness.scores(spans, batch)
        return time.perf_counter() - started_s, scores

    def best_batch(self, spans: Sequence[Span]) -> dict[int, float]:
        """Return the seconds of each batch size on a slice of the spans."""
        longest = max(fed_tokens(span) for span in spans)
        row_bytes = 4 * longest * self.engine.vocabulary.size
        tried = [b for b in BATCHES if b == 1 or b * row_bytes <= _LOGIT_BYTES]
        sample = slice_of(spans, _BATCHES_TRIED * max(tried))
        self.timed(sample[:2], 1)
        return {batch: self.timed(sample, batch)[0] for batch in tried}


def compare(sides: Sides, task: PreparedTask, case: Case) -> dict[str, Any]:
    """Find HFLM's best batch size, then let both sides score by turns."""
    noting = SpanEngine(sides.engine)
    task.answers(noting, no_progress)
    spans = noting.spans
    tried = sides.best_batch(spans)
    best = min(tried, key=lambda batch: tried[batch])
    order = random.Random(_SEED)  # noqa: S311
    seconds: list[dict[str, float]] = []
    ours: dict[Span, SpanScore] = {}
    theirs: dict[Span, SpanScore] = {}
    for part in slices_of(spans, case.slices) * case.rounds:
        taken: dict[str, float] = {}
        for name, batch, scored in order.sample(
            [("leanboard", None, ours), ("harness", best, theirs)], 2
        ):
            taken[name], scores = sides.timed(part, batch)
            scored.update(zip(part, scores, strict=True))
        seconds.append(taken)
    facts = sides.engine.facts()
    return {
        "batch": best,
        "sample_s": tried,
        "seconds": seconds,
        "items": task.size,
        "spans": len(spans),
        "bound": bound(spans, *work(sides.engine)),
        "tokens": {name: facts[name].value for name in ("scored_tokens", "scored_tokens_plain")},
        "notes": sides.engine.notes(),
        **differences(task, sides.engine, ours, theirs),
    }


def lines(name: str, case: Case, found: Mapping[str, Any]) -> Iterator[Line]:
    """Return the claims of a case."""
    ratios = [taken["harness"] / taken["leanboard"] for taken in found["seconds"]]
    value, interval = ratio_centre(ratios), ratio_interval(ratios)
    title = f"{name}: HFLM (batch {found['batch']}) / leanboard, seconds"
    if interval is None:
        yield Line(title, f"{value:.2f}", value >= case.least)
    else:
        figure = f"{value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
        yield Line(title, figure, interval.low >= case.least)
    share = value / found["bound"]
    figure = f"{share:.0%} of {found['bound']:.2f}"
    yield Line(f"{name}: of the bound of the token counts", figure, share >= OF_THE_BOUND)
    peaks = found["peak_bytes"]
    ratio = peaks["leanboard"] / peaks["harness"]
    sizes = " / ".join(f"{peaks[side] / 2**20:.0f}" for side in ("leanboard", "harness"))
    yield Line(f"{name}: peak memory", f"{ratio:.2f} ({sizes} MiB)", ratio <= MOST_MEMORY)
    figure = f"{found['nats']:.1e} nats"
    yield Line(f"{name}: largest difference of a score", figure, found["nats"] <= MOST_NATS)
    figure = f"{found['unlike']} of {found['items']}, {found['ties']} ties"
    yield Line(f"{name}: items scored unlike", figure, found["unlike"] == found["ties"])


def specification() -> BlockSpec:
    """Return the block whose model, machine and data are used."""
    (spec,) = blocks(["backend=transformers", "workload=chat", "hardware=cpu", "accuracy=none"])
    return spec


def task_of(spec: BlockSpec, case: Case, items: int) -> PreparedTask:
    """Prepare a task as a run does."""
    tasks = choices([case.task])
    config = AccuracyConfig("speed", items, 0, _SEED, "package", tasks, None)
    folder = prepare_model(spec.model, spec.cache, print).files.folder
    (task,) = prepare_tasks(config, spec.data, spec.cache, print, model_folder=folder, text=None)
    return task


@contextmanager
def loaded(spec: BlockSpec) -> Iterator[Sides]:
    """Load the embedded model in float32, as leanboard measures it."""
    files = prepare_model(spec.model, spec.cache, print).files
    with TransformersBackend().load(files, (), spec.device) as engine:
        yield Sides(engine, Harness(engine))


def peak_bytes(name: str, items: int, batch: int | None) -> int:
    """Return the peak of a fresh process that scores the longest spans, which take the most."""
    command = [sys.executable, "-m", "benchmarks.harness_speed", "--peak", str(batch or 0)]
    command += ["--task", name, "--items", str(items)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def _print_peak(name: str, items: int, batch: int | None) -> int:
    spec = specification()
    task = task_of(spec, CASES[name], items)
    with loaded(spec) as sides:
        noting = SpanEngine(sides.engine)
        task.answers(noting, no_progress)
        longest = sorted(noting.spans, key=lambda span: -fed_tokens(span))[:_LONGEST]
        reset_peak()
        sides.timed(longest, batch)
        memory = process_memory()
    print(0 if memory is None else memory.peak)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=CASES, action="append", help="default: all")
    parser.add_argument("--items", type=int, default=200, help="of each task")
    parser.add_argument("--rounds", type=int, help="how often all items are scored")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    keep_freed_memory()
    if asked.peak is not None:
        return _print_peak(asked.task[0], asked.items, asked.peak or None)
    spec = specification()
    # Beside single tasks stand the others as they were measured last; a whole run begins anew.
    earlier = (kept("harness_speed") or {}) if asked.task else {}
    data = {name: case for name, case in earlier.items() if case["items"] == asked.items}
    status = 0
    for name in asked.task or CASES:
        case = CASES[name]
        if asked.rounds is not None:
            case = replace(case, rounds=asked.rounds)
        task = task_of(spec, case, asked.items)
        with measuring("cpu", print), loaded(spec) as sides:
            result = compare(sides, task, case)
        result["peak_bytes"] = {
            "leanboard": peak_bytes(name, asked.items, None),
            "harness": peak_bytes(name, asked.items, result["batch"]),
        }
        # After every task: a task is long, and what was measured before it is kept.
        data[name] = {"case": asdict(case), **result}
        done = [each for each in CASES if each in data]
        found = [line for each in done for line in lines(each, CASES[each], data[each])]
        status = write("harness_speed", found, data)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
