"""What a product with a linear layer takes at decode, by the layer's shape and its bits."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.runners.backends.torch_bytes import weight_bytes
from leanboard.runners.techniques.facts import counted
from leanboard.runners.techniques.quantization.grid import Grid

if TYPE_CHECKING:
    import torch

LATENCY = "latency"
"""Key of the times, and of what they predict, in a plan's reasons."""

_ROUNDS = 15
_WARMUP_ROUNDS = 2
_MOST_READ_BYTES = 2**28
"""Read between two products: more than the caches of a processor hold."""


@dataclass(frozen=True, slots=True)
class DecodeTimes:
    """Seconds of one product with one token's activations, batch 1.

    Args:
        shapes: of each layer, as ``ROWSxCOLUMNS``.
        seconds: by shape and bits; those of the model's own dtype are the float layer's.
        float_bits: bits of a weight in that dtype.
    """

    shapes: Mapping[str, str]
    seconds: Mapping[str, Mapping[int, float]]
    float_bits: int

    def linears_s(self, bits: Mapping[str, int] | None = None) -> float:
        """Return the seconds of all layers, one after the other, with these bits or as floats."""
        bits = bits if bits is not None else dict.fromkeys(self.shapes, self.float_bits)
        return sum(self.seconds[shape][bits[name]] for name, shape in self.shapes.items())

    def slowdowns(self) -> dict[str, dict[int, float]]:
        """Return by layer and bits what it takes, as a share of what all layers take as floats."""
        whole_s = self.linears_s()
        return {
            name: {bits: each_s / whole_s for bits, each_s in self.seconds[shape].items()}
            for name, shape in self.shapes.items()
        }

    def reasons(self, bits: Mapping[str, int]) -> dict[str, Any]:
        """Return the table and what it predicts of a plan, as JSON."""
        return {
            "seconds": self.seconds,
            "linears_s": self.linears_s(bits),
            "float_linears_s": self.linears_s(),
            "left_as_floats": [name for name, each in bits.items() if each == self.float_bits],
        }


def predicted(reasons: Mapping[str, Any]) -> dict[str, Quantity]:
    """Return the facts of a plan's reasons: the prediction, and the table that it follows from.

    ``predicted_tpot_rise_s`` is what the layers add to the baseline's time per output token, to
    judge the prediction by what was measured.
    """
    linears_s, float_s = reasons["linears_s"], reasons["float_linears_s"]
    table = {
        f"product_{shape}_{bits}bit_s": Quantity(each_s, "s", Provenance.MEASURED)
        for shape, row in reasons["seconds"].items()
        for bits, each_s in row.items()
    }
    return {
        "predicted_slowdown": Quantity(linears_s / float_s, "1", Provenance.MODELLED),
        "predicted_tpot_rise_s": Quantity(linears_s - float_s, "s", Provenance.MODELLED),
        "layers_left_as_floats": counted(len(reasons["left_as_floats"])),
        **table,
    }


def decode_times(
    model: torch.nn.Module,
    names: Sequence[str],
    widths: Sequence[int],
    group: int | None,
    clock: Callable[[], float] = time.perf_counter,
) -> DecodeTimes:
    """Time one layer of each shape as floats, and packed with each number of bits.

    The packed layers are those that a plan installs. Rounds go through all layers, so that drift
    of the clock hits them alike; each gets the median of its rounds. Decoding comes to a layer
    with its weights in no cache, as every other weight was read since, and with its code and its
    memory for expanded weights warm, as the layer before has used both. So before each product as
    many bytes as the model has are read, 256 MiB at most, and then a copy of the layer is run.

    Args:
        model: a causal language model, on the device and with the threads that it decodes with.
        names: its linear layers; those of one shape are taken to need one time.
        widths: bits of packed layers.
        group: weights of a row that share a scale; ``None``: the row.
        clock: seconds.
    """
    import torch

    shapes = {name: _shape(model.get_submodule(name)) for name in names}
    pairs = {
        (shape, bits): pair
        for shape, name in {shape: name for name, shape in shapes.items()}.items()
        for bits, pair in _pairs(model, name, widths, group).items()
    }
    weight = model.get_submodule(names[0]).weight
    read = min(weight_bytes(model), _MOST_READ_BYTES)
    # Ones, as zeros that nothing wrote to may be one page of memory.
    others = torch.ones(read // 4, dtype=torch.float32, device=weight.device)
    taken: dict[tuple[str, int], list[float]] = {each: [] for each in pairs}
    with torch.no_grad():
        for _ in range(_WARMUP_ROUNDS + _ROUNDS):
            for each, (layer, twin) in pairs.items():
                token = weight.new_ones(1, 1, layer.in_features)
                others.sum()
                twin(token)
                taken[each].append(_seconds(layer, token, clock))
    seconds: dict[str, dict[int, float]] = {}
    for (shape, bits), found in taken.items():
        seconds.setdefault(shape, {})[bits] = statistics.median(found[_WARMUP_ROUNDS:])
    return DecodeTimes(shapes, seconds, 8 * weight.element_size())


def _shape(layer: torch.nn.Linear) -> str:
    return f"{layer.out_features}x{layer.in_features}"


def _pairs(
    model: torch.nn.Module, name: str, widths: Sequence[int], group: int | None
) -> dict[int, tuple[Any, Any]]:
    """Return a layer and a copy of it by bits: as it is, and packed."""
    from leanboard.runners.techniques.quantization.packed import PackedLinear, Scratch

    layer, scratch = model.get_submodule(name), Scratch()
    bias = layer.bias.detach() if layer.bias is not None else None

    def packed(bits: int) -> torch.nn.Module:
        return PackedLinear(Grid(bits, group).nearest(name, layer.weight), bias, scratch)

    as_floats = (layer, copy.deepcopy(layer))
    return {bits: (packed(bits), packed(bits)) for bits in widths} | {
        8 * layer.weight.element_size(): as_floats
    }


def _seconds(layer: torch.nn.Module, token: torch.Tensor, clock: Callable[[], float]) -> float:
    """Return how long one product takes, its device waited for."""
    _synchronise(token)
    started_s = clock()
    layer(token)
    _synchronise(token)
    return clock() - started_s


def _synchronise(tensor: torch.Tensor) -> None:
    import torch

    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
