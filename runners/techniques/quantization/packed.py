"""Weights of 2 to 8 bits, packed without gaps, and the linear layer that expands them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

import torch

_PLANES = {2: (2,), 3: (2, 1), 4: (4,), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1), 8: (8,)}
"""Widths of the bit planes that integers of so many bits are split into, lowest bits first."""
_UNIT = 32
"""Integers are packed by so many, so that every plane is whole 32-bit words."""


def pack(levels: torch.Tensor, bits: int) -> torch.Tensor:
    """Return integers below 2^bits as bytes without gaps: ``4 bits`` bytes for every 32 of them.

    The bits are split into planes of 4, 2 and 1; each plane is cut into as many equal runs as it
    has fields in a byte, and run i lies in field i, so that unpacking is a shift and a mask.

    Args:
        levels: uint8, of any shape; zeros fill up the last 32.
        bits: 2 to 8.

    Returns:
        uint8, (4 * bits * ceil(numel / 32),).
    """
    flat = levels.reshape(-1)
    flat = torch.nn.functional.pad(flat, (0, -len(flat) % _UNIT))
    planes = []
    for width, lowest in _planes(bits):
        runs = ((flat >> lowest) & (2**width - 1)).view(8 // width, -1)
        plane = runs[0].clone()
        for field in range(1, len(runs)):
            plane |= runs[field] << (field * width)
        planes.append(plane)
    return torch.cat(planes)


class Scratch:
    """Memory that layers expand their weights in, one after another.

    Fresh memory for every layer of every forward costs more than the expanding itself.
    """

    def __init__(self) -> None:
        """Hold nothing yet."""
        self._held: dict[str, torch.Tensor] = {}

    def empty(self, use: str, count: int, like: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """Return so many numbers on a tensor's device; the next call for this use has the same."""
        held = self._held.get(use)
        if held is None or len(held) < count or held.device != like.device:
            # torch.compile traces it without a keyword only.
            with torch.inference_mode(False):  # noqa: FBT003
                held = torch.empty(count, dtype=dtype, device=like.device)
            self._held[use] = held
        return held[:count]


def unpack(
    packed: torch.Tensor, bits: int, count: int, scratch: Scratch | None = None
) -> torch.Tensor:
    """Return the first ``count`` integers that :func:`pack` was given, uint8, (count,)."""
    if bits == 8:
        return packed[:count]
    scratch = scratch if scratch is not None else Scratch()
    # Four bytes at a time: what a shift moves into a neighbour is masked away.
    words = packed.view(torch.int32)
    share = len(words) // bits
    levels = scratch.empty("levels", 8 * share, words, torch.int32)
    start = 0
    for width, lowest in _planes(bits):
        plane = words[start : start + share * width]
        start += share * width
        runs = levels
        if lowest:
            runs = scratch.empty("plane", 8 * share, words, torch.int32)
        for field, run in enumerate(runs.view(8 // width, -1)):
            torch.bitwise_right_shift(plane, field * width, out=run)
        runs &= (2**width - 1) * 0x01010101
        if lowest:
            runs <<= lowest
            levels |= runs
    return levels.view(torch.uint8)[:count]


def _planes(bits: int) -> Iterator[tuple[int, int]]:
    """Yield width and lowest bit of each plane."""
    widths = _PLANES[bits]
    return zip(widths, accumulate(widths, initial=0), strict=False)


@dataclass(frozen=True, slots=True)
class PackedWeight:
    """A weight matrix of few bits: w = (level - zero) * scale, by groups along a row.

    Args:
        bits: of a level and of a zero point, 2 to 8.
        shape: rows (out features) and columns (in features).
        levels: packed, of shape ``shape``.
        scales: floating point, (rows, groups in a row).
        zeros: packed zero points, of the scales' shape.
    """

    bits: int
    shape: tuple[int, int]
    levels: torch.Tensor
    scales: torch.Tensor
    zeros: torch.Tensor

    def expanded(self, scratch: Scratch | None = None) -> torch.Tensor:
        """Return the weights, float32, (rows, columns).

        Args:
            scratch: memory to expand them in; what it gave before is then overwritten.
        """
        scratch = scratch if scratch is not None else Scratch()
        rows, columns = self.shape
        groups = self.scales.shape[1]
        zeros = unpack(self.zeros, self.bits, rows * groups).view(rows, groups, 1)
        levels = unpack(self.levels, self.bits, rows * columns, scratch).view(rows, groups, -1)
        weights = scratch.empty("weights", rows * columns, levels, torch.float32).view_as(levels)
        if self.bits == 8:
            weights.copy_(levels)
            weights -= zeros
        else:
            # The difference fits eight bits: a quarter of what floats would move.
            weights.copy_(levels.view(torch.int8).sub_(zeros.view(torch.int8)))
        weights *= self.scales[:, :, None]
        return weights.view(rows, columns)

    def stored_bytes(self) -> int:
        """Return the bytes of levels, scales and zero points."""
        stored: int = self.levels.nbytes + self.scales.nbytes + self.zeros.nbytes
        return stored


class PackedLinear(torch.nn.Module):  # type: ignore[misc]
    """A linear layer whose weights are stored packed and expanded at every forward."""

    def __init__(
        self, weight: PackedWeight, bias: torch.Tensor | None, scratch: Scratch | None = None
    ) -> None:
        """Hold the tensors as buffers, so that they are counted and moved with the model.

        Args:
            weight: the stored weight.
            bias: of the outputs, if there is one.
            scratch: memory to expand in, shared by layers that run one after another.
        """
        super().__init__()
        self.bits = weight.bits
        self.out_features, self.in_features = weight.shape
        self.register_buffer("levels", weight.levels)
        self.register_buffer("scales", weight.scales)
        self.register_buffer("zeros", weight.zeros)
        self.register_buffer("bias", bias)
        self._scratch = scratch

    @property
    def packed(self) -> PackedWeight:
        """The stored weight."""
        shape = (self.out_features, self.in_features)
        return PackedWeight(self.bits, shape, self.levels, self.scales, self.zeros)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs · weightᵀ (+ bias), in the inputs' dtype."""
        # A backward pass reads the expanded weights again, after other layers were expanded.
        kept = torch.is_grad_enabled() and inputs.requires_grad
        # A compiled graph has memory of its own.
        kept = kept or torch.compiler.is_compiling()
        weight = self.packed.expanded(None if kept else self._scratch).to(inputs.dtype)
        return torch.nn.functional.linear(inputs, weight, self.bias)

    def extra_repr(self) -> str:
        """Say the sizes as ``torch.nn.Linear`` does, and the bits."""
        return f"{self.in_features}, {self.out_features}, bits={self.bits}"
