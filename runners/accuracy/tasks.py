"""What a prepared task is: items fixed before any model is loaded, the same for every arm."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from leanboard.metrics.trace import AnswerTrace, Quantity
from leanboard.results.schema import Task
from leanboard.runners.backends.base import Engine

Progress = Callable[[int, int], None]
"""Called with (done, total) while a task is scored."""


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""


@dataclass(slots=True)
class BaselinePredictions:
    """Where a text's task keeps or finds what the baseline predicts, and what came of that.

    The caller gives one of the two files; the task fills in the rest. A file is only of use for
    the model, the text and the software that it was made with: the caller's path says which.

    Args:
        keep: the baseline's predictions are written here.
        against: they are read from here.
        facts: what a comparison with them is worth, with units and provenance.
        reason: why nothing was compared, where something should have been; ``None`` otherwise.
    """

    keep: Path | None = None
    against: Path | None = None
    facts: dict[str, Quantity] = field(default_factory=dict)
    reason: str | None = None


class PreparedTask(Protocol):
    """A task with its items chosen and its prompts built."""

    @property
    def identity(self) -> Task:
        """The task as records name it."""

    @property
    def size(self) -> int:
        """Number of items that are scored."""

    def answers(
        self,
        engine: Engine,
        progress: Progress,
        baseline: BaselinePredictions | None = None,
    ) -> tuple[AnswerTrace, ...]:
        """Score every item, in their order.

        Args:
            engine: the loaded, transformed model, maybe in another process.
            progress: called with (done, total) as answers come.
            baseline: for tasks that score a text; others leave it as it is.

        Raises:
            ArmError: if an item does not fit the model's window, or the engine fails.
        """
