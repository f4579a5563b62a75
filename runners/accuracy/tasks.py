"""What a prepared task is: items fixed before any model is loaded, the same for every arm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from leanboard.metrics.trace import AnswerTrace
from leanboard.results.schema import Task
from leanboard.runners.backends.base import Engine

Progress = Callable[[int, int], None]
"""Called with (done, total) while a task is scored."""


def no_progress(_done: int, _total: int) -> None:
    """Report nothing."""


class PreparedTask(Protocol):
    """A task with its items chosen and its prompts built."""

    @property
    def identity(self) -> Task:
        """The task as records name it."""

    @property
    def size(self) -> int:
        """Number of items that are scored."""

    def answers(self, engine: Engine, progress: Progress) -> tuple[AnswerTrace, ...]:
        """Score every item, in their order.

        Raises:
            ArmError: if an item does not fit the model's window, or the engine fails.
        """
