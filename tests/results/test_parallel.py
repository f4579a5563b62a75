"""Work in several processes: the same results in the same order, and errors as if done here."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from leanboard.results.errors import LeanboardError
from leanboard.results.parallel import WORTH_IT, processes_for, started


def fails() -> int:
    raise LeanboardError("the third of them")


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_results_come_in_the_order_of_the_tasks(processes: int) -> None:
    with started([partial(pow, 2, n) for n in range(40)], processes) as results:
        assert results() == [2**n for n in range(40)]


@pytest.mark.parametrize("processes", [1, 3])
def test_an_error_of_a_task_is_raised_where_results_are_asked_for(processes: int) -> None:
    tasks = [partial(pow, 2, 1), partial(pow, 2, 2), fails, *[partial(pow, 2, 3)] * 20]
    with started(tasks, processes) as results, pytest.raises(LeanboardError, match="third"):
        results()


def test_tasks_see_what_cannot_be_sent_to_another_process() -> None:
    bound = [lambda n=n: (n, os.getpid()) for n in range(8)]
    with started(bound, 2) as results:
        # While this process is busy, another one works.
        time.sleep(0.2)
        found = results()
    assert [number for number, _ in found] == list(range(8))
    assert os.getpid() not in {pid for _, pid in found[:2]}


def test_this_process_takes_part() -> None:
    def waited() -> int:
        time.sleep(0.05)
        return os.getpid()

    with started([waited] * 8, 2) as results:
        assert os.getpid() in results()


def test_an_error_in_between_ends_the_work(tmp_path: Path) -> None:
    def noted(number: int) -> None:
        time.sleep(0.02)
        (tmp_path / str(number)).touch()

    tasks = [partial(noted, number) for number in range(200)]
    with pytest.raises(LeanboardError), started(tasks, 2):
        raise LeanboardError("something else failed")
    assert len(list(tmp_path.iterdir())) < 100


def test_few_items_are_worth_one_process_and_what_is_asked_for_counts() -> None:
    assert processes_for(WORTH_IT - 1) == 1
    assert 1 <= processes_for(WORTH_IT) <= 4
    assert processes_for(1, asked=3) == 3
