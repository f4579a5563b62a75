"""Interleaved rounds: every round runs every arm once, in seeded random order, one at a time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from leanboard.metrics.trace import EnergyWindow, RequestTrace, RoundTrace, Series
from leanboard.metrics.warmup import drifting
from leanboard.results.schema import Procedure
from leanboard.runners import wire
from leanboard.runners.arms import RunningArm, Seen
from leanboard.runners.backends.base import Request
from leanboard.runners.batch_facts import batch_facts
from leanboard.runners.block import PreparedWorkload
from leanboard.runners.energy.probes import Probe, Window
from leanboard.runners.energy.windows import decode_window, mixed_window, prefill_window
from leanboard.runners.isolate import Worker
from leanboard.runners.machine.conditions import Conditions, Watch
from leanboard.runners.machine.memory_use import MemoryWatch
from leanboard.runners.sampling import Warmup
from leanboard.runners.workloads import requests


def order(arms: Sequence[RunningArm], seed: int, key: str) -> list[RunningArm]:
    """Return the arms in the random order of one round; the same seed and key, the same order."""
    shuffled = list(arms)
    random.Random(f"{seed}/{key}").shuffle(shuffled)  # noqa: S311  not for secrets
    return shuffled


@dataclass(frozen=True, slots=True)
class Turn:
    """One arm's part of a round: the same prompts for every arm."""

    requests: Sequence[Request]
    number: int
    warmup: bool


@dataclass(frozen=True, slots=True)
class Shown:
    """What one turn showed: the worker's answer, joules, what else went on, and memory in use."""

    reply: wire.Message
    window: Window
    around: Conditions
    memory: Series


@dataclass(frozen=True, slots=True)
class Instruments:
    """What turns are taken with.

    Args:
        procedure: seed, warm-ups and time limit.
        probe: counts joules.
        watch: sees what else goes on meanwhile.
        memory: reads the memory in use meanwhile.
        loaded: told of each arm whose model is loaded.
        advance: told of each turn that is over.
    """

    procedure: Procedure
    probe: Probe
    watch: Watch
    memory: MemoryWatch
    loaded: Callable[[RunningArm], None]
    advance: Callable[[RunningArm, PreparedWorkload], None]


@dataclass(frozen=True, slots=True)
class Session:
    """One workload in one launch. What is seen lands in each arm's ``seen``.

    An arm that fails drops out, the others go on.

    Args:
        arms: the arms that are loaded.
        launch: number of the launch, counted from 0.
    """

    arms: Sequence[RunningArm]
    workload: PreparedWorkload
    launch: int
    instruments: Instruments

    def warm_up(self) -> Warmup:
        """Run warm-up rounds: a given number, or until no arm's batches drift any more."""
        procedure = self.instruments.procedure
        most = procedure.max_warmup_rounds
        first = self.launch * (procedure.warmup_rounds if most is None else most)
        done = 0
        while done < procedure.warmup_rounds or (most is not None and self._drifting()):
            if done >= max(procedure.warmup_rounds, most or 0):
                return Warmup(done, capped=True)
            self._round(first + done, warmup=True)
            done += 1
        return Warmup(done, capped=False)

    def run(self, rounds: range) -> None:
        """Run timed rounds, then prefill alone where its joules can be told."""
        for number in rounds:
            self._round(number, warmup=False)
        # One length only: a mean over lengths would weigh them otherwise than the rounds do.
        for running in self._able() if not self.workload.config.shapes else ():
            self._prefill(running, rounds.start)

    def settle(self) -> None:
        """Let every arm hand back the memory that earlier work has left."""
        for running in self._able():
            with running.awake(self.workload.config.name) as worker:
                worker.call("settle", self.instruments.procedure.timeout_s)

    def note_idle(self, idle: EnergyWindow, first_round: int) -> None:
        """Give every arm the launch's idle window: it is the machine's, with all arms loaded."""
        for running in self._able():
            self._seen(running).windows.append(replace(idle, round=first_round))

    def _able(self) -> list[RunningArm]:
        return [arm for arm in self.arms if arm.can(self.workload.config.name)]

    def _seen(self, running: RunningArm) -> Seen:
        return running.seen.setdefault(self.workload.config.name, Seen())

    def _prefill(self, running: RunningArm, number: int) -> None:
        """Measure the energy of prefill alone, on the launch's first prompts.

        It is work of its own: what the arm fails at here spoils no round.
        """
        batch = requests(self.workload.prompts, self.workload.config, number, warmup=False)
        work = f"prefill energy on {self.workload.config.name}"
        with running.awake(work) as worker:

            def generate(asked: Sequence[Request]) -> list[RequestTrace]:
                reply = self._ask(worker, asked)
                return [wire.trace_from_wire(trace) for trace in reply["traces"]]

            window = prefill_window(self.instruments.probe, generate, batch, number)
            self._seen(running).windows.append(window)
        if work in running.refused:
            self._seen(running).note(f"{work}: {running.refused[work]}")

    def _ask(self, worker: Worker, asked: Sequence[Request]) -> wire.Message:
        timeout_s = self.instruments.procedure.timeout_s
        return worker.call("generate", timeout_s, requests=[asdict(r) for r in asked])

    def _drifting(self) -> bool:
        name = self.workload.config.name
        return any(drifting(arm.batch_s(name, self.launch)) for arm in self._able())

    def _round(self, number: int, *, warmup: bool) -> None:
        config, prompts = self.workload.config, self.workload.prompts
        turn = Turn(requests(prompts, config, number, warmup=warmup), number, warmup)
        seed = self.instruments.procedure.seed
        for running in order(self.arms, seed, f"{config.name}/{warmup}/{number}"):
            if running.can(config.name):
                self._take(turn, running)
            self.instruments.advance(running, self.workload)

    def _take(self, turn: Turn, running: RunningArm) -> None:
        """Let one arm run its part; what it shows is kept, what it fails at ends it."""
        name = self.workload.config.name
        started_s = time.perf_counter()
        with running.awake(name) as worker:
            ours = [arm.worker.pid for arm in self.arms]
            mark = self.instruments.watch.start(worker.pid)
            reading = self.instruments.memory.window(worker.pid)
            with reading as readings, self.instruments.probe.window() as window:
                reply = self._ask(worker, turn.requests)
                # At once: a moment later clocks are those of idle cores.
                around = self.instruments.watch.stop(mark, ours)
            self._note(turn, running, Shown(reply, window, around, readings.series))
        elapsed_s = time.perf_counter() - started_s
        running.measured_s[name] = running.measured_s.get(name, 0.0) + elapsed_s

    def _note(self, turn: Turn, running: RunningArm, shown: Shown) -> None:
        """Keep what a turn showed; of a warm-up only its times and what was around it."""
        seen = self._seen(running)
        traces = [
            replace(
                wire.trace_from_wire(trace),
                arm=running.label,
                round=turn.number,
                warmup=turn.warmup,
                launch=self.launch,
            )
            for trace in shown.reply["traces"]
        ]
        seen.requests += traces
        if shown.reply["peak_unknown"] is not None:
            seen.note(f"peak memory is not known: {shown.reply['peak_unknown']}")
        seen.rounds.append(self._round_trace(turn, shown))
        if not turn.warmup:
            seen.windows.append(mixed_window(shown.window, traces, turn.number))
            seen.windows.append(decode_window(shown.window, traces, turn.number))
            seen.series.append(shown.memory)
            seen.facts |= self.instruments.memory.facts
            seen.facts |= batch_facts(seen.facts, shown.reply)

    def _round_trace(self, turn: Turn, shown: Shown) -> RoundTrace:
        peak = batch_facts({}, shown.reply).get("peak_memory_bytes")
        return RoundTrace(
            launch=self.launch,
            round=turn.number,
            warmup=turn.warmup,
            started_s=shown.window.reading.started_s,
            ended_s=shown.window.reading.ended_s,
            peak_memory_bytes=None if peak is None else int(peak.value),
            **asdict(shown.around),
        )
