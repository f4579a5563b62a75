"""A meter made of readings: at both ends of the window, and in between by a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from leanboard.metrics.trace import Provenance
from leanboard.runners.energy.curve import Curve, Sample
from leanboard.runners.energy.meters import MeterError, MeterGoneError

_JOIN_S = 2.0


class Gauge(Protocol):
    """Something that can be read at any time."""

    @property
    def source(self) -> str:
        """Name of the probe."""

    @property
    def provenance(self) -> Provenance:
        """Whether it measures."""

    @property
    def covers(self) -> str:
        """What the joules are of."""

    @property
    def resolution_s(self) -> float:
        """Time between two updates of what is read."""

    @property
    def period_s(self) -> float:
        """Time between two readings."""

    def read(self) -> tuple[float, ...]:
        """Return what it shows.

        Raises:
            MeterGoneError: if it cannot be read.
        """

    def curve(self, samples: Sequence[Sample]) -> Curve:
        """Return the joules over time.

        Raises:
            MeterError: if the readings do not tell.
        """


class Sampler(Protocol):
    """Takes samples between ``start`` and ``stop``."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> Sequence[Sample]:
        """End, and return the samples in their order.

        Raises:
            MeterGoneError: if they could not be taken.
        """


Take = Callable[[], Sample]


class ThreadSampler:
    """Takes a sample every period, in a thread of its own.

    Args:
        take: takes one sample.
        period_s: time between two.
        join_s: how long ``stop`` waits for a reading that hangs.
    """

    def __init__(self, take: Take, period_s: float, join_s: float = _JOIN_S) -> None:
        self._take = take
        self._period_s = period_s
        self._join_s = join_s
        self._samples: list[Sample] = []
        self._error: MeterError | None = None
        self._ended = False
        self._asked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="energy", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> Sequence[Sample]:
        """End, and return the samples in their order.

        Raises:
            MeterGoneError: if a reading failed or hangs, or the thread died.
        """
        self._asked.set()
        self._thread.join(self._join_s)
        if self._error is not None:
            raise MeterGoneError(str(self._error)) from self._error
        if self._thread.is_alive():
            raise MeterGoneError(f"a reading hangs for more than {self._join_s:g} s")
        if not self._ended:
            raise MeterGoneError("the thread that takes readings died")
        return tuple(self._samples)

    def _run(self) -> None:
        while not self._asked.wait(self._period_s):
            try:
                self._samples.append(self._take())
            except MeterError as error:
                self._error = error
                return
        self._ended = True


class SampledMeter:
    """Counts joules by reading a gauge.

    Args:
        gauge: what is read.
        clock: seconds, monotonic, the clock of the windows.
        sampler: makes what takes the samples inside a window.
    """

    def __init__(
        self,
        gauge: Gauge,
        clock: Callable[[], float] = time.perf_counter,
        sampler: Callable[[Take, float], Sampler] = ThreadSampler,
    ) -> None:
        self.source = gauge.source
        self.provenance = gauge.provenance
        self.covers = gauge.covers
        self.resolution_s = gauge.resolution_s
        self._gauge = gauge
        self._clock = clock
        self._new_sampler = sampler
        self._sampler: Sampler | None = None
        self._first: Sample | None = None

    def start(self) -> None:
        """Take the first sample and begin.

        Raises:
            MeterGoneError: if the gauge cannot be read.
        """
        self._first = self._take()
        self._sampler = self._new_sampler(self._take, self._gauge.period_s)
        self._sampler.start()

    def stop(self) -> Curve:
        """Take the last sample and return the curve.

        Raises:
            MeterGoneError: if the gauge could not be read.
            MeterError: if the readings do not tell.
        """
        sampler, first = self._sampler, self._first
        if sampler is None or first is None:
            raise MeterError("the window was not opened")
        self._sampler = self._first = None
        between = sampler.stop()
        return self._gauge.curve((first, *between, self._take()))

    def _take(self) -> Sample:
        before_s = self._clock()
        values = self._gauge.read()
        return Sample((before_s + self._clock()) / 2, values)
