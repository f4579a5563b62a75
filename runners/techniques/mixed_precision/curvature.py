"""Second-order terms of a model's divergence from itself: Hessian traces and interactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def curvature(
    model: torch.nn.Module, vectors: Mapping[str, torch.Tensor], ids: torch.Tensor
) -> dict[str, float]:
    """Return vᵢ · (H v)ᵢ by layer i, for one vector v over the weights of all the layers.

    H is the Hessian of the mean KL divergence from what the model predicts, at the model itself:
    its Fisher information, which needs no labels and has no negative eigenvalue. The sum over the
    layers is vᵀ H v. What a layer gets is its own term vᵢᵀ Hᵢᵢ vᵢ and its terms with all others,
    vᵢᵀ Hᵢⱼ vⱼ.

    Args:
        model: a causal language model.
        vectors: by the name of a linear layer, of its weight's shape.
        ids: token ids, (samples, tokens).
    """
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    weights = {name: model.get_submodule(name).weight.requires_grad_() for name in vectors}
    # Only torch's plain attention can be differentiated twice.
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        logs = model(ids, use_cache=False).logits.float().log_softmax(dim=-1)
        crossed = -(logs.detach().exp() * logs).sum(dim=-1).mean()
        slopes = torch.autograd.grad(crossed, list(weights.values()), create_graph=True)
        along = torch.stack(
            [(slope * vectors[name]).sum() for name, slope in zip(weights, slopes, strict=True)]
        ).sum()
        products = torch.autograd.grad(along, list(weights.values()))
    return {
        name: float((vectors[name] * product).sum())
        for name, product in zip(weights, products, strict=True)
    }


def with_random_signs(
    vectors: Mapping[str, torch.Tensor], generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Return each layer's vector with a sign drawn for the whole of it.

    Over draws, vᵢ · (H v)ᵢ is then the layer's own vᵢᵀ Hᵢᵢ vᵢ: terms between layers average out.
    """
    import torch

    signs = 2 * torch.randint(0, 2, (len(vectors),), generator=generator) - 1
    return {
        name: vector * float(sign)
        for (name, vector), sign in zip(vectors.items(), signs, strict=True)
    }


def random_signs(
    model: torch.nn.Module, names: list[str], generator: torch.Generator
) -> dict[str, torch.Tensor]:
    """Return a draw of ±1 for every weight: over draws, vᵢ · (H v)ᵢ is the trace of Hᵢᵢ.

    Hutchinson's estimator, for all layers at once: terms between layers average out.
    """
    import torch

    draws = {}
    for name in names:
        weight = model.get_submodule(name).weight
        bits = torch.randint(0, 2, weight.shape, generator=generator, dtype=torch.int8)
        draws[name] = (2 * bits - 1).to(weight.device, weight.dtype)
    return draws
