"""How many bytes a factorised layer may keep, and what is counted of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.replacing import may_change

if TYPE_CHECKING:
    import torch


def check_kept(kept: float, *, most: float = 1.0) -> None:
    """Check a share of bytes that is to be kept.

    Raises:
        ConfigError: if it is not above 0 and at most ``most``.
    """
    if not 0 < kept <= most:
        raise ConfigError(f"kept={kept} must be above 0 and at most {most}: the share of bytes.")


def check_text(samples: int, tokens: int) -> None:
    """Check how much calibration text is asked for.

    Raises:
        ConfigError: if there is no sample, or they have no token to predict.
    """
    if samples < 1 or tokens < 2:
        raise ConfigError(
            f"samples={samples} must be 1 or more, and tokens={tokens} 2 or more: calibration text."
        )


def rank_for(rows: int, columns: int, kept: float) -> int:
    """Return the largest rank whose two factors take at most a share of the matrix.

    ``rank (rows + columns) <= kept rows columns``.

    Raises:
        UnsupportedError: if not even rank 1 fits.
    """
    rank = int(kept * rows * columns / (rows + columns))
    if rank < 1:
        raise UnsupportedError(
            f"A layer of {rows} x {columns} cannot be kept in {kept} of its bytes: rank 1 takes "
            f"{(rows + columns) / (rows * columns):.3f}. Keep more."
        )
    return rank


def float_weight(name: str, module: torch.nn.Module) -> torch.Tensor:
    """Return the weight of a linear layer, (out features, in features), without its graph.

    Raises:
        UnsupportedError: if it is no plain float matrix: it was quantised before.
    """
    weight = module.get_parameter("weight")
    if not may_change(weight):
        raise UnsupportedError(
            f"The weight of {name} is not stored as plain floats. Factorise before you quantise: "
            "name the techniques in that order."
        )
    plain: torch.Tensor = weight.detach()
    return plain


def matrix_bytes(module: torch.nn.Module) -> int:
    """Return the bytes that a module stores for its matrix: all but the bias of the output."""
    stored: int = sum(t.nbytes for t in (*module.parameters(), *module.buffers()))
    bias = bias_of(module)
    return stored - (0 if bias is None else bias.nbytes)


def bias_of(module: torch.nn.Module) -> torch.nn.Parameter | None:
    """Return the bias that a linear layer, or what replaced it, adds to its output."""
    biases = [p for name, p in module.named_parameters() if name.split(".")[-1] == "bias"]
    return biases[-1] if biases else None


def parameters_in(model: torch.nn.Module) -> int:
    """Return the parameters of a model, tied ones once: what a token is multiplied with."""
    found: int = sum(parameter.numel() for parameter in model.parameters())
    return found
