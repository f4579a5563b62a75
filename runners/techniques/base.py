"""What a technique is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from leanboard.metrics.trace import Quantity

if TYPE_CHECKING:
    import torch
    from transformers import Cache


WEIGHT_FORMAT = "weight-format"
"""How the weights of linear layers are stored: ``exclusive`` of every quantiser on torch."""

FACTORS = "factors"
"""By what the matrices of linear layers are replaced: ``exclusive`` of low rank and sharing."""

FILE_TYPE = "file-type"
"""Of which type the file of the weights is: ``exclusive`` of every quantiser on llama.cpp."""


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What a technique asks of the backend before the weights are read.

    Args:
        dtype: dtype of the float weights (``bfloat16``); ``None`` keeps the reference dtype.
        gguf_type: type of the GGUF file that llama.cpp loads (``q8_0``).
    """

    dtype: str | None = None
    gguf_type: str | None = None


class Target(Protocol):
    """What a technique may change: the loaded module and how it generates."""

    model: torch.nn.Module
    generation: dict[str, Any]
    """Keyword arguments that every ``generate`` call receives."""
    new_cache: Callable[[], Cache] | None
    """Gives the empty key-value cache that spans are scored through, token by token.

    For a technique whose effect is only in its cache (rounding, dropping); else ``None``.
    """

    facts: dict[str, Quantity]
    """What a technique counted of itself while it was applied (``weight_bits`` ...), by name."""
    notes: list[str]
    """What a reader of its scores must know of the techniques."""
    no_likelihoods: str | None
    """Why the likelihood of a text says nothing of the model as it answers; ``None`` where it does.

    Likelihoods are then refused with this reason. Answers are generated all the same.
    """

    made: Path | None
    """Folder that the technique being applied filled before (:class:`MadeTechnique`)."""

    def restore(self, names: list[str]) -> None:
        """Read these modules' parameters again from the checkpoint, replacing what is there.

        So that a technique need not hold the originals while its memory is measured.
        """

    def calibration(self, samples: int, tokens: int, seed: int) -> torch.Tensor:
        """Return pieces of real text as token ids, int64, (samples, tokens), on the CPU.

        The text shares no article with the one that perplexity and fidelity are taken on. The
        same seed gives the same pieces; no piece overlaps another.

        Raises:
            UnsupportedError: if there is less text than was asked for.
        """


class Technique(Protocol):
    """A small frozen dataclass; its fields are its knobs.

    Attributes:
        version: behaviour version; raised whenever the same knobs would give other numbers.
        backends: names of the backends that can do it.
        conflicts: names of techniques that it cannot be combined with.
        exclusive: what it alone may decide; of the techniques that name the same, one is applied.
        simulates: metrics that it only simulates and must not be credited with.
        quantises: whether it rounds the weights (a quantised origin then warns ``requantised``).
        shares_prefixes: whether keys and values of tokens that several texts begin with may be
            computed once; no, where they depend on what follows, or on how many were fed at once.
        lossless: whether greedy output is the baseline's by construction, ties apart.
        calibrated: whether it reads calibration text, whose hash is then part of its identity.
        trained: whether it takes gradient steps on that text, which last as long as its knobs say;
            what is calibrated and not trained reads statistics of it.
        applied_knobs: knobs that only ``apply`` reads; what is made serves all their values.
        later_knobs: knobs that records older than they are lack: at its default such a knob is in
            no identity, so that what was measured before it came is what is measured without it.
        timed_knobs: knobs that let ``make`` measure times where they are set: what is made then
            serves the processor, the threads and the GPU that it was made with, and no others.
        expanded_by: whose code expands the weights to floats at every forward (``leanboard``,
            ``hqq``), where no kernel computes with them as they are stored; else empty. The times
            of such an arm are no measure of its format.
        products: dtype of the matrix products where it is not that of the model (``int8``).
    """

    version: ClassVar[int]
    backends: ClassVar[frozenset[str]]
    conflicts: ClassVar[frozenset[str]]
    exclusive: ClassVar[str | None]
    simulates: ClassVar[frozenset[str]]
    quantises: ClassVar[bool]
    shares_prefixes: ClassVar[bool]
    lossless: ClassVar[bool]
    calibrated: ClassVar[bool]
    trained: ClassVar[bool]
    applied_knobs: ClassVar[frozenset[str]]
    later_knobs: ClassVar[frozenset[str]]
    timed_knobs: ClassVar[frozenset[str]]
    expanded_by: ClassVar[str]
    products: ClassVar[str | None]

    def import_libraries(self) -> None:
        """Import what ``apply`` needs, so that a load is timed without it.

        Raises:
            MissingDependencyError: if an optional package is not installed.
        """

    def load_options(self) -> LoadOptions:
        """Return what the backend must know before it loads."""

    def apply(self, target: Target) -> AbstractContextManager[None]:
        """Change the target for real; put everything back on exit.

        Raises:
            UnsupportedError: if this model, device or installation cannot do it.
        """


@runtime_checkable
class MadeTechnique(Technique, Protocol):
    """A technique with a part that is made once, kept in the cache and read by ``apply``.

    Pruned or quantised weights that were calibrated, a fine-tune, a search. What it makes follows
    from the model, the techniques before it, its own knobs (but for ``applied_knobs``) and the
    calibration text alone; with one of ``timed_knobs`` from the times of the machine too.
    """

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Fill a folder with what ``apply`` will read (``target.made``); yield lines of progress.

        The techniques before this one are applied to the target. It may be left changed: the
        process ends with it.

        Raises:
            UnsupportedError: if this model, device or installation cannot do it.
        """


class TechniqueDefaults:
    """What most techniques declare alike; each says what differs."""

    __slots__ = ()

    backends: ClassVar[frozenset[str]] = frozenset({"transformers"})
    conflicts: ClassVar[frozenset[str]] = frozenset()
    exclusive: ClassVar[str | None] = None
    simulates: ClassVar[frozenset[str]] = frozenset()
    quantises: ClassVar[bool] = False
    shares_prefixes: ClassVar[bool] = True
    lossless: ClassVar[bool] = False
    calibrated: ClassVar[bool] = False
    trained: ClassVar[bool] = False
    applied_knobs: ClassVar[frozenset[str]] = frozenset()
    later_knobs: ClassVar[frozenset[str]] = frozenset()
    timed_knobs: ClassVar[frozenset[str]] = frozenset()
    expanded_by: ClassVar[str] = ""
    products: ClassVar[str | None] = None

    def import_libraries(self) -> None:
        """Import nothing: what the backend imports is enough."""

    def load_options(self) -> LoadOptions:
        """Ask for nothing: the weights are changed after they are loaded."""
        return LoadOptions()


def knobs_of(technique: Technique) -> dict[str, Any]:
    """Return the knobs that tell a technique from others, all but ``later_knobs`` at defaults."""
    component: Any = technique
    later = {
        field.name: field.default
        for field in fields(component)
        if field.name in technique.later_knobs
    }
    return {
        knob: value
        for knob, value in asdict(component).items()
        if knob not in later or value != later[knob]
    }
