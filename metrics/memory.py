"""Memory: what the weights, the cache and the whole process occupy; and the time to load."""

from __future__ import annotations

from leanboard.metrics.batches import batches
from leanboard.metrics.metric import (
    Direction,
    Kind,
    Metric,
    Missing,
    PerRound,
    Reduce,
    Role,
    Samples,
    Summary,
)
from leanboard.metrics.trace import Observation, RequestObservation, weakest

_RUNS = frozenset({Kind.REQUESTS, Kind.STEPS, Kind.ITEMS})


def fact(name: str) -> Reduce:
    """Make the reduction that takes one fact of the observation as it is."""

    def reduce(observation: Observation) -> Samples | Missing:
        quantity = observation.facts.get(name)
        if quantity is None:
            return Missing(f"the run recorded no {name}")
        return Samples((quantity.value,), quantity.provenance)

    return reduce


def fact_ratio(numerator: str, denominator: str, scale: float = 1.0) -> Reduce:
    """Make the reduction that divides one fact by another: scale x numerator / denominator."""

    def reduce(observation: Observation) -> Samples | Missing:
        above, below = observation.facts.get(numerator), observation.facts.get(denominator)
        if above is None or below is None:
            return Missing(f"the run recorded no {numerator if above is None else denominator}")
        if below.value <= 0:
            return Missing(f"{denominator} is {below.value:g}")
        provenance = weakest((above.provenance, below.provenance))
        return Samples((scale * above.value / below.value,), provenance)

    return reduce


def kv_formula_error(observation: Observation) -> Samples | Missing:
    """Return measured / formula - 1 for the key-value cache after the last batch.

    Layers with a sliding window keep no more tokens of a sequence than the window holds.
    """
    facts = observation.facts
    for name in ("kv_bytes", "kv_tokens", "kv_formula_bytes_per_token"):
        if name not in facts:
            return Missing(f"the run recorded no {name}")
    measured, tokens = facts["kv_bytes"], facts["kv_tokens"].value
    per_token = facts["kv_formula_bytes_per_token"].value
    if tokens <= 0 or per_token <= 0:
        return Missing("the formula gives no bytes for the tokens in the cache")
    expected = per_token * tokens
    window = facts.get("attention_window")
    if window is not None and isinstance(observation, RequestObservation):
        sequences = len((batches(observation) or ((),))[-1]) or 1
        beyond = max(0.0, tokens - sequences * window.value)
        expected -= facts["window_kv_bytes_per_token"].value * beyond
    return Samples((measured.value / expected - 1,), measured.provenance)


def round_peaks(observation: Observation) -> dict[int, float]:
    """Return the highest memory of each timed round whose memory was read, in bytes."""
    if not isinstance(observation, RequestObservation):
        return {}
    return {
        seen.round: float(seen.peak_memory_bytes)
        for seen in observation.rounds
        if not seen.warmup and seen.peak_memory_bytes is not None
    }


def _single(  # noqa: PLR0913
    name: str,
    label: str,
    doc: str,
    *,
    source: str = "leanboard, METRICS: memory",
    unit: str = "B",
    role: Role = Role.MEMORY,
    kinds: frozenset[Kind] = _RUNS,
    reduce: Reduce | None = None,
    headline: bool = False,
    paired: bool = False,
    direction: Direction = Direction.LOWER,
    per_round: PerRound | None = None,
) -> Metric:
    return Metric(
        name=name,
        unit=unit,
        direction=direction,
        role=role,
        label=label,
        doc=doc,
        source=source,
        kinds=kinds,
        summary=Summary.SINGLE,
        reduce=fact(name) if reduce is None else reduce,
        headline=headline,
        paired=paired,
        per_round=per_round,
    )


_CUDA = "torch.cuda memory statistics"
_RSS = "Linux /proc/PID/status and clear_refs"

METRICS: tuple[Metric, ...] = (
    _single(
        "weight_bytes",
        "Weights",
        "Bytes of the tensors really stored: packed, with scales and zero points, shared storage "
        "counted once.",
        headline=True,
    ),
    _single(
        "bits_per_weight",
        "Bits per weight",
        "8 x weight_bytes / parameters of the original model.",
        unit="bit",
        reduce=fact_ratio("weight_bytes", "parameters", 8.0),
    ),
    _single(
        "peak_memory_bytes",
        "Peak memory",
        "Highest memory while requests ran. CPU: high-water mark of the cell process's resident "
        "set, reset before each batch. CUDA: the process's use as the driver shows it after each "
        "batch.",
        source=f"{_RSS}; NVML",
        headline=True,
        paired=True,
        per_round=round_peaks,
    ),
    _single(
        "anonymous_memory_bytes",
        "Anonymous memory",
        "Resident after the batch with the highest peak, anonymous part: allocated by the process, "
        "not backed by a file. Read after the batch: no part of the peak.",
        source=_RSS,
    ),
    _single(
        "file_memory_bytes",
        "File-backed memory",
        "Resident after the batch with the highest peak, file-backed part (mapped weights, "
        "libraries): the system can take it back and read it again. No part of the peak.",
        source=_RSS,
    ),
    _single(
        "peak_allocated_bytes",
        "CUDA peak, allocated",
        "Highest number of bytes in live tensors on the GPU while requests ran.",
        source=_CUDA,
    ),
    _single(
        "peak_reserved_bytes",
        "CUDA peak, reserved",
        "Highest number of bytes that the caching allocator held while requests ran.",
        source=_CUDA,
    ),
    _single(
        "process_memory_bytes",
        "GPU memory of the process",
        "Bytes of GPU memory that the driver accounts to the process, context included.",
        source="NVML",
    ),
    _single(
        "load_peak_memory_bytes",
        "Peak memory while loading",
        "Highest memory from the start of the process to the end of the load, transformation "
        "included.",
        source=_RSS,
        role=Role.SETUP,
    ),
    _single(
        "scoring_peak_memory_bytes",
        "Peak memory while scoring",
        "Highest memory while accuracy was scored; a window of its own.",
        source=_RSS,
        kinds=frozenset({Kind.ANSWERS}),
    ),
    _single(
        "kv_bytes_per_token",
        "KV cache per token",
        "Bytes of the cache object / tokens in it; scales, indices and metadata counted. "
        "llama.cpp: the state of the tokens held, as saved; torch: the tensors allocated by the "
        "cache object (a static cache counts all that it reserved). Checked by kv_formula_error.",
        reduce=fact_ratio("kv_bytes", "kv_tokens"),
    ),
    _single(
        "kv_formula_bytes_per_token",
        "KV cache per token, by formula",
        "2 x layers x KV heads x head dimension x bytes of an element, of the dtype in which the "
        "backend keeps its cache by default. Layers with a sliding window are counted whole.",
        direction=Direction.NEUTRAL,
    ),
    _single(
        "kv_formula_error",
        "KV cache against the formula",
        "kv_bytes / (kv_formula_bytes_per_token x tokens) - 1, tokens beyond a sliding window left "
        "out. 0 for a cache that grows; above 0 where room is reserved (static cache) or "
        "bookkeeping is saved (llama.cpp); below 0 where the cache is compressed.",
        unit="1",
        direction=Direction.NEUTRAL,
        reduce=kv_formula_error,
    ),
    _single(
        "load_s",
        "Load time",
        "From asking for the model to its being ready, transformation included, libraries imported "
        "before.",
        unit="s",
        role=Role.SETUP,
    ),
)
