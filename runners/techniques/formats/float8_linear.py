"""A linear layer whose weight is stored as float8. Import this module where torch is used."""

from __future__ import annotations

import torch
from torch.nn import functional

from leanboard.runners.techniques.formats.grids import grouped, scales_of


class Float8Linear(torch.nn.Module):  # type: ignore[misc]
    """Keeps a weight as float8 with float32 scales, and expands it in every forward.

    Beside activations of fewer bits than float32 the codes are scaled in float32 first: float16
    holds neither products of codes up to 57,344 nor small scales.

    Args:
        linear: whose weight is rounded; its bias is kept.
        format: ``e4m3fn`` or ``e5m2``.
        group: weights of a row that share a scale; ``None`` is a whole row.
    """

    def __init__(self, linear: torch.nn.Module, format: str, group: int | None) -> None:
        """Round the weight of a linear layer."""
        super().__init__()
        dtype = getattr(torch, f"float8_{format}")
        largest = torch.finfo(dtype).max
        groups = grouped(linear.weight.detach(), group)
        scales = scales_of(groups, largest)
        # Cut first: the cast makes NaN or infinity of what lies beyond the end.
        codes = (groups / scales).clamp(-largest, largest).to(dtype)
        self.weight = torch.nn.Parameter(codes.reshape(linear.weight.shape), requires_grad=False)
        self.scales = torch.nn.Buffer(scales[..., 0])
        self.bias = linear.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the product with the expanded weight."""
        if x.element_size() < self.scales.element_size():
            return functional.linear(x, self._scaled(self.weight.float()).to(x.dtype), self.bias)
        weight = self.weight.to(x.dtype)
        if self.scales.shape[1] > 1:
            return functional.linear(x, self._scaled(weight), self.bias)
        product = functional.linear(x, weight) * self.scales[:, 0]
        return product if self.bias is None else product + self.bias

    def _scaled(self, codes: torch.Tensor) -> torch.Tensor:
        groups = codes.reshape(*self.scales.shape, -1) * self.scales[..., None]
        return groups.reshape(codes.shape)
