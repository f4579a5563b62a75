"""The timed part of a block: launch after launch, until every workload has its rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from leanboard.metrics.stopping import widths
from leanboard.results.schema import Sampling
from leanboard.runners.arms import RunningArm
from leanboard.runners.block import Block, PreparedWorkload
from leanboard.runners.energy.windows import idle_window
from leanboard.runners.launches import fits_together, launched
from leanboard.runners.rounds import Instruments, Session, order
from leanboard.runners.sampling import Sampler

AtEnd = Callable[[Sequence[RunningArm]], None]


class Timing:
    """Runs the arms of a block against one another.

    Args:
        block: the block.
        arms: the arms to time, the baseline first.
        instruments: what turns are taken with.
        logs: folder for what the processes print.
    """

    def __init__(
        self, block: Block, arms: Sequence[RunningArm], instruments: Instruments, logs: Path
    ) -> None:
        self._block = block
        self._arms = arms
        self._instruments = instruments
        self._logs = logs
        self._together = fits_together(block, len(arms))
        self._samplers = {w.config.name: Sampler(block.spec.procedure) for w in block.workloads}

    def run(self, at_end: AtEnd) -> None:
        """Run all launches.

        Args:
            at_end: called once, when all rounds are there, with the arms whose processes still
                hold their models: those of the last launch, or none where arms take turns.
        """
        launch = 0
        while not self._done:
            groups = self._groups(launch)
            started_s = time.perf_counter()
            for group in groups:
                loaded = self._instruments.loaded
                with launched(self._block, group, self._logs, launch, loaded) as ready:
                    self._measure(ready, launch)
                    if group is groups[-1]:
                        self._close_launch(time.perf_counter() - started_s)
                        if self._done:
                            at_end(ready if self._together else ())
            launch += 1

    def sampling(self, workload: PreparedWorkload) -> Sampling:
        """Return how a workload was sampled."""
        return self._samplers[workload.config.name].summary(side_by_side=self._together)

    @property
    def _done(self) -> bool:
        return all(sampler.done for sampler in self._samplers.values())

    @property
    def _open(self) -> list[PreparedWorkload]:
        return [w for w in self._block.workloads if not self._samplers[w.config.name].done]

    def _groups(self, launch: int) -> list[list[RunningArm]]:
        """Return the arms that are loaded at once: all, or where they do not fit one by one."""
        if self._together:
            return [list(self._arms)]
        seed = self._block.spec.procedure.seed
        return [[arm] for arm in order(self._arms, seed, f"launch {launch}")]

    def _measure(self, ready: Sequence[RunningArm], launch: int) -> None:
        idle = idle_window(self._instruments.probe, 0)
        for workload in self._open:
            sampler = self._samplers[workload.config.name]
            session = Session(ready, workload, launch, self._instruments)
            session.note_idle(idle, sampler.next_rounds.start)
            session.settle()
            sampler.note(session.warm_up())
            session.run(sampler.next_rounds)

    def _close_launch(self, seconds: float) -> None:
        """End the launch for every workload; of what it took, each bears an equal share."""
        open_now = self._open
        for workload in open_now:
            sampler = self._samplers[workload.config.name]
            sampler.spent_s += seconds / len(open_now)
            if sampler.end_launch():
                sampler.look(self._widths(workload.config.name))

    def _widths(self, workload: str) -> dict[str, float | None]:
        """Return the widths of the ratios that may still come; none without a baseline."""
        baseline, *candidates = self._arms
        able = [arm.observation(workload) for arm in candidates if arm.can(workload)]
        watched = self._block.spec.procedure.watched if baseline.can(workload) else ()
        return widths(able, baseline.observation(workload), watched)
