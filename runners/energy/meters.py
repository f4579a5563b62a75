"""Meters: what counts joules, and whether it measures or models them."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from importlib import util
from typing import Protocol

from leanboard.metrics.trace import Provenance
from leanboard.results.errors import LeanboardError

CODECARBON = "codecarbon"
NONE = "none"
PHASES_ARE_NOT_MODELLED = "modelled joules: phases are not separated"
_JOULES_PER_KWH = 3.6e6
# codecarbon wants a country for its emissions; joules do not depend on it.
_COUNTRY = "USA"
# What codecarbon's own code was seen to raise when the hardware is not what it expects.
_CODECARBON_ERRORS = (AttributeError, KeyError, OSError, RuntimeError, TypeError, ValueError)


class MeterError(LeanboardError):
    """Joules that cannot be had; the message is the reason that stands on the window."""


class MeterGoneError(MeterError):
    """The instrument itself has failed: there will be no joules after this either."""


class Drawn(Protocol):
    """What a meter counted between ``start`` and ``stop``."""

    def total_j(self, started_s: float, ended_s: float) -> float:
        """Return the joules of the whole window.

        Raises:
            MeterError: if the window is not valid.
        """

    def between_j(self, started_s: float, ended_s: float) -> float:
        """Return the joules of a part of the window.

        Raises:
            MeterError: if the part is not valid, or the meter cannot tell.
        """


class Meter(Protocol):
    """Something that counts joules between ``start`` and ``stop``.

    ``covers`` names what the joules are of. ``resolution_s`` is the time between two updates of
    what is read, 0 where that has no meaning.
    """

    source: str
    provenance: Provenance
    covers: str
    resolution_s: float

    def start(self) -> None:
        """Begin to count.

        Raises:
            MeterError: if it cannot.
        """

    def stop(self) -> Drawn:
        """End, and return what was drawn.

        Raises:
            MeterError: if that is not known.
        """


@dataclass(frozen=True, slots=True)
class Lump:
    """Joules that are known of the whole window only."""

    energy_j: float

    def total_j(self, started_s: float, ended_s: float) -> float:
        """Return them all."""
        del started_s, ended_s
        return self.energy_j

    def between_j(self, started_s: float, ended_s: float) -> float:
        """Refuse.

        Raises:
            MeterError: always.
        """
        del started_s, ended_s
        raise MeterError(PHASES_ARE_NOT_MODELLED)


class NullMeter:
    """Counts nothing, and says why."""

    source = NONE
    provenance = Provenance.MEASURED
    covers = "nothing"
    resolution_s = 0.0

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def start(self) -> None:
        """Refuse.

        Raises:
            MeterGoneError: always.
        """
        raise MeterGoneError(self.reason)

    def stop(self) -> Drawn:
        """Refuse.

        Raises:
            MeterGoneError: always.
        """
        raise MeterGoneError(self.reason)


class Emissions(Protocol):
    """The part of codecarbon's answer that is used."""

    energy_consumed: float
    """Energy of the task in kWh, CPU and memory together."""


class Tracker(Protocol):
    """The part of codecarbon's tracker that is used."""

    def start_task(self) -> None:
        """Begin a task."""

    def stop_task(self) -> Emissions | None:
        """End the task."""


class CodecarbonMeter:
    """codecarbon's model of CPU and memory power: constants times time, never a measurement.

    Args:
        tracker: an ``OfflineEmissionsTracker``; its first task takes seconds, later ones less than
            two milliseconds.
    """

    source = CODECARBON
    provenance = Provenance.MODELLED
    covers = "processor and memory, by constants"
    resolution_s = 0.0

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def start(self) -> None:
        """Start a task.

        Raises:
            MeterGoneError: if codecarbon fails.
        """
        try:
            self._tracker.start_task()
        except _CODECARBON_ERRORS as error:
            raise MeterGoneError(f"codecarbon could not start: {error}") from error

    def stop(self) -> Drawn:
        """End the task and return its joules.

        Raises:
            MeterGoneError: if codecarbon fails.
            MeterError: if it gives no joules.
        """
        try:
            emissions = self._tracker.stop_task()
        except _CODECARBON_ERRORS as error:
            raise MeterGoneError(f"codecarbon could not stop: {error}") from error
        energy_j = math.nan
        if emissions is not None:
            energy_j = float(emissions.energy_consumed) * _JOULES_PER_KWH
        if not (math.isfinite(energy_j) and energy_j > 0):
            raise MeterError("codecarbon gave no energy for this window")
        return Lump(energy_j)


def find_codecarbon() -> None:
    """Look whether codecarbon is installed.

    Raises:
        MeterError: if it is not.
    """
    if util.find_spec("codecarbon") is None:
        raise MeterError("codecarbon is not installed: pip install 'leanboard[energy]'")


def open_codecarbon() -> Meter:
    """Return codecarbon's model, started.

    Raises:
        MeterError: if it is not installed or does not start.
    """
    find_codecarbon()
    try:
        meter = CodecarbonMeter(_tracker())
    except (ImportError, *_CODECARBON_ERRORS) as error:
        raise MeterError(f"codecarbon could not start: {error}") from error
    # codecarbon looks at the hardware in its first task, and hides errors until the second.
    with suppress(MeterError):
        meter.start()
        meter.stop()
    meter.start()
    meter.stop()
    return meter


def _tracker() -> Tracker:
    """Return a tracker that is quiet, writes no file and asks no host for anything."""
    import logging

    from codecarbon import OfflineEmissionsTracker

    # Its own log_level counts only after the first lines.
    logging.getLogger("codecarbon").setLevel(logging.CRITICAL)
    tracker: Tracker = OfflineEmissionsTracker(
        project_name="leanboard",
        country_iso_code=_COUNTRY,
        output_methods=[],
        allow_multiple_runs=True,
        log_level="critical",
        tracking_mode="machine",
        measure_power_secs=3600,
    )
    return tracker
