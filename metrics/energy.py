"""Energy: joules per token and per request, gross and net, and mean power.

Every ratio is a ratio of sums over the windows, one window a sample. Its interval is Student's
on the linearised ratio, so that windows of different lengths weigh as they should; the windows of
one process are one unit. The idle power inside a net form is taken as known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from leanboard.metrics.batches import launches_of_rounds, shared
from leanboard.metrics.intervals import ratio_of_sums
from leanboard.metrics.metric import (
    Direction,
    Kind,
    Metric,
    Missing,
    Reduce,
    Role,
    Samples,
    Summary,
)
from leanboard.metrics.trace import EnergyWindow, Observation, Phase, weakest

_REQUESTS = frozenset({Kind.REQUESTS})

Count = Callable[[EnergyWindow], float]


def _output_tokens(window: EnergyWindow) -> float:
    return float(window.output_tokens)


def _requests(window: EnergyWindow) -> float:
    return float(window.requests)


def _duration_s(window: EnergyWindow) -> float:
    return window.duration_s


def windows_of(
    observation: Observation, phase: Phase, source: str | None = None
) -> tuple[EnergyWindow, ...] | Missing:
    """Return the windows of a phase that could be read, all from one source.

    Windows that could not be read are left out; if that is all of them, the reason is theirs.
    Of several sources the one of the strongest provenance is taken (the first of equals): joules
    of different probes are never added up.

    Args:
        observation: any observation; energy windows are common to all.
        phase: the phase asked for.
        source: the only source to look at; ``None`` chooses it.
    """
    asked = [w for w in observation.windows if w.phase is phase and source in {None, w.source}]
    read = [w for w in asked if w.energy_j is not None]
    if not read:
        why = next((w.reason for w in asked if w.reason is not None), None)
        return Missing(why or f"no {phase.value} energy window was recorded")
    best = source or _strongest(read)
    return tuple(w for w in read if w.source == best)


def _strongest(windows: list[EnergyWindow]) -> str:
    # Only a strictly stronger window replaces the best one, so that the first of equals stays.
    best = windows[0]
    for window in windows:
        if weakest((best.provenance, window.provenance)) is not window.provenance:
            best = window
    return best.source


def _energy_j(window: EnergyWindow) -> float:
    if window.energy_j is None:
        raise ValueError("the window has no reading")
    return window.energy_j


def _per(
    observation: Observation,
    windows: tuple[EnergyWindow, ...],
    energy: Count,
    count: Count,
    nothing: str,
) -> Samples | Missing:
    weights = tuple(count(w) for w in windows)
    if sum(weights) <= 0:
        return Missing(nothing)
    provenance = weakest(w.provenance for w in windows)
    groups = shared(launches_of_rounds(observation, [w.round for w in windows]))
    return Samples(tuple(energy(w) for w in windows), provenance, weights=weights, groups=groups)


def gross(phase: Phase, count: Count, nothing: str) -> Reduce:
    """Make the reduction to joules of a phase, each over a count of its window."""

    def reduce(observation: Observation) -> Samples | Missing:
        windows = windows_of(observation, phase)
        if isinstance(windows, Missing):
            return windows
        return _per(observation, windows, _energy_j, count, nothing)

    return reduce


def idle_power_w(observation: Observation, source: str) -> Samples | Missing:
    """Return joules and seconds of the idle windows that a source has read."""
    windows = windows_of(observation, Phase.IDLE, source)
    if isinstance(windows, Missing):
        return windows
    return _per(observation, windows, _energy_j, _duration_s, "the idle windows have no length")


def net(count: Count, nothing: str) -> Reduce:
    """Make the reduction to net joules: gross - idle power x time, idle by the same probe."""

    def reduce(observation: Observation) -> Samples | Missing:
        windows = windows_of(observation, Phase.MIXED)
        if isinstance(windows, Missing):
            return windows
        idle = idle_power_w(observation, windows[0].source)
        if isinstance(idle, Missing):
            return Missing(f"net energy needs idle power: {idle.reason}")
        power_w = ratio_of_sums(idle.values, idle.weights or ())

        def net_j(window: EnergyWindow) -> float:
            return _energy_j(window) - power_w * window.duration_s

        drawn = _per(observation, windows, net_j, count, nothing)
        if isinstance(drawn, Missing):
            return drawn
        return replace(drawn, provenance=weakest((drawn.provenance, idle.provenance)))

    return reduce


def _idle_power_w(observation: Observation) -> Samples | Missing:
    """Return joules and seconds of the idle windows, of the probe that read the timed ones."""
    timed = windows_of(observation, Phase.MIXED)
    if isinstance(timed, Missing):
        return timed
    return idle_power_w(observation, timed[0].source)


_NO_TOKENS = "no output token in the energy windows"
_NO_REQUESTS = "no request in the energy windows"

prefill = gross(Phase.PREFILL, _requests, _NO_REQUESTS)
decode = gross(Phase.DECODE, _requests, _NO_REQUESTS)
per_request = gross(Phase.MIXED, _requests, _NO_REQUESTS)


def closure_error(observation: Observation) -> Samples | Missing:
    """Return (prefill + decode - mixed) / mixed, each in joules per request, by one probe."""
    mixed = windows_of(observation, Phase.MIXED)
    if isinstance(mixed, Missing):
        return mixed
    parts: list[float] = []
    provenances = []
    for phase in (Phase.PREFILL, Phase.DECODE, Phase.MIXED):
        windows = windows_of(observation, phase, mixed[0].source)
        if isinstance(windows, Missing):
            return windows
        drawn = _per(observation, windows, _energy_j, _requests, _NO_REQUESTS)
        if isinstance(drawn, Missing):
            return drawn
        parts.append(ratio_of_sums(drawn.values, drawn.weights or ()))
        provenances.append(drawn.provenance)
    prefill_j, decode_j, mixed_j = parts
    if mixed_j == 0:
        return Missing("the mixed windows used no energy")
    return Samples(((prefill_j + decode_j - mixed_j) / mixed_j,), weakest(provenances))


def _energy(  # noqa: PLR0913
    name: str,
    label: str,
    doc: str,
    reduce: Reduce,
    *,
    unit: str = "J",
    source: str = "leanboard, METRICS: energy; ML.ENERGY",
    direction: Direction = Direction.LOWER,
    summary: Summary = Summary.RATIO_OF_SUMS,
    headline: bool = False,
    paired: bool = False,
) -> Metric:
    return Metric(
        name=name,
        unit=unit,
        direction=direction,
        role=Role.ENERGY,
        label=label,
        doc=doc,
        source=source,
        kinds=_REQUESTS,
        summary=summary,
        reduce=reduce,
        headline=headline,
        paired=paired,
    )


METRICS: tuple[Metric, ...] = (
    _energy(
        "energy_per_output_token_j",
        "Energy per output token",
        "Gross joules of the timed windows / output tokens generated in them, prefill included.",
        gross(Phase.MIXED, _output_tokens, _NO_TOKENS),
        headline=True,
        paired=True,
    ),
    _energy(
        "energy_net_per_output_token_j",
        "Net energy per output token",
        "(Gross joules - idle power x time) / output tokens; idle power is measured by the same "
        "probe in the same run, with the model loaded.",
        net(_output_tokens, _NO_TOKENS),
    ),
    _energy(
        "energy_per_request_j",
        "Energy per request",
        "Gross joules of the timed windows / requests in them.",
        per_request,
    ),
    _energy(
        "energy_net_per_request_j",
        "Net energy per request",
        "(Gross joules - idle power x time) / requests; idle power is measured by the same probe "
        "in the same run, with the model loaded.",
        net(_requests, _NO_REQUESTS),
    ),
    _energy(
        "prefill_energy_j",
        "Prefill energy per request",
        "Gross joules of the windows of prefill only / requests in them.",
        prefill,
    ),
    _energy(
        "decode_energy_j",
        "Decode energy per request",
        "Gross joules of the windows of decode only / requests in them.",
        decode,
    ),
    _energy(
        "energy_closure_error",
        "Energy closure error",
        "(prefill_energy_j + decode_energy_j - energy_per_request_j) / energy_per_request_j: how "
        "far the phases, measured apart, are from the whole.",
        closure_error,
        unit="1",
        direction=Direction.NEUTRAL,
        summary=Summary.SINGLE,
    ),
    _energy(
        "mean_power_w",
        "Mean power",
        "Gross joules / seconds of the timed windows. EfficientLLM's AEC is this, in watts: the "
        "joules stand beside it.",
        gross(Phase.MIXED, _duration_s, "the energy windows have no length"),
        unit="W",
        source="EfficientLLM (AEC), arXiv 2505.13840",
    ),
    _energy(
        "idle_power_w",
        "Idle power",
        "Joules / seconds of the idle windows: every arm of the block loaded and stopped, in the "
        "same run and by the same probe. Net energy is what is drawn beyond it.",
        _idle_power_w,
        unit="W",
        direction=Direction.NEUTRAL,
    ),
)
