"""The energy windows of an arm: mixed, prefill only, decode only, and idle."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from leanboard.metrics.trace import EnergyWindow, Phase, Provenance, RequestTrace
from leanboard.runners.backends.base import Request
from leanboard.runners.energy.meters import PHASES_ARE_NOT_MODELLED
from leanboard.runners.energy.probes import Probe, Reading, Window

IDLE_S = 2.0
"""Length of an idle window."""

MAX_REPETITIONS = 64
"""Most times that a batch is repeated to make a window of prefill long enough."""

_IDLE_IS_NOT_MODELLED = "codecarbon models the same power idle and busy"

Generate = Callable[[Sequence[Request]], Sequence[RequestTrace]]


def mixed_window(window: Window, traces: Sequence[RequestTrace], number: int) -> EnergyWindow:
    """Return the window of a whole batch.

    Args:
        window: the closed window in which the batch ran.
        traces: what ran in it.
        number: round number.
    """
    return _window(Phase.MIXED, number, window.reading, traces)


def decode_window(window: Window, traces: Sequence[RequestTrace], number: int) -> EnergyWindow:
    """Return the part of a batch's window from its last first token to its last token.

    Args:
        window: the closed window in which the batch ran, on the clock of the traces
            (``perf_counter`` is one clock for all processes of a machine).
        traces: the one static batch that ran in it.
        number: round number.
    """
    whole = window.reading
    first_s = max((t.token_s[0] for t in traces if t.token_s), default=whole.ended_s)
    last_s = max((t.token_s[-1] for t in traces if t.token_s), default=whole.ended_s)
    if whole.energy_j is None:
        reading = whole
    elif whole.provenance is not Provenance.MEASURED:
        reading = whole.spoilt(PHASES_ARE_NOT_MODELLED)
    elif last_s <= first_s:
        reading = whole.spoilt("no decoding: every request has its tokens at one time")
    else:
        reading = window.part(first_s, last_s)
    return _window(Phase.DECODE, number, reading, traces)


def prefill_window(
    probe: Probe,
    generate: Generate,
    requests: Sequence[Request],
    number: int,
    max_repetitions: int = MAX_REPETITIONS,
) -> EnergyWindow:
    """Run a batch for one token only, again and again, until the probe can tell its joules.

    Where phases cannot be told apart, nothing is run and the reason is on the window.

    Args:
        probe: no window of it may be open.
        generate: runs one static batch on the arm; what it raises is not caught.
        requests: the batch of a round.
        number: round number.
        max_repetitions: the window may stay too short for the probe, and then says so.
    """
    reason = _unmeasured(probe, PHASES_ARE_NOT_MODELLED)
    if reason is not None:
        return _window(Phase.PREFILL, number, probe.nothing(reason), ())
    short = [replace(request, output_tokens=1) for request in requests]
    traces: list[RequestTrace] = []
    with probe.window() as window:
        started_s = probe.clock()
        for _ in range(max_repetitions):
            traces += generate(short)
            if probe.clock() - started_s >= probe.min_window_s:
                break
    return _window(Phase.PREFILL, number, window.reading, traces)


def idle_window(
    probe: Probe,
    number: int,
    seconds: float = IDLE_S,
    sleep: Callable[[float], None] = time.sleep,
) -> EnergyWindow:
    """Measure while nothing runs: every arm is loaded and stopped.

    Where idle power is not measured, nothing is waited for and the reason is on the window.

    Args:
        probe: no window of it may be open.
        number: first round of the launch.
        seconds: length; more if the probe needs more.
        sleep: lets time pass.
    """
    reason = _unmeasured(probe, _IDLE_IS_NOT_MODELLED)
    if reason is not None:
        return _window(Phase.IDLE, number, probe.nothing(reason), ())
    with probe.window() as window:
        sleep(max(seconds, 2 * probe.min_window_s))
    return _window(Phase.IDLE, number, window.reading, ())


def _unmeasured(probe: Probe, modelled: str) -> str | None:
    """Return why a window is not worth opening; ``None`` if it is."""
    if probe.gone is not None:
        return probe.gone
    return None if probe.provenance is Provenance.MEASURED else modelled


def _window(
    phase: Phase, number: int, energy: Reading, traces: Sequence[RequestTrace]
) -> EnergyWindow:
    failed = next((trace.error for trace in traces if trace.error is not None), None)
    reason = energy.reason
    if failed is not None:
        reason = f"a request failed: {failed}"
    return EnergyWindow(
        phase=phase,
        round=number,
        started_s=energy.started_s,
        ended_s=energy.ended_s,
        energy_j=None if failed is not None else energy.energy_j,
        source=energy.source,
        provenance=energy.provenance,
        requests=len(traces),
        output_tokens=sum(trace.output_tokens for trace in traces),
        reason=reason,
    )
