"""Gated feed-forward layers that compute only the neurons that a token's gate opens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from leanboard.metrics.roofline import WORK_VARIES
from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.facts import counted, noted
from leanboard.runners.techniques.kept import KEPT_SHARE, of_the_whole
from leanboard.runners.techniques.replacing import is_plain_float

if TYPE_CHECKING:
    import torch

    from leanboard.runners.techniques.base import Target

PARTS = ("gate_proj", "up_proj", "down_proj")


@dataclass(slots=True)
class Sparse:
    """What the layers of a model share.

    Args:
        everywhere: whether prompts and forwards of several positions are sparse too, and not only
            decoding.
        paused: whether every forward is dense at present.
        reads_prompt: whether the model's present forward began with an empty cache: what it reads
            is a prompt then, be it one token.
    """

    everywhere: bool
    paused: bool = False
    reads_prompt: bool = False

    def applies_to(self, positions: int) -> bool:
        """Whether a forward of so many positions is sparse."""
        if self.paused:
            return False
        return self.everywhere or (positions == 1 and not self.reads_prompt)


class SparseFeedForward:
    """The forward of a gated layer: of each token, the neurons with the largest gate activations.

    One token alone reads only their rows of the up and down projections. Of several together each
    has its own: what is not theirs is masked, which gives the same and saves no time.

    Args:
        layer: with ``gate_proj``, ``up_proj``, ``down_proj`` and ``act_fn``.
        kept: neurons that a token keeps.
        sparse: when.
    """

    def __init__(self, layer: torch.nn.Module, kept: int, sparse: Sparse) -> None:
        """Take a layer."""
        import torch

        self._plain = torch.nn.Linear, torch.nn.Parameter
        self._layer = layer
        self._neurons = int(layer.gate_proj.out_features)
        self._kept = kept
        self._sparse = sparse

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, (sequences, positions, hidden).

        Raises:
            UnsupportedError: if the layer was made narrower since a share of it was taken, or the
                rows of its weights cannot be read one by one any more.
        """
        layer = self._layer
        gate = layer.act_fn(layer.gate_proj(x))
        # Beside the product above this costs nothing, and what is applied later cannot evade it.
        if gate.shape[-1] != self._neurons:
            raise _narrower(gate.shape[-1], self._neurons)
        up, down = self._rows(layer.up_proj), self._rows(layer.down_proj)
        if not self._sparse.applies_to(x.shape[-2]):
            return layer.down_proj(gate * layer.up_proj(x))
        neurons = gate.abs().topk(self._kept, dim=-1, sorted=False).indices
        if x.numel() == x.shape[-1]:
            # Stored transposed (:func:`sparse_feed_forward`), so that a neuron is a row.
            return _gathered(x, gate, neurons.flatten(), up, down.t())
        import torch

        open_gate = torch.zeros_like(gate).scatter(-1, neurons, gate.gather(-1, neurons))
        return layer.down_proj(open_gate * layer.up_proj(x))

    def _rows(self, linear: torch.nn.Module) -> torch.Tensor:
        """Return a weight whose rows can be read one by one, which costs no more than to get it."""
        weight = linear._parameters.get("weight")
        if weight is None or (type(linear), type(weight)) != self._plain:
            raise UnsupportedError(
                "A feed-forward layer was quantised or factorised after contextual sparsity, which "
                "reads single rows of plain floats: the two cannot be combined."
            )
        return weight


def _gathered(
    x: torch.Tensor,
    gate: torch.Tensor,
    neurons: torch.Tensor,
    up: torch.Tensor,
    down: torch.Tensor,
) -> torch.Tensor:
    """Return what some neurons of a layer give one token.

    Args:
        x: of one token, of any shape.
        gate: of all neurons.
        neurons: their places.
        up: a row for each of all neurons, (neurons, hidden).
        down: the same.
    """
    up, down = up.index_select(0, neurons), down.index_select(0, neurons)
    inner = gate.flatten().index_select(0, neurons) * up.mv(x.flatten())
    return down.t().mv(inner).reshape(x.shape)


@contextmanager
def sparse_feed_forward(
    target: Target, density: float, *, everywhere: bool = False
) -> Iterator[Sparse]:
    """Let a model's gated layers keep a share of their neurons for each token, until exit.

    The down projections are stored transposed meanwhile, in as many bytes.

    Args:
        target: whose model is changed.
        density: share of the neurons that a token keeps; one at least.
        everywhere: whether prompts and forwards of several positions are sparse too.

    Raises:
        UnsupportedError: if the model has no such layers, or their weights are not plain floats;
            from a forward, if the layers were made narrower since.
    """
    layers = [_checked(name, layer) for name, layer in _gated(target.model)]
    kept = [max(1, round(density * layer.gate_proj.out_features)) for layer in layers]
    neurons = sum(layer.gate_proj.out_features for layer in layers)
    share = sum(kept) / neurons
    facts = {
        KEPT_SHARE: counted(of_the_whole(target, share)),
        "active_ffn_share": counted((1 + 2 * share) / 3),
        WORK_VARIES: counted(1),
    }
    sparse = Sparse(everywhere)
    told: AbstractContextManager[None] = nullcontext()
    if not everywhere:
        # Only where it is needed: a model with hooks answers one request after the other.
        told = _told_of_prompts(target.model, sparse)
    try:
        for layer, count in zip(layers, kept, strict=True):
            down = layer.down_proj.weight
            down.data = down.data.t().contiguous().t()
            layer.forward = SparseFeedForward(layer, count, sparse)
        with noted(target, facts), told:
            yield sparse
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)
            layer.down_proj.weight.data = layer.down_proj.weight.data.contiguous()


@contextmanager
def _told_of_prompts(model: torch.nn.Module, sparse: Sparse) -> Iterator[None]:
    """Tell the layers before each forward of a model whether its cache is empty, until exit.

    A cache is known by its type, however it is passed. Where there is none, nothing was read.
    """
    from transformers import Cache

    def look(_: torch.nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        caches = [value for value in (*given, *named.values()) if isinstance(value, Cache)]
        sparse.reads_prompt = all(int(cache.get_seq_length()) == 0 for cache in caches)

    handle = model.register_forward_pre_hook(look, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _narrower(neurons: int, before: int) -> UnsupportedError:
    return UnsupportedError(
        f"A feed-forward layer has {neurons} neurons and had {before} when contextual sparsity "
        "took its share of them: the density would not be the one that was asked for. Name "
        "contextual or sirius after what prunes: technique=[prune-width,contextual]."
    )


def check_density(density: float) -> None:
    """Check the knob.

    Raises:
        ConfigError: if it is out of range.
    """
    if not 0 < density <= 1:
        raise ConfigError(f"density={density} must be above 0 and at most 1.")


def _gated(model: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """Return the layers that have a gate."""
    found = [
        (name, module)
        for name, module in model.named_modules()
        if all(hasattr(module, part) for part in (*PARTS, "act_fn"))
    ]
    if not found:
        raise UnsupportedError(
            f"The model has no feed-forward layer with {', '.join(PARTS)} and act_fn: without a "
            "gate nothing tells which neurons a token needs."
        )
    return found


def _is_plain(linear: torch.nn.Module) -> bool:
    """Whether a layer is linear, of floats as they are, and without a bias."""
    import torch

    if type(linear) is not torch.nn.Linear or linear.bias is not None:
        return False
    return is_plain_float(linear.weight)


def _checked(name: str, layer: torch.nn.Module) -> torch.nn.Module:
    """Return a layer that computes ``down(act(gate(x)) * up(x))`` with plain floats."""
    import torch

    for part in PARTS:
        if not _is_plain(getattr(layer, part)):
            raise UnsupportedError(
                f"{name}.{part} is no linear layer of plain floats without a bias, whose rows "
                "could be skipped."
            )
    x = torch.ones(1, 2, layer.gate_proj.in_features).to(layer.gate_proj.weight)
    with torch.no_grad():
        expected = layer.down_proj(layer.act_fn(layer.gate_proj(x)) * layer.up_proj(x))
        if not torch.allclose(layer(x), expected, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise UnsupportedError(f"{name} computes something else than a gated layer does.")
    return layer
