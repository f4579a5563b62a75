"""The command line that runs a record's cell and its baseline again.

Whatever a record says is untrusted text: values are quoted for Hydra's grammar, interpolations
are escaped, and every word is quoted for the shell.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from leanboard.results.schema import (
    AccuracyCell,
    Component,
    DeviceProfile,
    ModelIdentity,
    PerformanceCell,
    Procedure,
    Record,
    Task,
    Workload,
)
from leanboard.results.store import place_of

PUBLISHED = "results/records"
"""Where a checkout keeps the published records."""

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(\.[0-9]+)*")
_WORDS_OF_THE_GRAMMAR = frozenset({"true", "false", "null", "inf", "nan"})
_OFFLINE = ("package", "dir")
_WORKLOAD_SIZES = ("prompt_tokens", "output_tokens", "batch_size", "prompts")
_PROCEDURE_SIZES = (
    "rounds",
    "rounds_per_launch",
    "warmup_rounds",
    "max_warmup_rounds",
    "max_rounds",
    "target_width",
    "time_budget_s",
    "watched",
    "seed",
    "timeout_s",
)


def run_command(record: Record) -> str:
    """Return the shell line ``leanboard run ...`` that measures this cell again.

    Everything that the record holds is spelled out: named configs may change, and a run may have
    overridden them. Seeds of prompts are not on a record; ``prompts_hash`` tells whether they are
    the same. For a model from a local folder the reader fills in ``FOLDER``.
    """
    return shlex.join(["leanboard", "run", *overrides(record.cell)])


def reproduce_command(record: Record) -> str:
    """Return the shell line that runs a published record again, in a checkout, and judges it."""
    path = PurePosixPath(PUBLISHED, *place_of(record).parts)
    return shlex.join(["leanboard", "reproduce", str(path)])


def hydra_value(value: object) -> str:
    """Return a JSON value in Hydra's override grammar, to be read back as the same value."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        pairs = (f"{hydra_value(key)}:{hydra_value(item)}" for key, item in sorted(value.items()))
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, Sequence):
        return "[" + ",".join(hydra_value(item) for item in value) + "]"
    return json.dumps(value)


@lru_cache(maxsize=4096)
def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS_OF_THE_GRAMMAR:
        return text
    # OmegaConf reads ``\${`` as the two characters, and any backslashes before it by pairs.
    literal = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", text)
    # Hydra unescapes backslashes only where they stand before a quote.
    quoted = re.sub(r"(\\*)('|\Z)", lambda m: m[1] * 2 + (r"\'" if m[2] else ""), literal)
    return f"'{quoted}'"


def overrides(cell: PerformanceCell | AccuracyCell) -> Iterator[str]:
    """Yield the Hydra overrides that ask for a cell, as they are before the shell."""
    yield from _model(cell.model)
    yield f"technique={_technique_names(cell.techniques)}"
    if isinstance(cell, PerformanceCell):
        yield from _sizes("workload", cell.workload, _WORKLOAD_SIZES)
    yield f"backend={hydra_value(cell.backend.name)}"
    yield from _hardware(cell.device)
    if isinstance(cell, PerformanceCell):
        yield from _sizes("procedure", cell.procedure, _PROCEDURE_SIZES)
        yield "accuracy=none"
    else:
        yield from _accuracy(cell.task)
    yield from _knobs("backend", cell.backend)
    for technique in cell.techniques:
        yield from _knobs(f"technique.{technique.name}", technique)


def _technique_names(techniques: Sequence[Component]) -> str:
    names = [technique.name for technique in techniques]
    return hydra_value(names) if len(names) > 1 else hydra_value(names[0] if names else "none")


def _model(model: ModelIdentity) -> Iterator[str]:
    kind, _, place = model.source.partition(":")
    if kind == "hub":
        model_id, _, revision = place.rpartition("@")
        yield "model=custom"
        yield f"model.id={hydra_value(model_id or place)}"
        yield f"model.revision={hydra_value(revision if model_id else None)}"
        yield f"model.name={hydra_value(model.name)}"
    elif kind == "local":
        # A record holds no path of the machine that wrote it: the reader fills in the folder.
        yield from ("model=custom", "model.id=FOLDER", f"model.name={hydra_value(model.name)}")
    else:
        yield f"model={hydra_value(model.name)}"


def _hardware(device: DeviceProfile) -> Iterator[str]:
    yield f"hardware={hydra_value(device.name)}"
    yield f"hardware.threads={device.threads}"
    if device.memory_cap_bytes is not None:
        yield f"hardware.memory_cap_bytes={device.memory_cap_bytes}"


def _sizes(node: str, part: Workload | Procedure, sizes: Sequence[str]) -> Iterator[str]:
    yield f"{node}={hydra_value(part.name)}"
    for size in sizes:
        value = getattr(part, size)
        # 300.0 reads better as 300, and means the same.
        whole = isinstance(value, float) and value.is_integer()
        yield f"{node}.{size}={hydra_value(int(value) if whole else value)}"


def _accuracy(task: Task) -> Iterator[str]:
    yield "accuracy=quickstart"
    kind = task.data_source.partition(":")[0]
    yield f"accuracy.source={kind if kind in _OFFLINE else 'hub'}"
    if task.harness == "lm-eval":
        # The hub's definition says which split it is; offline, validation comes first.
        plain = task.split == "validation" or kind not in _OFFLINE
        entry = task.name if plain else {task.name: {"split": task.split}}
        yield f"accuracy.tasks={hydra_value([entry])}"
        if kind == "dir":
            # A record holds no path of the machine that wrote it: the reader fills in the folder.
            yield "accuracy.data_dir=FOLDER"
        yield from _chat(task)
        if "stratified" in task.settings:
            yield "accuracy.stratified=true"
        yield "accuracy.text=null"
        yield f"accuracy.limit={hydra_value(task.limit)}"
        yield f"accuracy.num_fewshot={task.num_fewshot}"
        yield f"accuracy.seed={task.seed}"
    else:
        yield "accuracy.tasks=[]"
        yield f"accuracy.text.name={hydra_value(task.name)}"
        for knob in ("bytes", "window_bytes"):
            if knob in task.settings:
                yield f"accuracy.text.{knob}={hydra_value(task.settings[knob])}"


def _chat(task: Task) -> Iterator[str]:
    if "chat_template" in task.settings:
        yield "accuracy.chat_template=true"
        yield f"accuracy.system={hydra_value(task.settings.get('system'))}"


def _knobs(node: str, component: Component) -> Iterator[str]:
    for knob, value in sorted(component.params.items()):
        # ``++``: a knob that only the dataclass defaults is not in the composed config.
        yield f"++{node}.{knob}={hydra_value(value)}"
