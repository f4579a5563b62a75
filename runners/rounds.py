"""Interleaved rounds: every round runs every arm once, in seeded random order, one at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from leanboard.metrics.trace import EnergyWindow, Phase, Provenance, Quantity, RequestTrace
from leanboard.results.schema import Procedure
from leanboard.runners import wire
from leanboard.runners.arms import RunningArm, Seen
from leanboard.runners.backends.base import Request
from leanboard.runners.block import PreparedWorkload
from leanboard.runners.probes import Probe, Reading
from leanboard.runners.workloads import requests

_MEMORY_FACTS = {
    "peak_memory_bytes": "peak",
    "anonymous_memory_bytes": "anonymous",
    "file_memory_bytes": "file_backed",
}
_GPU_FACTS = ("peak_allocated_bytes", "peak_reserved_bytes", "process_memory_bytes")

Facts = Mapping[str, Quantity]
Advance = Callable[[RunningArm, PreparedWorkload], None]


def order(arms: Sequence[RunningArm], seed: int, key: str) -> list[RunningArm]:
    """Return the arms in the random order of one round; the same seed and key, the same order."""
    shuffled = list(arms)
    random.Random(f"{seed}/{key}").shuffle(shuffled)  # noqa: S311  not for secrets
    return shuffled


@dataclass(frozen=True, slots=True)
class Turn:
    """One arm's part of a round: the same prompts for every arm."""

    workload: PreparedWorkload
    requests: Sequence[Request]
    number: int
    warmup: bool


def run_rounds(
    arms: Sequence[RunningArm],
    workloads: Sequence[PreparedWorkload],
    probe: Probe,
    procedure: Procedure,
    advance: Advance,
) -> None:
    """Run the warm-ups and rounds of each workload on every arm that can do it.

    One workload after the other: what an engine keeps for a shape of work (buffers, a context)
    stays warm from round to round, and the peak of memory is the workload's own. What is seen
    lands in each arm's ``seen``; an arm that fails drops out, the others go on.
    """
    spans = [(True, number) for number in range(procedure.warmup_rounds)]
    spans += [(False, number) for number in range(procedure.rounds)]
    for workload in workloads:
        for warmup, number in spans:
            batch = requests(workload.prompts, workload.config, number, warmup=warmup)
            turn = Turn(workload, batch, number, warmup)
            key = f"{workload.config.name}/{warmup}/{number}"
            for running in order(arms, procedure.seed, key):
                if running.can(workload.config.name):
                    _take(turn, running, probe, procedure.timeout_s)
                advance(running, workload)


def _take(turn: Turn, running: RunningArm, probe: Probe, timeout_s: float) -> None:
    """Let one arm run its part; what it shows is kept, what it fails at ends it."""
    name = turn.workload.config.name
    seen = running.seen.setdefault(name, Seen())
    started_s = time.perf_counter()
    with running.awake(name) as worker:
        with probe.window() as window:
            plain = [asdict(request) for request in turn.requests]
            reply = worker.call("generate", timeout_s, requests=plain)
        traces = [
            replace(
                wire.trace_from_wire(trace),
                arm=running.label,
                round=turn.number,
                warmup=turn.warmup,
            )
            for trace in reply["traces"]
        ]
        seen.requests += traces
        if not turn.warmup:
            seen.windows.append(_energy_window(turn, window.reading, traces))
            _note_facts(seen, reply)
    elapsed_s = time.perf_counter() - started_s
    running.measured_s[name] = running.measured_s.get(name, 0.0) + elapsed_s


def _energy_window(turn: Turn, energy: Reading, traces: Sequence[RequestTrace]) -> EnergyWindow:
    return EnergyWindow(
        phase=Phase.MIXED,
        round=turn.number,
        started_s=energy.started_s,
        ended_s=energy.ended_s,
        energy_j=energy.energy_j,
        source=energy.source,
        provenance=energy.provenance,
        requests=len(traces),
        output_tokens=sum(trace.output_tokens for trace in traces),
        reason=energy.reason,
    )


def _note_facts(seen: Seen, reply: wire.Message) -> None:
    """Keep the facts of the latest batch, and the highest memory of all batches.

    Where the engine tells of a GPU, the host's resident set is not what the arm needs.
    """
    facts = wire.facts_from_wire(reply["facts"])
    if "peak_allocated_bytes" in facts:
        facts |= _gpu_peaks(seen.facts, facts)
    else:
        facts |= _resident_peak(seen.facts, reply)
    seen.facts |= facts


def _gpu_peaks(before: Facts, latest: Facts) -> dict[str, Quantity]:
    """Return the highest of each GPU fact; the peak is the process's use, if that is known."""
    peaks = {}
    for name in _GPU_FACTS:
        found = [facts[name] for facts in (before, latest) if name in facts]
        if found:
            peaks[name] = max(found, key=lambda quantity: quantity.value)
    if "process_memory_bytes" in peaks:
        peaks["peak_memory_bytes"] = peaks["process_memory_bytes"]
    return peaks


def _resident_peak(before: Facts, reply: wire.Message) -> dict[str, Quantity]:
    """Return the memory of the reply if it is higher than before, else nothing."""
    reading = reply["memory"]
    if reading is None or reply["peak_unknown"] is not None:
        return {}
    highest = before.get("peak_memory_bytes")
    if highest is not None and reading["peak"] <= highest.value:
        return {}
    return {
        fact: Quantity(reading[name], "B", Provenance.MEASURED)
        for fact, name in _MEMORY_FACTS.items()
    }
