"""What of a block is left to do."""

from __future__ import annotations

from dataclasses import dataclass

from leanboard.results.store import Store
from leanboard.runners.accuracy.tasks import PreparedTask
from leanboard.runners.block import Arm, Block
from leanboard.runners.journal import Journal


@dataclass(frozen=True, slots=True)
class Todo:
    """The part of a block that is not done yet.

    Args:
        timed: arms to time; the baseline is among them as soon as there is one.
        scored: tasks to score, by arm label.
    """

    timed: tuple[Arm, ...]
    scored: dict[str, tuple[PreparedTask, ...]]

    @classmethod
    def of(cls, block: Block, journal: Journal, store: Store) -> Todo:
        """Leave out what an interrupted run of the same command has finished."""

        def done(cell_id: str) -> bool:
            return journal.done(cell_id, lambda location: (store.root / location).is_file())

        open_arms = [
            arm
            for arm in block.arms
            if not all(done(block.performance_id(arm, w)) for w in block.workloads)
        ]
        if block.baseline in open_arms:
            open_arms = list(block.arms)  # a ratio needs both in one block
        elif open_arms:
            open_arms.insert(0, block.baseline)
        scored = {
            arm.label: tuple(t for t in block.tasks if not done(block.accuracy_id(arm, t)))
            for arm in block.arms
        }
        return cls(tuple(open_arms), scored)

    def needs(self, arm: Arm) -> bool:
        """Whether an arm must be loaded."""
        return arm in self.timed or bool(self.scored[arm.label])
