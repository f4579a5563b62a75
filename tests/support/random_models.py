"""Random causal language models of several families: two layers, 264 tokens, on the CPU."""

from __future__ import annotations

from typing import Any

WINDOW = 20
"""Tokens that a sliding layer sees: far fewer than the texts that are scored."""

_SHAPE: dict[str, Any] = {
    "vocab_size": 264,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 1024,
    "initializer_range": 0.25,
}
_ALTERNATING: dict[str, Any] = {
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention"],
    "final_logit_softcapping": 5.0,
}
_EAGER = {"attn_implementation": "eager"}
_FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {}),
    "llama-eager": ("LlamaForCausalLM", "LlamaConfig", _EAGER),
    "qwen3": ("Qwen3ForCausalLM", "Qwen3Config", {}),
    "mistral-sliding": ("MistralForCausalLM", "MistralConfig", {"sliding_window": WINDOW}),
    "gemma2-softcap": ("Gemma2ForCausalLM", "Gemma2Config", _ALTERNATING | _EAGER),
    "gemma3": ("Gemma3ForCausalLM", "Gemma3TextConfig", _ALTERNATING),
    "gemma3-eager": ("Gemma3ForCausalLM", "Gemma3TextConfig", _ALTERNATING | _EAGER),
}
FAMILIES = tuple(_FAMILIES)


def random_model(family: str, seed: int = 0) -> Any:
    """Return a model of a family, ready to run.

    Args:
        family: one of ``FAMILIES``.
        seed: of its weights.
    """
    import torch
    import transformers

    model, config, changes = _FAMILIES[family]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = getattr(transformers, config)(**_SHAPE, **changes)
        return getattr(transformers, model)(made).eval()
