"""Packed layers in a model's place of linear ones, and in a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from leanboard.results.errors import UnsupportedError
from leanboard.runners.techniques.facts import counted, noted
from leanboard.runners.techniques.replacing import body_linears, replaced

if TYPE_CHECKING:
    import torch

    from leanboard.runners.techniques.base import Target
    from leanboard.runners.techniques.quantization.packed import PackedWeight

_FILE = "packed.safetensors"
_PARTS = ("levels", "scales", "zeros")


def float_linears(model: torch.nn.Module) -> dict[str, torch.nn.Linear]:
    """Return the linear layers whose weights can be packed, by name; not the output head.

    Raises:
        UnsupportedError: if there is none, or one holds other than plain floats.
    """
    return {name: model.get_submodule(name) for name in body_linears(model)}


@contextmanager
def packed_linears(
    target: Target, pack: Callable[[str, torch.nn.Linear], PackedWeight], names: list[str]
) -> Iterator[None]:
    """Put packed layers in the place of linear ones; put those back on exit.

    While they are there, the fact ``weight_bits`` is the mean of the bits that are stored for a
    weight of the model's linear layers, scales and zero points included.

    Args:
        target: whose model is changed.
        pack: gives the packed weight for a layer.
        names: the layers; others are left as floats.
    """
    from leanboard.runners.techniques.quantization.packed import PackedLinear, Scratch

    scratch = Scratch()
    left = [
        layer.weight for name, layer in float_linears(target.model).items() if name not in names
    ]
    stored, weights = sum(each.nbytes for each in left), sum(each.numel() for each in left)

    def make(name: str, layer: torch.nn.Module) -> torch.nn.Module:
        nonlocal stored, weights
        packed = pack(name, layer)
        stored += packed.stored_bytes()
        weights += layer.weight.numel()
        bias = layer.bias.detach() if layer.bias is not None else None
        return PackedLinear(packed, bias, scratch).train(layer.training)

    with replaced(target, names, make):
        bits = 8 * stored / weights
        with noted(target, {"weight_bits": counted(bits, "bit")}):
            yield


def write_packed(folder: Path, layers: Mapping[str, PackedWeight]) -> None:
    """Write packed layers as one safetensors file."""
    from safetensors.torch import save_file

    tensors = {
        f"{name}.{part}": getattr(weight, part).cpu().contiguous()
        for name, weight in layers.items()
        for part in _PARTS
    }
    bits = {name: weight.bits for name, weight in sorted(layers.items())}
    save_file(tensors, folder / _FILE, metadata={"bits": json.dumps(bits)})


@contextmanager
def stored_linears(target: Target) -> Iterator[None]:
    """Put the packed layers that were made before in place; put the model's own back on exit.

    Raises:
        UnsupportedError: if nothing was made, or it does not fit the model.
    """
    from safetensors import safe_open

    if target.made is None:
        raise UnsupportedError("The packed layers were not made: run it with `leanboard run`.")
    path = target.made / _FILE
    layers = float_linears(target.model)
    with safe_open(path, framework="pt") as file:
        bits: dict[str, int] = json.loads(file.metadata()["bits"])
    if set(bits) - set(layers):
        missing = ", ".join(sorted(set(bits) - set(layers)))
        raise UnsupportedError(f"Layers were packed that the model lacks: {missing}.")

    def read(name: str, layer: torch.nn.Linear) -> PackedWeight:
        from leanboard.runners.techniques.quantization.packed import PackedWeight

        # Opened for each and copied out: a file that stays mapped keeps its pages resident.
        with safe_open(path, framework="pt") as file:
            parts = {
                part: file.get_tensor(f"{name}.{part}").clone().to(layer.weight.device)
                for part in _PARTS
            }
        return PackedWeight(bits[name], tuple(layer.weight.shape), **parts)

    with packed_linears(target, read, [name for name in layers if name in bits]):
        yield
