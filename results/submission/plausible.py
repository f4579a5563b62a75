"""Whether the numbers of a record can be: against the machine's limits, and among themselves.

A number may follow from its raw samples and still be impossible. What is looked at here follows
from what the words mean (a first token comes before the last) or from what the record says of its
machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from leanboard.metrics.energy import windows_of
from leanboard.metrics.metric import Missing
from leanboard.metrics.trace import EnergyWindow, Observation, Phase
from leanboard.results.schema import Record, RunPhase
from leanboard.results.submission.finding import Finding
from leanboard.results.verify_numbers import TOLERANCE

NOT_CALIBRATED = "not calibrated: no number is held against peaks of the machine"

_MEASURE_AGAIN = "measure again; if it stays so, describe it in an issue"
_CALIBRATE = (
    "calibrate on the idle machine (leanboard doctor --calibrate), then measure again; an engine "
    "that really beats the ceiling that torch reached needs an issue first"
)
_CEILINGS = ("peak_flops_per_s", "peak_bytes_per_s")
_FLOORS = (("ttft_s", "prefill_floor_s"), ("tpot_s", "decode_floor_s"))
_ASCENDING = (
    ("ttft_s", "e2e_s"),
    ("ttft_s", "ttft_p95_s"),
    ("tpot_s", "tpot_p95_s"),
    ("itl_p50_s", "itl_p95_s"),
    ("itl_p95_s", "itl_p99_s"),
    ("peak_allocated_bytes", "peak_reserved_bytes"),
)
_PROCESS_MEMORY = (
    "peak_memory_bytes",
    "load_peak_memory_bytes",
    "scoring_peak_memory_bytes",
    "anonymous_memory_bytes",
    "file_memory_bytes",
    "memory_mean_bytes",
)
_GPU_MEMORY = ("peak_allocated_bytes", "peak_reserved_bytes", "process_memory_bytes")
_JOULES_OVER: dict[str, Callable[[EnergyWindow], float]] = {
    "mean_power_w": lambda window: window.duration_s,
    "energy_per_output_token_j": lambda window: float(window.output_tokens),
    "energy_per_request_j": lambda window: float(window.requests),
}


def record_findings(record: Record) -> Iterator[Finding]:
    """Yield the numbers of a record that its machine, or another of them, rules out."""
    yield from _beyond_the_roofline(record)
    yield from _beyond_memory(record)
    for low, high in _ASCENDING:
        yield from _out_of_order(record, low, high)


def is_calibrated(record: Record) -> bool:
    """Whether a record knows a ceiling of its machine."""
    return any(name in record.facts for name in _CEILINGS)


def energy_findings(observation: Observation, record: Record) -> Iterator[Finding]:
    """Yield where energy is not power x time: joules, seconds, tokens and requests must agree."""
    windows = windows_of(observation, Phase.MIXED)
    if isinstance(windows, Missing):
        return
    joules = math.fsum(window.energy_j or 0.0 for window in windows)
    if joules < 0:
        message = f"the energy windows hold {joules:g} J: energy is not negative"
        yield Finding(message, _MEASURE_AGAIN)
    for name, count in _JOULES_OVER.items():
        value, units = _value(record, name), math.fsum(map(count, windows))
        if value is None or math.isclose(value * units, joules, rel_tol=TOLERANCE):
            continue
        yield Finding(
            f"{name} is {value:g}, times {units:g} of its unit {value * units:g} J, but the energy "
            f"windows hold {joules:g} J",
            "submit the record as leanboard wrote it",
        )


def _beyond_the_roofline(record: Record) -> Iterator[Finding]:
    peaks = ", ".join(f"{name} {_fact(record, name)}" for name in _CEILINGS if name in record.facts)
    for phase in RunPhase:
        for kind in ("mfu", "mbu", "roofline_share"):
            name = f"{kind}_{phase.value}"
            value = _value(record, name)
            if value is not None and value > 1:
                yield Finding(
                    f"{name} is {value:.4g}, more than 1 of what this machine can do ({peaks})",
                    _CALIBRATE,
                )
    for name, floor in _FLOORS:
        value, least = _value(record, name), _value(record, floor)
        if value is not None and least is not None and value < least:
            yield Finding(
                f"{name} is {value:.6g}, below {floor}, which is {least:.6g} ({peaks})", _CALIBRATE
            )


def _beyond_memory(record: Record) -> Iterator[Finding]:
    environment = record.environment
    on_gpus = float(sum(gpu.memory_bytes for gpu in environment.gpus))
    host = float(environment.memory_bytes)
    of_process = max(host, on_gpus) if record.cell.device.device == "cuda" else host
    limits = {**dict.fromkeys(_PROCESS_MEMORY, of_process), **dict.fromkeys(_GPU_MEMORY, on_gpus)}
    for name, most in limits.items():
        value = _value(record, name)
        if value is not None and value > most:
            yield Finding(
                f"{name} is {value:.0f} bytes, but the machine has {most:.0f} (environment."
                f"memory_bytes {host:.0f}, of all environment.gpus {on_gpus:.0f})",
                _MEASURE_AGAIN,
            )


def _out_of_order(record: Record, low: str, high: str) -> Iterator[Finding]:
    least, most = _value(record, low), _value(record, high)
    if least is not None and most is not None and least > most:
        yield Finding(f"{low} is {least:.6g}, above {high}, which is {most:.6g}", _MEASURE_AGAIN)


def _value(record: Record, name: str) -> float | None:
    measured = record.measurements.get(name)
    return None if measured is None else measured.value


def _fact(record: Record, name: str) -> object:
    """Return the value of a fact, or the whole of it where it has no such part."""
    fact = record.facts[name]
    return fact.get("value", fact) if isinstance(fact, dict) else fact
