"""How many rounds a workload gets: a fixed number, or until its intervals are narrow enough."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from leanboard.metrics.stopping import Widths, satisfied
from leanboard.results.schema import Procedure, Sampling


@dataclass(frozen=True, slots=True)
class Warmup:
    """How a warm-up went.

    Args:
        rounds: rounds that it took.
        capped: whether it ended at the most rounds with a drift still seen.
    """

    rounds: int
    capped: bool


@dataclass(slots=True)
class Sampler:
    """The rounds of one workload, launch by launch.

    Args:
        procedure: how many rounds a launch has, when to look, and when to stop.
        rounds: timed rounds so far.
        warmups: warm-up rounds of each launch so far; where arms take turns, the most of any arm.
        capped: whether a warm-up ended at the most rounds with a drift still seen.
        spent_s: seconds that the workload's launches took so far.
    """

    procedure: Procedure
    rounds: int = 0
    warmups: list[int] = field(default_factory=list)
    capped: bool = False
    spent_s: float = 0.0
    looks: list[int] = field(default_factory=list)
    widths: list[Widths] = field(default_factory=list)
    stopped_by: Literal["fixed", "width", "rounds", "time", "nothing"] | None = None
    _warmups_now: int = 0

    @property
    def done(self) -> bool:
        """Whether no further launch is wanted."""
        return self.stopped_by is not None

    @property
    def next_rounds(self) -> range:
        """The round numbers of the next launch; a launch never goes past a look."""
        every = self.procedure.rounds
        left = every - self.rounds % every
        each = self.procedure.rounds_per_launch or left
        return range(self.rounds, self.rounds + min(each, left))

    def note(self, warmup: Warmup) -> None:
        """Note how one group of arms was warmed up in the present launch."""
        self._warmups_now = max(self._warmups_now, warmup.rounds)
        self.capped = self.capped or warmup.capped

    def end_launch(self) -> bool:
        """Count the launch's rounds; return whether its end is a checkpoint with a look."""
        self.rounds = self.next_rounds.stop
        self.warmups.append(self._warmups_now)
        self._warmups_now = 0
        at_checkpoint = self.rounds % self.procedure.rounds == 0
        if at_checkpoint and self.procedure.max_rounds is None:
            self.stopped_by = "fixed"
        return at_checkpoint and not self.done

    def look(self, widths: Widths) -> None:
        """Decide at a checkpoint whether to go on; without any watched ratio there is no reason."""
        procedure = self.procedure
        self.looks.append(self.rounds)
        self.widths.append(widths)
        if not widths:
            self.stopped_by = "nothing"
        elif procedure.target_width is not None and satisfied(self.widths, procedure.target_width):
            self.stopped_by = "width"
        elif procedure.max_rounds is not None and self.rounds >= procedure.max_rounds:
            self.stopped_by = "rounds"
        elif procedure.time_budget_s is not None and self.spent_s >= procedure.time_budget_s:
            self.stopped_by = "time"

    def summary(self, *, side_by_side: bool) -> Sampling:
        """Return what a record says of it."""
        fixed = self.procedure.max_warmup_rounds is None
        return Sampling(
            launches=len(self.warmups),
            rounds=self.rounds,
            warmup_rounds=tuple(self.warmups),
            warmup_ended="fixed" if fixed else "cap" if self.capped else "seen",
            stopped_by=self.stopped_by or "fixed",
            looks=tuple(self.looks),
            widths=dict(self.widths[-1]) if self.widths else {},
            side_by_side=side_by_side,
        )
