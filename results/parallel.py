"""Work in several processes that are forked: they see what this one holds, and give back little."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any, TypeVar

Result = TypeVar("Result")

MOST_PROCESSES = 4
WORTH_IT = 500
"""Items from which on several processes save more time than they take to start."""

_inherited: Sequence[Callable[[], Any]] = ()


def processes_for(items: int, asked: int | None = None) -> int:
    """Return how many processes work on so many items.

    As many as were asked for; else one for few items, and for many one a core that this process
    may use, four at most.
    """
    if asked is not None:
        return max(1, asked)
    if items < WORTH_IT:
        return 1
    return min(MOST_PROCESSES, len(os.sched_getaffinity(0)))


@contextmanager
def started(
    tasks: Sequence[Callable[[], Result]], processes: int
) -> Iterator[Callable[[], list[Result]]]:
    """Begin tasks in other processes, and give the function that returns their results.

    Until the results are asked for, this process is free for other work; then it takes tasks from
    the end of the list while the others go on from its start. What a task raises is raised there.

    Args:
        tasks: functions without arguments, in the order of the results. Only results travel
            between processes, so they should be small beside the work.
        processes: how many work, this one included. With one, the tasks are done when their
            results are asked for.
    """
    # What is there stays. A collection in another process would write to all of it, and so copy it.
    gc.freeze()
    try:
        if processes < 2 or not tasks:
            yield lambda: [task() for task in tasks]
        else:
            with _forked(tasks, processes - 1) as results:
                yield results
    finally:
        gc.unfreeze()


@contextmanager
def _forked(
    tasks: Sequence[Callable[[], Result]], others: int
) -> Iterator[Callable[[], list[Result]]]:
    pool = ProcessPoolExecutor(others, get_context("fork"), _inherit, (tasks,))
    try:
        futures = [pool.submit(_run, place) for place in range(len(tasks))]
        yield partial(_results, tasks, futures)
    finally:
        pool.shutdown(cancel_futures=True)


def _results(
    tasks: Sequence[Callable[[], Result]], futures: Sequence[Future[Result]]
) -> list[Result]:
    done_here: dict[int, Result] = {}
    for place in reversed(range(len(tasks))):
        if futures[place].cancel():
            done_here[place] = tasks[place]()
    return [
        done_here[place] if place in done_here else future.result()
        for place, future in enumerate(futures)
    ]


def _inherit(tasks: Sequence[Callable[[], Any]]) -> None:
    """Keep the tasks in a forked process, where they arrive without being copied."""
    global _inherited  # noqa: PLW0603
    _inherited = tasks


def _run(place: int) -> Any:
    return _inherited[place]()
