"""How long making what is calibrated or trained will take: told without bringing a model."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leanboard.results.errors import LeanboardError
from leanboard.runners.backends.base import ModelFiles
from leanboard.runners.backends.transformers import asked_dtype
from leanboard.runners.conversion import model_cache
from leanboard.runners.estimate import Estimate, History
from leanboard.runners.grid import ArmSpec, BlockSpec
from leanboard.runners.making import made_folders, making_s
from leanboard.runners.progress import clock_text


@dataclass(frozen=True, slots=True)
class ArmMaking:
    """What an arm reads that is made once.

    Args:
        left_s: seconds of making what is not kept and no other arm makes; ``None``: not known.
        took_s: seconds that all of it took when it was made; ``None``: not known.
        kept: whether the cache holds all of it.
        looked_up: whether the names of model and text are known by which the cache keeps it.
    """

    left_s: float | None
    took_s: float | None
    kept: bool = False
    looked_up: bool = True

    def text(self) -> str:
        """Return it as a person reads it in the row of the arm."""
        if self.kept:
            return "kept" if self.took_s is None else f"kept; took {clock_text(self.took_s)}"
        if self.left_s is None:
            return "not known yet"
        return clock_text(self.left_s) if self.left_s > 0 else "with another arm"


@dataclass(frozen=True, slots=True)
class _Reads:
    """The folders that an arm reads, how long they took to fill, and if their names are known."""

    folders: tuple[Path, ...]
    took_s: float | None
    looked_up: bool


Makings = Mapping[tuple[int, str], ArmMaking]
"""By the number of the block and the label of the arm; without those that read nothing made."""


def makings(specs: Sequence[BlockSpec], known: History) -> Makings:
    """Return what the making for each arm will take; what arms share counts for one of them.

    Whether something is kept is told by the hashes of model and text in the newest records, as the
    models may not have been brought yet.
    """
    read = {}
    for number, spec in enumerate(specs):
        estimate = Estimate.of(spec, known)
        for arm in spec.arms:
            if reads := _reads(spec, arm, estimate):
                read[number, arm.label] = reads
    # What is told by one arm alone says which part of a sum is the other's.
    told_first = sorted(read, key=lambda at: (read[at].took_s is None, len(read[at].folders)))
    done: dict[Path, float | None] = {}
    return {at: _making(read[at], done) for at in told_first}


def _reads(spec: BlockSpec, arm: ArmSpec, estimate: Estimate) -> _Reads | None:
    techniques = [technique.build() for technique in arm.techniques]
    known = estimate.history
    content_hash = known.weights.get(spec.model.name)
    text = known.text if any(technique.calibrated for technique in techniques) else ""
    # Under a name of no model, two arms still share what would fill the same folder.
    named = content_hash or f"unknown-{spec.model.name}"
    cache = model_cache(named, spec.cache)
    model = ModelFiles(
        name=spec.model.name,
        content_hash=named,
        folder=cache,
        gguf=None,
        gguf_cache=cache,
        weights_origin="",
        parameters=0,
        made=cache / "made",
        calibration=Path(f"{text or 'unknown'}.jsonl"),
    )
    try:
        dtype = asked_dtype(techniques, spec.device)
        folders = tuple(made_folders(model, techniques, dtype, spec.device))
    except LeanboardError:
        return None  # It cannot be loaded either, and says why in its row.
    looked_up = content_hash is not None and text is not None
    return _Reads(folders, estimate.making_s(spec, arm), looked_up) if folders else None


def _making(reads: _Reads, done: dict[Path, float | None]) -> ArmMaking:
    """Return what is left of an arm's making, and note it as done.

    Args:
        reads: what the arm reads.
        done: seconds of each folder that is kept, or that an arm before this one fills.
    """
    kept = {folder: making_s(folder) for folder in reads.folders if folder.exists()}
    done.update(kept)
    new = [folder for folder in reads.folders if folder not in done]
    left_s = reads.took_s if new else 0.0
    if new and left_s is not None:
        others = (done[folder] or 0.0 for folder in reads.folders if folder in done)
        left_s = max(0.0, left_s - sum(others))
    # Of several that are told in one sum, each is taken for an equal part.
    done.update((folder, None if left_s is None else left_s / len(new)) for folder in new)
    return ArmMaking(left_s, reads.took_s, len(kept) == len(reads.folders), reads.looked_up)


def in_words(found: Collection[ArmMaking]) -> str:
    """Return what the making adds to a plan's time, to be put behind it; empty if nothing.

    It begins with a comma.
    """
    left_s = sum(making.left_s for making in found if making.left_s is not None)
    unknown = sum(making.left_s is None for making in found)
    if not left_s and not unknown:
        return ", and what is calibrated or trained is kept" if found else ""
    time = clock_text(left_s) if left_s else "the time"
    unsure = "" if all(making.looked_up for making in found) else " if it is not kept yet"
    words = f", and {time} of making what is calibrated or trained, once{unsure}"
    if not unknown:
        return words
    return f"{words}; for {unknown} {'arm' if unknown == 1 else 'arms'} that is not known"
