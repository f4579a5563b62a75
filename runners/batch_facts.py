"""What a worker's answer tells beside its traces: stored bytes, the cache, the peak of memory."""

from __future__ import annotations

from collections.abc import Mapping

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.runners import wire

_MEMORY_FACTS = {
    "peak_memory_bytes": "peak",
    "anonymous_memory_bytes": "anonymous",
    "file_memory_bytes": "file_backed",
}
_GPU_FACTS = ("peak_allocated_bytes", "peak_reserved_bytes", "process_memory_bytes")

Facts = Mapping[str, Quantity]


def batch_facts(before: Facts, reply: wire.Message) -> dict[str, Quantity]:
    """Return the facts of the latest batch, with the highest memory of all batches.

    Where the engine tells of a GPU, the host's resident set is not what the arm needs.
    """
    facts = wire.facts_from_wire(reply["facts"])
    if "peak_allocated_bytes" in facts:
        return facts | _gpu_peaks(before, facts)
    return facts | _resident_peak(before, reply)


def _gpu_peaks(before: Facts, latest: Facts) -> dict[str, Quantity]:
    """Return the highest of each GPU fact; the peak is the process's use, if that is known."""
    peaks = {}
    for name in _GPU_FACTS:
        found = [facts[name] for facts in (before, latest) if name in facts]
        if found:
            peaks[name] = max(found, key=lambda quantity: quantity.value)
    if "process_memory_bytes" in peaks:
        peaks["peak_memory_bytes"] = peaks["process_memory_bytes"]
    return peaks


def _resident_peak(before: Facts, reply: wire.Message) -> dict[str, Quantity]:
    """Return the memory of the reply if it is higher than before, else nothing."""
    reading = reply["memory"]
    if reading is None or reply["peak_unknown"] is not None:
        return {}
    highest = before.get("peak_memory_bytes")
    if highest is not None and reading["peak"] <= highest.value:
        return {}
    return {
        fact: Quantity(reading[name], "B", Provenance.MEASURED)
        for fact, name in _MEMORY_FACTS.items()
    }
