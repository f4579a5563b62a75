"""Bytes of tensors as they are really stored: weights and key-value caches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import Cache


def plain_tensors(tensor: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the plain tensors behind a tensor: packed data, scales, zero points of a subclass."""
    if not hasattr(tensor, "__tensor_flatten__"):
        yield tensor
        return
    names, _ = tensor.__tensor_flatten__()
    for name in names:
        yield from plain_tensors(getattr(tensor, name))


def stored_bytes(tensors: Iterable[torch.Tensor]) -> int:
    """Return the bytes that the tensors take; what shares storage is counted once.

    Views count for what they show, so that a file mapped into memory is not counted whole.
    """
    storages: dict[tuple[str, int], tuple[int, dict[tuple[int, int], None]]] = {}
    for outer in tensors:
        for tensor in plain_tensors(outer):
            storage = tensor.untyped_storage()
            shown = tensor.numel() * tensor.element_size()
            key = (str(tensor.device), storage.data_ptr())
            _, views = storages.setdefault(key, (storage.nbytes(), {}))
            views[tensor.storage_offset() * tensor.element_size(), shown] = None
    return sum(min(size, sum(shown for _, shown in views)) for size, views in storages.values())


def weight_bytes(model: torch.nn.Module) -> int:
    """Return the bytes of all parameters and persistent buffers; tied weights once."""
    return stored_bytes(_weights(model))


def _weights(model: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from model.parameters()
    for module in model.modules():
        # Buffers that are not saved (rotary tables) are derived, not weights.
        unsaved = module._non_persistent_buffers_set
        for name, buffer in module.named_buffers(recurse=False):
            if name not in unsaved:
                yield buffer


def cache_bytes(cache: Cache) -> int:
    """Return the bytes of a transformers ``Cache``: keys, values, scales, indices and counters.

    A static cache counts for all that it allocated, a dynamic one for what it holds.
    """
    return stored_bytes(
        tensor
        for layer in cache.layers
        for value in vars(layer).values()
        for tensor in _inside(value)
    )


def _inside(value: object) -> Iterator[torch.Tensor]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _inside(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _inside(part)
