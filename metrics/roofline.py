"""Roofline: the least time that a phase could take here, and how much of the time that explains.

A phase must do its FLOPs and move its bytes; the machine does at most so many of each a second.
Work is counted from the model's shapes and the bytes really stored, ceilings are measured on the
machine (``leanboard doctor --calibrate``). Source: Williams, Waterman and Patterson, Roofline,
CACM 2009; MFU as in PaLM, arXiv:2204.02311: only tokens that were kept count as work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from leanboard.metrics.batches import (
    NOT_REQUESTS,
    NOTHING_TIMED,
    Batch,
    batches,
    launches_of,
)
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
from leanboard.metrics.throughput import decode, prefill
from leanboard.metrics.trace import Observation, Provenance, Quantity, RequestObservation

NOT_CALIBRATED = Missing("this machine is not calibrated: leanboard doctor --calibrate")
NO_PEAK = Missing("the calibration of this machine has no peak for the dtype that the run uses")
WORK_VARIES = "work_varies"
"""Fact: tokens do unlike amounts of work, which does not follow from the model's shapes."""
_NOT_COUNTED = Missing("a technique lets tokens do unlike amounts of work, which is not counted")
LEAST_SHARE = 1 / 3
"""Use of a resource from which on it counts as what limits a phase."""


class Bound(StrEnum):
    """What limits a phase."""

    COMPUTE = "compute"
    MEMORY = "memory"
    OVERHEAD = "overhead"


def bound_of(mfu: float, mbu: float) -> Bound:
    """Return what limits a phase: the resource that is used most, if that is a third or more.

    Well-tuned stacks use 40 to 60% of a peak. Below a third neither arithmetic nor memory explains
    the time: launches, conversions, waiting and kernels that suit neither do.
    """
    if max(mfu, mbu) < LEAST_SHARE:
        return Bound.OVERHEAD
    return Bound.COMPUTE if mfu >= mbu else Bound.MEMORY


def positions(tokens: float, window: float) -> float:
    """Return how many positions the first so many tokens of a text attend to, all together.

    The n-th token attends to n positions, itself included, or to ``window`` if that is less.
    """
    inside = min(tokens, window)
    return inside * (inside + 1) / 2 + (tokens - inside) * window


@dataclass(frozen=True, slots=True)
class Model:
    """What one token of a model costs; facts of the observation.

    Args:
        weight_bytes: bytes of weights that every forward pass reads.
        linear_flops: FLOPs of a token in the decoder's layers, attention over positions apart.
        head_flops: FLOPs of a token in the output head.
        attention_flops: FLOPs of a token for each position, in layers that attend to all.
        kv_bytes: bytes of keys and values of a token in these layers.
        window_attention_flops: the same for layers that attend to ``window`` positions.
        window_kv_bytes: the same.
        window: positions that these see.
    """

    weight_bytes: float
    linear_flops: float
    head_flops: float
    attention_flops: float
    kv_bytes: float
    window_attention_flops: float
    window_kv_bytes: float
    window: float

    @classmethod
    def of(cls, facts: Mapping[str, Quantity]) -> Model | Missing:
        """Read it from an observation's facts, or say what is not among them."""
        needed = (
            "weight_bytes",
            "linear_flops_per_token",
            "head_flops_per_token",
            "attention_flops_per_position",
            "kv_formula_bytes_per_token",
        )
        if WORK_VARIES in facts:
            return _NOT_COUNTED
        for name in needed:
            if name not in facts:
                return Missing(f"the run recorded no {name}")

        def value(name: str) -> float:
            return facts[name].value if name in facts else 0.0

        window_kv_bytes = value("window_kv_bytes_per_token")
        return cls(
            weight_bytes=value("weight_bytes") - value("unread_weight_bytes"),
            linear_flops=value("linear_flops_per_token"),
            head_flops=value("head_flops_per_token"),
            attention_flops=value("attention_flops_per_position"),
            kv_bytes=value("kv_formula_bytes_per_token") - window_kv_bytes,
            window_attention_flops=value("window_attention_flops_per_position"),
            window_kv_bytes=window_kv_bytes,
            window=value("attention_window"),
        )

    def cache_bytes(self, tokens: float, sequences: float = 1.0) -> float:
        """Return the bytes of keys and values that sequences of so many tokens in all keep."""
        each = min(tokens / sequences, self.window)
        return self.kv_bytes * tokens + self.window_kv_bytes * each * sequences

    def attending(self, first: int, last: int) -> tuple[float, float]:
        """Return FLOPs and bytes read of attention when the tokens after ``first`` come singly."""
        whole = positions(last, last) - positions(first, first)
        seen = positions(last, self.window) - positions(first, self.window)
        flops = self.attention_flops * whole + self.window_attention_flops * seen
        return flops, self.kv_bytes * whole + self.window_kv_bytes * seen


Work = tuple[float, float]
"""FLOPs and bytes."""


def prefill_work(model: Model, batch: Batch) -> Work:
    """Return FLOPs and bytes of a batch's prefill: the weights once, keys and values written."""
    flops = len(batch) * model.head_flops
    moved = model.weight_bytes
    for request in batch:
        flops += model.linear_flops * request.prompt_tokens
        flops += model.attending(0, request.prompt_tokens)[0]
        moved += model.cache_bytes(request.prompt_tokens)
    return flops, moved


def decode_work(model: Model, batch: Batch) -> Work:
    """Return FLOPs and bytes of a batch's decode: weights and cache once a forward pass.

    Where the engine tells its forward passes (speculation commits several tokens in one), these
    are what reads the weights.
    """
    steps = max(len(request.token_s) for request in batch) - 1
    told = [r.target_forwards for r in batch if r.target_forwards is not None]
    forwards = max(told) - 1 if told else steps
    flops, moved = 0.0, forwards * model.weight_bytes
    for request in batch:
        after = request.output_tokens - 1
        attention, read = model.attending(request.prompt_tokens, request.prompt_tokens + after)
        flops += (model.linear_flops + model.head_flops) * after + attention
        moved += read * forwards / steps
    return flops, moved


@dataclass(frozen=True, slots=True)
class Phase:
    """Prefill or decode: its name, its work and its measured time.

    Args:
        rate: the throughput of the phase; its denominators are the seconds.
        work: FLOPs and bytes of a batch.
        units: by how many the floor of a batch is divided to be read beside a latency.
    """

    name: str
    rate: Reduce
    work: Callable[[Model, Batch], Work]
    units: Callable[[Batch], int]

    def seconds(self, batch: Batch) -> float | Missing:
        """Return the time of a batch, as throughput takes it, or why there is none."""
        drawn = self.rate(RequestObservation(requests=batch))
        if isinstance(drawn, Missing):
            return drawn
        return sum(drawn.weights or ())


PREFILL = Phase("prefill", prefill, prefill_work, lambda _: 1)
DECODE = Phase("decode", decode, decode_work, lambda batch: max(len(r.token_s) for r in batch) - 1)

_COMPUTE, _MEMORY = "peak_flops_per_s", "peak_bytes_per_s"


def _floors(phase: Phase, ceilings: tuple[str, ...], *, share: bool) -> Reduce:
    """Make the reduction to the floor of each batch under the ceilings named.

    Args:
        phase: prefill or decode.
        ceilings: facts to go by; the slowest decides.
        share: give the measured seconds too, as the denominators of a share of them.
    """

    def reduce(observation: Observation) -> Samples | Missing:
        if not isinstance(observation, RequestObservation):
            return NOT_REQUESTS
        model = _model(observation.facts, ceilings)
        if isinstance(model, Missing):
            return model
        found = [(batch, phase.seconds(batch)) for batch in batches(observation)]
        timed = [(batch, spent) for batch, spent in found if not isinstance(spent, Missing)]
        if not timed:
            return next((why for _, why in found if isinstance(why, Missing)), NOTHING_TIMED)
        per_s = {name: observation.facts[name].value for name in ceilings}
        floors_s = tuple(_floor_s(phase.work(model, batch), per_s) for batch, _ in timed)
        groups = launches_of([batch for batch, _ in timed])
        if share:
            weights = tuple(spent for _, spent in timed)
            return Samples(floors_s, Provenance.COUNTED, weights=weights, groups=groups)
        units = [phase.units(batch) for batch, _ in timed]
        values = tuple(floor / count for floor, count in zip(floors_s, units, strict=True))
        return Samples(values, Provenance.COUNTED, groups=groups)

    return reduce


def _model(facts: Mapping[str, Quantity], ceilings: tuple[str, ...]) -> Model | Missing:
    if _MEMORY not in facts:
        return NOT_CALIBRATED
    return Model.of(facts) if all(name in facts for name in ceilings) else NO_PEAK


def _floor_s(work: Work, per_s: Mapping[str, float]) -> float:
    """Return the least time for the work, where each resource does so much a second."""
    needed = dict(zip((_COMPUTE, _MEMORY), work, strict=True))
    return max(needed[name] / rate for name, rate in per_s.items())


_NOTE = (
    "The ceiling is the best that torch reached here when the machine was calibrated: an engine "
    "with better kernels can exceed 1. No direction: a technique that needs less work may use the "
    "machine less well and still be faster."
)


def _metric(name: str, label: str, doc: str, reduce: Reduce, *, seconds: bool = False) -> Metric:
    return Metric(
        name=name,
        unit="s" if seconds else "1",
        direction=Direction.NEUTRAL,
        role=Role.HARDWARE,
        label=label,
        doc=doc,
        source="Roofline (Williams et al. 2009); MFU: PaLM, arXiv:2204.02311",
        kinds=frozenset({Kind.REQUESTS}),
        summary=Summary.MEDIAN if seconds else Summary.RATIO_OF_SUMS,
        reduce=reduce,
    )


_FLOPS_OF = {
    "prefill": (
        "2 x parameters of the layers x prompt tokens, the output head for the last position, and "
        "4 x layers x heads x head dimension for each pair of positions in causal attention"
    ),
    "decode": (
        "2 x parameters, output head included, for each output token after the first, and "
        "4 x layers x heads x head dimension for each position that it attends to"
    ),
}
_BYTES_OF = {
    "prefill": "the stored weights read once, and the keys and values of the prompt written",
    "decode": (
        "the stored weights (of an input embedding that is not the head, nothing) and the keys and "
        "values held so far, read in every forward pass"
    ),
}
_TIME_OF = {
    "prefill": "prefill time, tokenisation excluded",
    "decode": "the time from the first token to the last",
}


def _of_phase(phase: Phase) -> tuple[Metric, ...]:
    name = phase.name
    both = (_COMPUTE, _MEMORY)
    beside = "TTFT" if phase is PREFILL else "TPOT"
    return (
        _metric(
            f"mfu_{name}",
            f"MFU, {name}",
            f"FLOPs / peak FLOP/s of the dtype / time. FLOPs: {_FLOPS_OF[name]}. Time: "
            f"{_TIME_OF[name]}. {_NOTE}",
            _floors(phase, (_COMPUTE,), share=True),
        ),
        _metric(
            f"mbu_{name}",
            f"MBU, {name}",
            f"Bytes / memory bandwidth / time. Bytes: {_BYTES_OF[name]}. Time: {_TIME_OF[name]}. "
            f"{_NOTE}",
            _floors(phase, (_MEMORY,), share=True),
        ),
        _metric(
            f"roofline_share_{name}",
            f"Share of the roofline, {name}",
            f"{name}_floor_s / time, the larger of MFU and MBU batch by batch. Bound by compute or "
            "memory, whichever is used more, where that is a third or more; else by overhead.",
            _floors(phase, both, share=True),
        ),
        _metric(
            f"{name}_floor_s",
            f"{name.capitalize()} floor",
            f"max(FLOPs / peak FLOP/s, bytes / bandwidth), as in mfu_{name} and mbu_{name}; median "
            f"over batches. To be read beside {beside}.",
            _floors(phase, both, share=False),
            seconds=True,
        ),
    )


METRICS: tuple[Metric, ...] = (*_of_phase(PREFILL), *_of_phase(DECODE))
