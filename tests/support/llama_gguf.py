"""Write a small Llama checkpoint as GGUF, as llama.cpp's own converter lays it out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from leanboard.runners.backends.base import ModelFiles

_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def with_gguf(model: ModelFiles, folder: Path) -> ModelFiles:
    """Return a model of safetensors that has been published as GGUF, too, in an empty folder."""
    file = write_llama_gguf(model.folder, folder / "tiny.gguf")
    return dataclasses.replace(model, gguf=file, gguf_cache=folder / "made")


def write_llama_gguf(folder: Path, path: Path, eot: int | None = None) -> Path:
    """Write the float32 Llama of a folder, with its byte-level BPE tokenizer, as an F32 GGUF.

    Args:
        folder: the checkpoint.
        path: the file to write.
        eot: a token that ends a turn, beside the one that ends a text.
    """
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((folder / "config.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(folder.name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(_rope_base(config))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(0)
    add_tokenizer(writer, folder)
    if eot is not None:
        writer.add_eot_token_id(eot)
    rotated = {"q_proj": heads, "k_proj": kv_heads}
    for name, values in sorted(load_file(folder / "model.safetensors").items()):
        rows = rotated.get(name.split(".")[-2])
        writer.add_tensor(_name(name), values if rows is None else _interleaved(values, rows))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _rope_base(config: dict[str, Any]) -> float:
    settings = config.get("rope_parameters") or config
    return float(settings.get("rope_theta", 10_000.0))


def _name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in _TOP:
        return f"{_TOP[stem]}.weight"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{_LAYER[rest]}.weight"


def _interleaved(values: Any, heads: int) -> Any:
    """Reorder rows: llama.cpp rotates neighbours, transformers rotates the two halves of a head."""
    rows, columns = values.shape
    halves = values.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns).copy()


def add_tokenizer(writer: Any, folder: Path) -> None:
    """Write the byte-level BPE tokenizer of a folder, as every architecture stores it."""
    import gguf

    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    special = {token["content"] for token in tokenizer["added_tokens"]}
    tokens = sorted(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].__getitem__)
    kinds = [gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_unk_token_id(tokens.index("<unk>"))
    writer.add_bos_token_id(tokens.index("<s>"))
    writer.add_eos_token_id(tokens.index("</s>"))
    writer.add_add_bos_token(False)
