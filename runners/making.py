"""What techniques make once and read at every load: its place, its making, its calibration text.

It is made in a process of its own before anything is timed, and kept by what it follows from: the
model, the dtype, the techniques before it, its knobs, the calibration text, torch and transformers;
and by the machine, where times are measured for it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.results import identity
from leanboard.results.errors import ArmError, UnsupportedError
from leanboard.runners.backends.base import Device, ModelFiles
from leanboard.runners.cache import Say, being_built, write_text
from leanboard.runners.machine import nvml
from leanboard.runners.machine.cpu import cpu_info, cpu_limit
from leanboard.runners.passages import Pool
from leanboard.runners.techniques.base import MadeTechnique, Target, Technique, knobs_of
from leanboard.runners.techniques.facts import MAKING_S

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

_SILENCE_S = 3600.0
"""A technique that says nothing for so long is ended."""
_SAY_EVERY_S = 10.0
_PACKAGES = ("torch", "transformers")
_TOOK = "took.json"
_ORDER = 2
"""How pieces of calibration text are drawn; another number for another way."""


def keep_calibration(pool: Pool, cache: Path) -> Path:
    """Return the file of the texts that techniques are calibrated with; write it if need be.

    Args:
        pool: the passages; prompts are of the same pool, what is scored is not.
        cache: root of the cache.
    """
    file = cache / "calibration" / f"{pool.sha256}.jsonl"
    if not file.exists():
        lines = (json.dumps(passage.text, ensure_ascii=False) for passage in pool.passages)
        write_text(file, "".join(f"{line}\n" for line in lines))
    return file


def calibration_pieces(
    tokenizer: PreTrainedTokenizerBase, file: Path | None, samples: int, tokens: int, seed: int
) -> torch.Tensor:
    """Return pieces of the texts as token ids, int64, (samples, tokens).

    The texts follow each other in an order drawn with the seed, the reverse of that in which
    prompts are drawn: so nothing is calibrated on what is timed, unless nearly all text is asked
    for. Each is ended by the end-of-text token; pieces do not overlap.

    Raises:
        UnsupportedError: if there is no text, or less than was asked for.
    """
    import torch

    if file is None:
        raise UnsupportedError("There is no calibration text here: run it with `leanboard run`.")
    texts = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    texts.sort(key=lambda text: hashlib.sha256(f"{seed}:{text}".encode()).digest(), reverse=True)
    ids: list[int] = []
    for text in texts:
        if len(ids) >= samples * tokens:
            break
        ids += tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        ids.append(int(tokenizer.eos_token_id))
    if len(ids) < samples * tokens:
        raise UnsupportedError(
            f"The calibration text has {len(ids)} tokens, {samples} samples of {tokens} were asked "
            "for. Ask for fewer, or give more text: data.passages_path=FILE."
        )
    return torch.tensor(ids[: samples * tokens]).reshape(samples, tokens)


def made_folder(
    model: ModelFiles, applied: Sequence[Technique], dtype: str, device: Device
) -> Path:
    """Return the folder that the last of these techniques fills.

    Args:
        model: that it is made for.
        applied: the techniques in order, up to the one that makes something.
        dtype: in which the weights are loaded.
        device: on which they run.

    Raises:
        UnsupportedError: if this model has no place for it.
    """
    if model.made is None:
        raise UnsupportedError(f"There is no cache for what techniques make of {model.name}.")
    calibrated = any(technique.calibrated for technique in applied)
    text = model.calibration.name if calibrated and model.calibration is not None else None
    key = {
        "model": model.content_hash,
        "dtype": dtype,
        "techniques": [*map(_described, applied[:-1]), _described(applied[-1], making=True)],
        "calibration": [text, _ORDER] if calibrated else None,
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }
    if any(map(_measures_times, applied)):
        key["machine"] = _machine(device)
    return model.made / f"{type(applied[-1]).__name__.lower()}-{identity.digest(key)[:16]}"


def _described(technique: Technique, *, making: bool = False) -> dict[str, Any]:
    """Return what a technique is: all its knobs, or those that say what it makes."""
    left_out = technique.applied_knobs if making else frozenset()
    knobs = {knob: value for knob, value in knobs_of(technique).items() if knob not in left_out}
    return {"name": _path(technique), "version": technique.version, "knobs": knobs}


def _measures_times(technique: Technique) -> bool:
    return any(getattr(technique, knob) is not None for knob in technique.timed_knobs)


def _machine(device: Device) -> dict[str, Any]:
    """Return what the time of a computation follows from."""
    cpu = cpu_info()
    gpus = nvml.gpus() if device.kind == "cuda" else ()
    return {
        "cpu": [cpu.name, list(cpu.flags), cpu.logical_cores, cpu_limit()],
        "gpus": [gpu.name for gpu in gpus],
        "threads": device.threads,
    }


def _path(technique: Technique) -> str:
    return f"{type(technique).__module__}.{type(technique).__qualname__}"


def made_folders(
    model: ModelFiles, techniques: Sequence[Technique], dtype: str, device: Device
) -> Iterator[Path]:
    """Yield the folders that techniques fill, each with those before it applied; see above."""
    for place, technique in enumerate(techniques):
        if isinstance(technique, MadeTechnique):
            yield made_folder(model, techniques[: place + 1], dtype, device)


def unmade(model: ModelFiles, techniques: Sequence[Technique], dtype: str, device: Device) -> bool:
    """Return whether a technique makes something that is not there yet."""
    folders = made_folders(model, techniques, dtype, device)
    return not all(folder.exists() for folder in folders)


def made(technique: MadeTechnique, target: Target, folder: Path) -> Iterator[str]:
    """Let a technique fill its folder; yield its lines of progress. What is there is kept.

    How long it took is written into the folder.

    Raises:
        UnsupportedError: if it cannot do it; the reason is kept for those who load it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    refusal = _refusal(folder)
    refusal.unlink(missing_ok=True)
    with being_built(folder, lambda _: None) as part:
        if part is None:
            return
        started_s = time.perf_counter()
        try:
            yield from technique.make(target, part)
            write_text(part / _TOOK, json.dumps({MAKING_S: time.perf_counter() - started_s}))
        except UnsupportedError as error:
            write_text(refusal, str(error))
            raise


def require_made(
    model: ModelFiles, applied: Sequence[Technique], dtype: str, device: Device
) -> Path | None:
    """Return the folder that the last of these techniques filled; ``None`` if it makes nothing.

    Raises:
        UnsupportedError: if it said that it cannot.
        ArmError: if it was not made, or its making failed.
    """
    if not isinstance(applied[-1], MadeTechnique):
        return None
    folder = made_folder(model, applied, dtype, device)
    if folder.exists():
        return folder
    refusal = _refusal(folder)
    if refusal.exists():
        raise UnsupportedError(refusal.read_text(encoding="utf-8"))
    name = type(applied[-1]).__name__
    raise ArmError(f"What {name} makes before the measurement could not be made: see its message.")


def making_facts(folders: Sequence[Path | None]) -> dict[str, Quantity]:
    """Return how long it took to make what is in these folders; empty where one does not say."""
    taken = [making_s(folder) for folder in folders if folder is not None]
    told = [seconds for seconds in taken if seconds is not None]
    if not told or len(told) < len(taken):
        return {}
    return {MAKING_S: Quantity(sum(told), "s", Provenance.MEASURED)}


def making_s(folder: Path) -> float | None:
    """Return the seconds that it took to fill a folder; ``None`` where it does not say."""
    note = folder / _TOOK
    if not note.exists():
        return None
    return float(json.loads(note.read_text(encoding="utf-8"))[MAKING_S])


def _refusal(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.refused")


def make_apart(
    backend: object,
    model: ModelFiles,
    techniques: Sequence[Technique],
    device: Device,
    say: Say,
) -> None:
    """Make what the techniques lack in a process of its own; say its lines of progress.

    Args:
        backend: a dataclass with a method ``make``.
        model: that it is made for.
        techniques: in order.
        device: on which.
        say: receives the lines.

    Raises:
        LeanboardError: what the process said.
    """
    # Here, because the worker's messages name backends.
    from leanboard.runners import wire
    from leanboard.runners.isolate import Worker

    if model.made is None:
        raise UnsupportedError(f"There is no cache for what techniques make of {model.name}.")
    with Worker("making", model.made / "making.log") as worker:
        worker.call(
            "make",
            _SILENCE_S,
            model=wire.model_to_wire(model),
            device=wire.device_to_wire(device),
            backend=_config(backend),
            techniques=[_config(technique) for technique in techniques],
        )
        ended, said_s = False, -math.inf
        while not ended:
            reply = worker.call("more", _SILENCE_S)
            ended = reply["ended"]
            # Techniques tell of every step; the newest of some seconds is enough to a reader.
            if reply["items"] and (ended or time.monotonic() - said_s >= _SAY_EVERY_S):
                said_s = time.monotonic()
                say(reply["items"][-1])


def _config(component: Any) -> dict[str, Any]:
    """Return the config that makes a component again."""
    return {"_target_": _path(component), **asdict(component)}
