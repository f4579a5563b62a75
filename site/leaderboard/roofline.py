"""Where a run stands under its machine's roofline: what each phase uses, and what bounds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from leanboard.leaderboard.format import DASH, quantity, share
from leanboard.metrics.roofline import LEAST_SHARE, Bound, bound_of
from leanboard.results.schema import Measurement, Record

_LEAST = f"{Fraction(LEAST_SHARE).limit_denominator(100)} of the measured time"
_WORDS = {
    Bound.COMPUTE: f"compute: at the machine's peak, the arithmetic takes {_LEAST} or more",
    Bound.MEMORY: f"memory: at the machine's peak, moving the bytes takes {_LEAST} or more",
    Bound.OVERHEAD: "overhead: at the machine's peaks, neither the arithmetic nor moving the bytes "
    f"takes as much as {_LEAST}",
}
_BESIDE = {"prefill": ("TTFT", "ttft_s"), "decode": ("TPOT", "tpot_s")}


@dataclass(frozen=True, slots=True)
class PhaseLine:
    """One phase: its shares of the machine's peaks, its floor, and what was measured beside it."""

    phase: str
    mfu: str
    mbu: str
    floor: str
    beside: str
    bound: str


def phase_lines(record: Record) -> tuple[PhaseLine, ...]:
    """Return a line for prefill and one for decode; none for a record without these metrics."""
    found = record.measurements
    return tuple(_line(phase, found) for phase in _BESIDE if f"mfu_{phase}" in found)


def _line(phase: str, found: Mapping[str, Measurement]) -> PhaseLine:
    mfu, mbu = (found.get(f"{name}_{phase}") for name in ("mfu", "mbu"))
    floor = found.get(f"{phase}_floor_s")
    title, latency = _BESIDE[phase]
    measured = found.get(latency)
    return PhaseLine(
        phase=phase,
        mfu=_used(mfu),
        mbu=_used(mbu),
        floor=DASH if floor is None else quantity(floor.value, "s"),
        beside=f"{title} {DASH if measured is None else quantity(measured.value, 's')}",
        bound=_bound(mfu, mbu),
    )


def _bound(mfu: Measurement | None, mbu: Measurement | None) -> str:
    if mfu is None or mbu is None or mfu.value is None or mbu.value is None:
        reasons = [m.reason for m in (mfu, mbu) if m is not None and m.reason is not None]
        return f"not known: {reasons[0]}" if reasons else "not known"
    return _WORDS[bound_of(mfu.value, mbu.value)]


def _used(measured: Measurement | None) -> str:
    return DASH if measured is None or measured.value is None else share(measured.value)
