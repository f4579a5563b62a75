"""transformers' own generate, and a bare greedy loop over the same model.

``generate`` gets no streamer: TTFT is the time for one token, TPOT is what each of the others
adds, (T(n) - T(1)) / (n - 1). Tokenising is part of both, as it is in leanboard.

A process that was stopped is slow at its first token: another one has had the caches meanwhile.
That is in leanboard's TTFT, so TTFT is the first T(1); for TPOT a second one is taken after T(n),
since the difference of a warm and a cold start would hide a part of every other token's time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from benchmarks.own_process import Times, serve


@dataclass(frozen=True)
class Own:
    """A loaded model with its tokenizer."""

    model: Any
    tokenizer: Any

    def __call__(self, text: str, tokens: int) -> Times:
        """Time both ways of generating."""
        return {"generate": self.generate(text, tokens), "loop": self.loop(text, tokens)}

    def generate(self, text: str, tokens: int) -> dict[str, float]:
        """Time ``generate``, greedy."""
        cold_s = self._generate_s(text, 1)
        all_s = self._generate_s(text, tokens)
        warm_s = self._generate_s(text, 1)
        return {"ttft_s": cold_s, "tpot_s": (all_s - warm_s) / (tokens - 1)}

    def _generate_s(self, text: str, tokens: int) -> float:
        started_s = time.perf_counter()
        inputs = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")
        self.model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
        return time.perf_counter() - started_s

    def loop(self, text: str, tokens: int) -> dict[str, float]:
        """Time the least that greedy decoding takes: forward, argmax, forward ..."""
        started_s = time.perf_counter()
        inputs = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            output = self.model(inputs["input_ids"], use_cache=True, logits_to_keep=1)
            chosen = output.logits[:, -1].argmax(dim=-1, keepdim=True)
            first_s = time.perf_counter()
            for _ in range(tokens - 1):
                output = self.model(chosen, past_key_values=output.past_key_values, use_cache=True)
                chosen = output.logits[:, -1].argmax(dim=-1, keepdim=True)
        last_s = time.perf_counter()
        return {"ttft_s": first_s - started_s, "tpot_s": (last_s - first_s) / (tokens - 1)}


def load(settings: dict[str, Any]) -> Own:
    """Load a checkpoint on the CPU: ``folder``, ``dtype``, ``attention`` and ``threads``."""
    torch.set_num_threads(settings["threads"])
    model = AutoModelForCausalLM.from_pretrained(
        settings["folder"],
        dtype=getattr(torch, settings["dtype"]),
        attn_implementation=settings["attention"],
        local_files_only=True,
    )
    # Greedy, and no end-of-text to look for: what leanboard asks for too.
    model.generation_config = GenerationConfig(pad_token_id=0)
    tokenizer = AutoTokenizer.from_pretrained(settings["folder"], local_files_only=True)
    return Own(model.eval(), tokenizer)


if __name__ == "__main__":
    serve(load)
