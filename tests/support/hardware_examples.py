"""Observations for rooflines, caches and fits, small enough to work out by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from leanboard.metrics.trace import Provenance, Quantity, RequestObservation, RequestTrace, Series


def quantities(**values: float) -> dict[str, Quantity]:
    """Return counted facts by name."""
    return {name: Quantity(value, "1", Provenance.COUNTED) for name, value in values.items()}


MODEL = quantities(
    weight_bytes=500,
    linear_flops_per_token=100,
    head_flops_per_token=40,
    attention_flops_per_position=2,
    kv_formula_bytes_per_token=8,
)
CEILINGS = quantities(peak_flops_per_s=1000, peak_bytes_per_s=100)


def request(
    number: int, prompt_tokens: int, token_s: Sequence[float], **changes: object
) -> RequestTrace:
    """Return a request of one round that was sent at 0 s and had its prompt encoded at 1 s."""
    plain = RequestTrace(
        prompt_id=f"p{number}",
        arm="none",
        round=number,
        warmup=False,
        batch=0,
        scheduled_s=0.0,
        sent_s=0.0,
        encoded_s=1.0,
        token_s=tuple(token_s),
        prompt_tokens=prompt_tokens,
        output_ids=tuple(range(len(token_s))),
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def observation(requests: Sequence[RequestTrace]) -> RequestObservation:
    """Return the requests with the facts of the toy model and its calibrated machine."""
    return RequestObservation(requests=tuple(requests), facts=MODEL | CEILINGS)


def of_lengths(
    lengths: Sequence[int], time_s: Callable[[int, int], float], outputs: int = 8
) -> RequestObservation:
    """Return a request of each prompt length whose o-th token comes at T(p, o)."""
    return RequestObservation(
        requests=tuple(
            request(i, p, [time_s(p, o) for o in range(1, outputs + 1)])
            for i, p in enumerate(lengths)
        )
    )


def readings(time_s: Sequence[float], value: Sequence[float], name: str = "memory_bytes") -> Series:
    """Return a sampled series of bytes."""
    return Series(name, "B", "a test", Provenance.MEASURED, "cpu", tuple(time_s), tuple(value))


def _linear(prompt_tokens: int, output_tokens: int) -> float:
    return 0.5 + 0.01 * prompt_tokens + 0.1 * (output_tokens - 1)


# Five of one round each: a median needs five.
FIVE = observation([request(i, 10, [3.0, 8.0, 13.0]) for i in range(5)])
READ = RequestObservation(
    requests=(request(0, 10, [2.0, 5.0], sent_s=1.0),),
    series=(readings((0.0, 2.0, 3.0, 4.0, 6.0), (20.0, 40.0, 80.0, 80.0, 40.0)),),
    facts=quantities(memory_total_bytes=245),
)
LINEAR = of_lengths([10, 20, 30, 40, 50], _linear)
CACHE = RequestObservation(
    facts=quantities(kv_bytes=46_080 * 176, kv_tokens=160, kv_formula_bytes_per_token=46_080)
)

EXAMPLES: Mapping[str, tuple[RequestObservation, float]] = {
    # SmolLM2-135M in fp32: 2 x 30 layers x 3 KV heads x 64 x 4 bytes
    "kv_formula_bytes_per_token": (CACHE, 46_080.0),
    # room for 176 tokens where 160 are held: 176 / 160 - 1
    "kv_formula_error": (CACHE, 0.1),
    # (10 x 100 + 40 + 2 x 55) FLOP / (1000 FLOP/s) / 2 s
    "mfu_prefill": (FIVE, 1.150 / 2),
    # (500 + 10 x 8) B / (100 B/s) / 2 s
    "mbu_prefill": (FIVE, 5.80 / 2),
    # the larger of the two
    "roofline_share_prefill": (FIVE, 5.80 / 2),
    "prefill_floor_s": (FIVE, 5.80),
    # (2 x 140 + 2 x (11 + 12)) FLOP / (1000 FLOP/s) / 10 s
    "mfu_decode": (FIVE, 0.326 / 10),
    # (2 x 500 + 8 x (11 + 12)) B / (100 B/s) / 10 s
    "mbu_decode": (FIVE, 11.84 / 10),
    "roofline_share_decode": (FIVE, 11.84 / 10),
    # 11.84 s over the two tokens after the first
    "decode_floor_s": (FIVE, 5.92),
    # median length 30, 8 tokens: 0.5 + 0.01 x 30 + 0.1 x 7
    "idealized_runtime_s": (LINEAR, 1.5),
    "idealized_intercept_s": (LINEAR, 0.5),
    "idealized_prompt_s_per_token": (LINEAR, 0.01),
    "idealized_prompt_s_per_token2": (LINEAR, 0.0),
    "idealized_t_out_s": (LINEAR, 0.1),
    "idealized_context_s_per_token": (LINEAR, 0.0),
    # from 1 to 5 s: 30, 40, 80, 80, 60, so 35 + 60 + 80 + 70 = 245 B s in 4 s
    "memory_mean_bytes": (READ, 61.25),
    # of 245 B
    "memory_mean_share": (READ, 0.25),
}
# Linear but for the lengths held out (20 and 40), whose times are a tenth longer: the fit is
# 1 / 1.1 of them, off by 1 - 1 / 1.1 = 1 / 11.
EXAMPLES = {
    **EXAMPLES,
    "idealized_fit_error": (
        of_lengths(
            [10, 20, 30, 40, 50], lambda p, o: _linear(p, o) * (1.1 if p in (20, 40) else 1.0)
        ),
        1 / 11,
    ),
}
