"""What leanboard adds to the times that it measures: against the same backend without it.

Apart: leanboard's worker, watched, its energy counted and its memory read as in a run, beside a
process that runs the backend's own generate and holds no code of leanboard. Both are started anew
for every launch, take turns in random order, and the one that waits is stopped. This is what a user
would see; it includes how each process holds its memory.

Together: both in one process by turns, with transformers on one loaded model. This is what the
code adds.

What transformers' own generate adds to a bare greedy loop is reported beside it.

    python -m benchmarks.overhead                            both backends, a quarter of an hour
    python -m benchmarks.overhead --backend llamacpp --launches 5 --rounds 4
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module

from rich.console import Console

from benchmarks.own_process import OwnProcess, Times
from benchmarks.report import REPORTS, Line, write
from leanboard.metrics.signed_rank import ratio_centre, ratio_interval
from leanboard.metrics.trace import RequestTrace
from leanboard.runners.backends.base import Request
from leanboard.runners.backends.llama_context import FLASH_ATTENTION, ContextShape
from leanboard.runners.block import Block
from leanboard.runners.energy.probes import Probe, choose_probe
from leanboard.runners.gguf_files import gguf_file
from leanboard.runners.grid import blocks
from leanboard.runners.isolate import Worker
from leanboard.runners.launches import load_message
from leanboard.runners.lock import measuring
from leanboard.runners.machine.allocator import keep_freed_memory
from leanboard.runners.machine.conditions import watch_for
from leanboard.runners.machine.memory_use import memory_watch_for
from leanboard.runners.prepare import prepare
from leanboard.runners.progress import progress_on
from leanboard.runners.wire import trace_from_wire

BACKENDS = ("transformers", "llamacpp")
MOST, MOST_AT_THE_UPPER_END = 1.02, 1.05
_TIMEOUT_S = 300.0

Timed = Callable[[str, int], Times]


def settings_of(block: Block) -> dict[str, object]:
    """Return what a backend's own process loads: the same files, threads and attention."""
    spec, files = block.spec, block.model.files
    if spec.backend_name == "transformers":
        return {
            "folder": str(files.folder),
            "dtype": spec.profile.reference_dtype,
            "attention": spec.backend["attention"],
            "threads": spec.device.threads,
        }
    asked = block.workloads[0].config
    shape = ContextShape(asked.prompt_tokens + asked.output_tokens, sequences=1, outputs=1)
    return {
        "file": str(gguf_file(files, "f16")),
        "cells": shape.all_cells,
        "flash": FLASH_ATTENTION[spec.backend["flash_attention"]],
        "threads": spec.device.threads,
    }


def leanboard_times(trace: RequestTrace) -> Times:
    """Return TTFT and TPOT of a trace, and leanboard's own count of what it adds to a token."""
    times = trace.token_s
    return {
        "leanboard": {
            "ttft_s": times[0] - trace.sent_s,
            "tpot_s": (times[-1] - times[0]) / (len(times) - 1),
            "prompt_tokens": trace.prompt_tokens,
            "client_s": (trace.client_s or 0.0) / len(times),
        }
    }


def samples(
    block: Block, sides: Sequence[Timed], rounds: int, first: int, seed: str
) -> Iterator[Times]:
    """Give every side each prompt, in random order; the first round only warms up.

    Raises:
        RuntimeError: if the sides read a prompt as different numbers of tokens.
    """
    order = random.Random(seed)  # noqa: S311
    prompts, tokens = block.workloads[0].prompts.prompts, block.workloads[0].config.output_tokens
    for number in range(-1, rounds):
        prompt = prompts[(first + max(number, 0)) % len(prompts)].text
        seen: Times = {}
        for side in order.sample(sides, len(sides)):
            seen |= side(prompt, tokens)
        lengths = {t["prompt_tokens"] for t in seen.values() if "prompt_tokens" in t}
        if len(lengths) > 1:
            raise RuntimeError(f"the prompt has {lengths} tokens: not the same work")
        if number >= 0:
            yield seen


def apart(block: Block, launches: int, rounds: int) -> list[list[Times]]:
    """Measure in processes of their own, started anew for every launch."""
    found, probe = [], choose_probe(block.spec.device)
    for number in range(launches):
        with _processes(block, probe) as sides:
            found.append(list(samples(block, sides, rounds, number * rounds, f"{number}")))
    return found


@contextmanager
def _processes(block: Block, probe: Probe) -> Iterator[tuple[Timed, Timed]]:
    kind = block.spec.device.kind
    watch, memory = watch_for(kind), memory_watch_for(kind)
    module, log = f"benchmarks.own_{block.spec.backend_name}", REPORTS / "overhead.log"
    with Worker("leanboard", log) as worker, OwnProcess(module, settings_of(block), log) as own:
        worker.call("load", _TIMEOUT_S, **load_message(block, block.baseline))
        worker.pause()
        own.answer()
        own.pause()

        def through_leanboard(text: str, tokens: int) -> Times:
            request = asdict(Request("overhead", text, tokens))
            worker.resume()
            mark = watch.start(worker.pid)
            with memory.window(worker.pid), probe.window():
                reply = worker.call("generate", _TIMEOUT_S, requests=[request])
                watch.stop(mark)
            worker.pause()
            return leanboard_times(trace_from_wire(reply["traces"][0]))

        def by_itself(text: str, tokens: int) -> Times:
            own.resume()
            times = own.timed(text, tokens)
            own.pause()
            return times

        yield through_leanboard, by_itself


def together(block: Block, rounds: int) -> list[Times]:
    """Measure in this process, by turns."""
    own = import_module(f"benchmarks.own_{block.spec.backend_name}")
    with block.spec.build_backend().load(block.model.files, (), block.spec.device) as engine:
        if block.spec.backend_name == "transformers":
            loaded = engine._target.model, engine._tokenizer  # type: ignore[attr-defined]
            by_itself: Timed = own.Own(*loaded)
        else:
            by_itself = own.load(settings_of(block))

        def through_leanboard(text: str, tokens: int) -> Times:
            return leanboard_times(engine.generate([Request("overhead", text, tokens)])[0])

        return list(samples(block, (through_leanboard, by_itself), rounds, 0, "together"))


def line(claim: str, ratios: Sequence[float], *, bounded: bool) -> Line:
    """Return a ratio with its interval, and whether it keeps within the bounds."""
    value, interval = ratio_centre(ratios), ratio_interval(ratios)
    if interval is None:
        return Line(claim, f"{value:.4f} (too few for an interval)")
    held = value <= MOST and interval.high <= MOST_AT_THE_UPPER_END
    figure = f"{value:.4f} [{interval.low:.4f}, {interval.high:.4f}]"
    return Line(claim, figure, held if bounded else None)


def lines(backend: str, way: str, units: Sequence[Sequence[Times]]) -> Iterator[Line]:
    """Return the ratios of one way of measuring; a unit (launch or round) gives one each."""
    pairs = [("leanboard", "generate", True)]
    if "loop" in units[0][0]:
        pairs.append(("generate", "loop", False))
    for above, below, bounded in pairs:
        for name in ("tpot_s", "ttft_s"):
            # A burst of other work hits one prompt of a launch: the middle one is not moved by it.
            ratios = [statistics.median(s[above][name] / s[below][name] for s in u) for u in units]
            claim = f"{backend}, {way}: {above} / {below}, {name[:4].upper()}"
            yield line(claim, ratios, bounded=bounded)
    counted = [s["leanboard"]["client_s"] / s["leanboard"]["tpot_s"] for u in units for s in u]
    yield Line(
        f"{backend}, {way}: leanboard's own count / TPOT", f"{statistics.median(counted):.4f}"
    )


def prepared(backend: str) -> Block:
    """Return the block of the baseline alone on short requests."""
    (spec,) = blocks([f"backend={backend}", "workload=chat", "hardware=cpu", "accuracy=none"])
    with progress_on(Console(stderr=True)) as progress:
        return prepare(spec, progress)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", choices=BACKENDS, action="append", help="default: both")
    parser.add_argument("--launches", type=int, default=12, help="processes of each side")
    parser.add_argument("--rounds", type=int, default=5, help="prompts of a launch")
    parser.add_argument("--together", type=int, default=24, help="prompts in one process")
    asked = parser.parse_args(arguments)
    keep_freed_memory()
    found, data = [], {}
    for backend in asked.backend or BACKENDS:
        block = prepared(backend)
        with measuring("cpu", print):
            launched = apart(block, asked.launches, asked.rounds)
            turns = together(block, asked.together)
        found += [*lines(backend, "apart", launched)]
        found += [*lines(backend, "together", [[turn] for turn in turns])]
        data[backend] = {"apart": launched, "together": turns}
    return write("overhead", found, data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
