"""Linear layers as a dictionary and a sparse matrix of coefficients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ArmError, ConfigError
from leanboard.runners.techniques.base import FACTORS, Target, TechniqueDefaults
from leanboard.runners.techniques.facts import counted, noted
from leanboard.runners.techniques.lowrank.budget import (
    bias_of,
    check_kept,
    check_text,
    float_weight,
    matrix_bytes,
    parameters_in,
)
from leanboard.runners.techniques.replacing import body_linears, replaced

if TYPE_CHECKING:
    import torch

    from leanboard.runners.techniques.lowrank.dictionary import Budget

_FILE = "dictionaries.safetensors"
_PLACES = ("int16", "mask")


@dataclass(frozen=True, slots=True)
class CoSpaDi(TechniqueDefaults):
    """Write every linear layer as a dictionary times a matrix with few entries a column.

    Every output feature picks its own atoms, so that the outputs lie in a union of subspaces
    where those of a low-rank layer share one. Dictionary, coefficients and the places of the
    coefficients take the given share of the bytes of the matrix. They are fitted to the layer's
    output on calibration text, whitened as in ``whitened-svd``.

    This is not the paper's learner: there is no orthogonal matching pursuit and no K-SVD. Which
    atoms an output uses is chosen while the atoms are orthonormal; then atoms and coefficients are
    fitted freely, and the choice is not made again. That takes seconds a layer on two cores.
    A token alone goes through the sparse product (compressed rows), which with every second entry
    in use takes longer than a dense one; for many tokens at once the coefficients are written out
    first, which on a CPU is about as fast as the layer was.

    Source: Makhov et al., CoSpaDi: Compressing LLMs via Calibration-Guided Sparse Dictionary
    Learning, arXiv:2509.22075.

    Library: leanboard's own code on torch; a token alone goes through torch's product of compressed
    sparse rows.

    Limits: Prompts, and batches of more than eight, write the coefficients out as a dense matrix in
    every layer of every forward, and a token alone widens their places to the four bytes that the
    sparse product reads: how long that takes is no measure of the format. The Gram matrices of all
    layers' inputs are in memory at once while it is made. No quantiser goes with it, before or
    after: what is stored is no linear layer any more.

    Args:
        kept: share of the bytes of each matrix, above 0 and at most 1.
        atoms_per_nonzero: atoms of the dictionary for each coefficient of an output, 1 or more;
            the paper's k / s.
        places: how it is stored which atoms the coefficients belong to: ``int16``, two bytes for
            each coefficient; or ``mask``, a bit for each atom, as the paper counts it, which leaves
            room for more of them but takes milliseconds a layer to read for every token.
        rounds: how often the places are chosen anew, 1 or more.
        samples: pieces of calibration text, 1 or more.
        tokens: tokens of each piece, 2 or more.
        seed: draws the pieces.
    """

    version: ClassVar[int] = 1
    calibrated: ClassVar[bool] = True
    exclusive: ClassVar[str | None] = FACTORS

    kept: float = 0.8
    atoms_per_nonzero: float = 2.0
    places: str = "int16"
    rounds: int = 6
    samples: int = 32
    tokens: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        check_kept(self.kept)
        check_text(self.samples, self.tokens)
        if self.places not in _PLACES:
            raise ConfigError(f"places={self.places!r} is unknown; choose {', '.join(_PLACES)}.")
        if self.atoms_per_nonzero < 1 or self.rounds < 1:
            raise ConfigError(
                f"atoms_per_nonzero={self.atoms_per_nonzero} and rounds={self.rounds} must be 1 "
                "or more."
            )

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Learn a dictionary for every layer."""
        from safetensors.torch import save_file

        from leanboard.runners.techniques.lowrank.factors import body_weights
        from leanboard.runners.techniques.lowrank.whitening import with_lower_factors
        from leanboard.runners.techniques.short_training import progress

        weights = body_weights(target.model)
        ids = target.calibration(self.samples, self.tokens, self.seed)
        yield f"reading {ids.numel()} tokens of calibration text"
        tensors: dict[str, torch.Tensor] = {}
        layers = with_lower_factors(target.model, weights, ids)
        for number, (name, weight, lower) in enumerate(layers, start=1):
            for part, tensor in self._learn(weight, lower).items():
                tensors[f"{name}.{part}"] = tensor.cpu().contiguous()
            yield from progress(number, len(weights), "dictionaries learnt")
        save_file(tensors, folder / _FILE)

    def _learn(self, weight: torch.Tensor, lower: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the parts of one layer."""
        import torch

        from leanboard.runners.techniques.lowrank.dictionary import learn

        rows, columns = weight.shape
        atoms, nonzeros = self._budget().fit(rows, columns, weight.element_size())
        whitened = (weight.double() @ lower).float()
        found = learn(whitened, atoms, nonzeros, self.rounds)
        dictionary = torch.linalg.solve_triangular(
            lower, found.atoms.double(), upper=False, left=False
        )
        return {
            "dictionary": dictionary.to(weight.dtype),
            "values": found.values.to(weight.dtype),
            "places": found.places.to(torch.int16),
        }

    def _budget(self) -> Budget:
        from leanboard.runners.techniques.lowrank.dictionary import Budget

        return Budget(self.kept, self.atoms_per_nonzero, masked=self.places == "mask")

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Put dictionaries and coefficients in the place of the layers."""
        if target.made is None:
            raise ArmError("The dictionaries are learnt by `leanboard run` before they are used.")
        return _applied(target, target.made / _FILE, masked=self.places == "mask")


@contextmanager
def _applied(target: Target, file: Path, *, masked: bool) -> Iterator[None]:
    from safetensors import safe_open

    from leanboard.runners.techniques.lowrank.sparse_linear import SparseLinear

    names = body_linears(target.model)
    bytes_before = sum(
        float_weight(name, target.model.get_submodule(name)).nbytes for name in names
    )
    with ExitStack() as stack:
        with safe_open(file, "pt") as tensors:

            def make(name: str, module: torch.nn.Module) -> torch.nn.Module:
                weight = module.get_parameter("weight")
                dictionary, values, places = (
                    tensors.get_tensor(f"{name}.{part}").to(weight.device, copy=True)
                    for part in ("dictionary", "values", "places")
                )
                bias = bias_of(module)
                return SparseLinear(dictionary, places.long(), values, bias, masked=masked).eval()

            stack.enter_context(replaced(target, names, make))
        layers = [target.model.get_submodule(name) for name in names]
        facts = {
            "kept_share": counted(sum(map(matrix_bytes, layers)) / bytes_before),
            "parameters_kept": counted(parameters_in(target.model)),
            "dictionary_atoms": counted(_mean([len(layer.dictionary) for layer in layers])),
            "nonzeros_per_output": counted(_mean([layer.values.shape[1] for layer in layers])),
        }
        stack.enter_context(noted(target, facts))
        yield


def _mean(numbers: list[int]) -> float:
    return sum(numbers) / len(numbers)
