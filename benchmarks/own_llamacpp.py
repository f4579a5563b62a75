"""llama.cpp's own server, in the process: the times are those that it reports of itself.

``prompt_ms`` runs from the prompt being taken up to its first token, without tokenising;
``predicted_per_token_ms`` is the mean over the other tokens. Nothing is kept from one prompt for
the next, and the sampler does no more than take the largest logit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import xllamacpp

from benchmarks.own_process import Times, serve


@dataclass(frozen=True)
class Own:
    """A server with one slot."""

    server: Any

    def __call__(self, text: str, tokens: int) -> Times:
        """Time the server's answer.

        Raises:
            RuntimeError: if it did not do the work that was asked for.
        """
        answer = self.server.handle_completions(
            {
                "prompt": text,
                "n_predict": tokens,
                "temperature": 0.0,
                "samplers": ["temperature"],
                "ignore_eos": True,
                "cache_prompt": False,
            }
        )
        timings = answer["timings"]
        if timings["predicted_n"] != tokens or timings["cache_n"] != 0:
            raise RuntimeError(f"the server answered otherwise than asked: {timings}")
        return {
            "generate": {
                "ttft_s": timings["prompt_ms"] / 1e3,
                "tpot_s": timings["predicted_per_token_ms"] / 1e3,
                "prompt_tokens": timings["prompt_n"],
            }
        }


def load(settings: dict[str, Any]) -> Own:
    """Start a server on the CPU: ``file``, ``cells``, ``threads`` and ``flash`` (-1 is auto)."""
    params = xllamacpp.CommonParams()
    params.model.path = settings["file"]
    params.verbosity = 0
    params.n_ctx = settings["cells"]
    params.n_parallel = 1
    params.cache_ram_mib = 0
    params.n_ctx_checkpoints = 0
    params.flash_attn_type = xllamacpp.llama_flash_attn_type(settings["flash"])
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    return Own(xllamacpp.Server(params))


if __name__ == "__main__":
    serve(load)
