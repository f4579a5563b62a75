"""Telling a person how far a run is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_INTERVAL_S = 15.0


class Progress(Protocol):
    """Receives what a run does, in units of estimated seconds."""

    def say(self, text: str) -> None:
        """Print a line that stays."""

    def add(self, estimate_s: float) -> None:
        """Announce work that will come; less than 0 takes back what will not."""

    def advance(self, estimate_s: float, doing: str) -> None:
        """Note that work estimated at so many seconds is done, and what it was."""


class Pace:
    """Time left, from the share of the estimated work done and the time that it took.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started_s = clock()
        self.total_s = 0.0
        self.done_s = 0.0

    def left_s(self) -> float:
        """Estimated seconds left; the more is done, the more the real pace counts."""
        elapsed_s = self._clock() - self._started_s
        rest_s = max(0.0, self.total_s - self.done_s)
        if self.done_s <= 0:
            return rest_s
        share = min(1.0, self.done_s / self.total_s)
        pace = share * (elapsed_s / self.done_s) + (1 - share)
        return rest_s * pace


def clock_text(seconds: float) -> str:
    """Return minutes and seconds as a person reads them."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class PlainProgress:
    """Lines for a log: what is being done, at most one in some seconds.

    Args:
        write: receives each line.
    """

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write = write
        self._clock = clock
        self._pace = Pace(clock)
        self._last_s = clock()

    def say(self, text: str) -> None:
        """Print a line."""
        self._write(text)

    def add(self, estimate_s: float) -> None:
        """Announce work that will come."""
        self._pace.total_s += estimate_s

    def advance(self, estimate_s: float, doing: str) -> None:
        """Note work done; print a line if the last one is some seconds old."""
        self._pace.done_s += estimate_s
        if self._clock() - self._last_s >= _PLAIN_INTERVAL_S:
            self._last_s = self._clock()
            self._write(f"  {doing}; about {clock_text(self._pace.left_s())} left")


class RichProgress:
    """A live bar with what is being done and the time left."""

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._pace = Pace()
        self.bar = Bar(
            TextColumn("[bold]{task.fields[doing]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[left]} left"),
            console=console,
            transient=True,
        )
        self._task = self.bar.add_task("run", total=None, doing="preparing", left="?")

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self.bar.console.print(text, markup=False, highlight=False)

    def add(self, estimate_s: float) -> None:
        """Announce work that will come."""
        self._pace.total_s += estimate_s
        self.bar.update(self._task, total=self._pace.total_s)

    def advance(self, estimate_s: float, doing: str) -> None:
        """Move the bar."""
        self._pace.done_s += estimate_s
        left = clock_text(self._pace.left_s())
        self.bar.update(self._task, completed=self._pace.done_s, doing=doing, left=left)


@contextmanager
def progress_on(console: Console) -> Iterator[Progress]:
    """Show progress in the way that suits where the output goes."""
    if console.is_terminal:
        live = RichProgress(console)
        with live.bar:
            yield live
    else:
        yield PlainProgress(
            lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True)
        )
