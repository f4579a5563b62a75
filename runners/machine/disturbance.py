"""What else a machine did while its ceilings were measured, and how much of it is too much."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from leanboard.runners.machine.conditions import Conditions

MOST_OTHER_CORES = 0.2
"""Cores that others may use. However many are free: memory and the last cache are shared by all."""

MOST_STEAL_SHARE = 0.02
"""Share of the machine's CPU time that the hypervisor may give to others."""


class Disturbance(BaseModel):
    """What went on beside a calibration; ``None`` where the system does not say.

    Attributes:
        other_cores: cores that everything else used, on average.
        steal_share: share of all cores' time that the hypervisor gave to others.
        gpu_others: most processes of others seen on the GPU, where one was calibrated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    other_cores: float | None = Field(default=None, ge=0)
    steal_share: float | None = Field(default=None, ge=0)
    gpu_others: int | None = Field(default=None, ge=0)


def disturbance(around: Conditions, seconds: float, looks: Sequence[int | None]) -> Disturbance:
    """Return what went on beside a calibration.

    Args:
        around: from its start to its end.
        seconds: its length.
        looks: processes of others on the GPU, as seen in between.
    """
    known = [count for count in (*looks, around.gpu_others) if count is not None]
    other_cpu_s = around.other_cpu_s
    return Disturbance(
        other_cores=None if other_cpu_s is None or seconds <= 0 else other_cpu_s / seconds,
        steal_share=around.steal_share,
        gpu_others=max(known, default=None),
    )


def objection(seen: Disturbance) -> str | None:
    """Return why ceilings measured beside this would be too low; ``None`` if nothing says so."""
    if seen.other_cores is not None and seen.other_cores > MOST_OTHER_CORES:
        return f"other programs kept {seen.other_cores:.2f} cores busy"
    if seen.steal_share is not None and seen.steal_share > MOST_STEAL_SHARE:
        return f"the hypervisor gave {seen.steal_share:.1%} of this machine's time to others"
    if seen.gpu_others:
        return f"{seen.gpu_others} other process{'es' * (seen.gpu_others > 1)} used the GPU"
    return None
