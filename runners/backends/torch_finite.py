"""Which module of a model first gives something that is not finite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def first_not_finite(model: torch.nn.Module, ids: Sequence[int]) -> str | None:
    """Run a sequence alone and return the path of the first module whose output is not finite.

    A module is done before the one that holds it, so the innermost is named.
    """
    import torch

    found: list[str] = []

    def watch(name: str) -> Any:
        def look(_: torch.nn.Module, __: tuple[Any, ...], output: object) -> None:
            if not found and not all(bool(t.isfinite().all()) for t in _float_tensors(output)):
                found.append(name or type(model).__name__)

        return look

    device = next(model.parameters()).device
    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(module.register_forward_hook(watch(name)).remove)
        with torch.no_grad():
            model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False)
    return found[0] if found else None


def _float_tensors(output: object) -> Iterator[torch.Tensor]:
    import torch

    if isinstance(output, torch.Tensor):
        if output.is_floating_point():
            yield output
    elif isinstance(output, Mapping):
        yield from _float_tensors(list(output.values()))
    elif isinstance(output, Iterable) and not isinstance(output, str):
        for part in output:
            yield from _float_tensors(part)
