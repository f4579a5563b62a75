"""Putting other modules in the place of a model's own, and the model's own back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from leanboard.results.errors import UnsupportedError

if TYPE_CHECKING:
    import torch

    from leanboard.runners.techniques.base import Target


def body_linears(model: torch.nn.Module, *, output_head: bool = False) -> list[str]:
    """Return the names of a model's ``torch.nn.Linear`` modules, in the order of the model.

    Args:
        model: a causal language model.
        output_head: whether the output projection is one of them; it may be tied to the embedding.

    Raises:
        UnsupportedError: if there is none, or the weights of one may not be changed any more.
    """
    import torch

    head = model.get_output_embeddings()
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and (output_head or module is not head)
    ]
    if not names:
        raise UnsupportedError("The model has no linear layer that could be changed.")
    for name in names:
        if not may_change(model.get_submodule(name).weight):
            raise UnsupportedError(
                f"The weights of {name} are quantised already: name what quantises after all that "
                "changes weights."
            )
    return names


def is_plain_float(parameter: Any) -> bool:
    """Return whether a parameter is stored as floats, one for each weight and without scales."""
    import torch

    plain = type(parameter) is torch.nn.Parameter and parameter.is_floating_point()
    return bool(plain and parameter.element_size() > 1)


def may_change(parameter: Any) -> bool:
    """Return whether a technique may write to a parameter: plain floats that none has rounded.

    A technique whose weights must stay as it made them (rounded to a grid, for instance), and
    which stores them as plain floats all the same, sets ``requires_grad`` to false.
    """
    return is_plain_float(parameter) and bool(parameter.requires_grad)


@contextmanager
def replaced(
    target: Target,
    names: Sequence[str],
    make: Callable[[str, torch.nn.Module], torch.nn.Module],
) -> Iterator[None]:
    """Put another module in the place of each named one; put the old ones back on exit.

    The old modules' parameters are dropped one by one as they are replaced, so that memory holds
    the model once, and are read from the checkpoint again on exit.

    Args:
        target: whose model is changed.
        names: modules of the model, none inside another.
        make: gives the new module for a name and the old module, whose weights it may still read.
    """
    old: dict[str, torch.nn.Module] = {}
    try:
        for name in names:
            module = target.model.get_submodule(name)
            new = make(name, module)
            old[name] = module
            target.model.set_submodule(name, new)
            for part in module.modules():
                part._parameters.update(dict.fromkeys(part._parameters))
        yield
    finally:
        inner = []
        for name, module in old.items():
            target.model.set_submodule(name, module)
            inner += [f"{name}.{part}" if part else name for part, _ in module.named_modules()]
        target.restore(inner)
