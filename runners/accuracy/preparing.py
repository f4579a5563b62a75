"""Preparing a task that needs no hub: items read and chosen, prompts built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from leanboard.runners.accuracy.choices import Asked
from leanboard.runners.accuracy.definitions import Chat, Material, build, load, silence
from leanboard.runners.accuracy.harness import HarnessTask, Part, prepared
from leanboard.runners.accuracy.instructions import check_instructions
from leanboard.runners.accuracy.offline import (
    Found,
    Sources,
    Subset,
    read_examples,
    read_split,
    subset,
)
from leanboard.runners.accuracy.registry import OFFLINE
from leanboard.runners.accuracy.selection import choose_by_stratum
from leanboard.runners.accuracy.settings import AccuracyConfig

_INSTRUCTIONS = "ifeval"


def prepare_offline(
    asked: Asked, config: AccuracyConfig, sources: Sources, chat: Chat | None
) -> HarnessTask:
    """Prepare a task whose items are in a package or a directory.

    A limit is divided among the parts of a group in proportion to their sizes; parts that get
    nothing are left out.

    Args:
        asked: the task, a key of ``OFFLINE`` or of ``GROUPS``.
        config: limit and seed.
        sources: where to read.
        chat: how prompts are written as a chat; ``None`` writes plain text.

    Raises:
        ConfigError: if the data is not there or does not fit.
        MissingDependencyError: if checking its answers needs a package that is not installed.
    """
    if asked.name == _INSTRUCTIONS:
        check_instructions(None if config.nltk_data is None else Path(config.nltk_data))
    found = {s: read_split(name, asked, sources) for s, name in asked.parts.items()}
    sizes = {stratum: len(split.items) for stratum, split in found.items()}
    chosen = choose_by_stratum(sizes, config.limit, config.seed)
    kept = [stratum for stratum, indices in chosen.items() if indices]
    examples = {s: read_examples(asked.parts[s], asked, sources) for s in kept}
    with silence():
        subsets = {stratum: subset(found[stratum], chosen[stratum]) for stratum in kept}
        parts = _parts(asked, config.seed, subsets, examples, chat)
    return prepared(parts, asked, config.seed, _source(asked.name, found, examples), chat)


def _parts(
    asked: Asked,
    seed: int,
    subsets: Mapping[str, Subset],
    examples: Mapping[str, Found | None],
    chat: Chat | None,
) -> list[Part]:
    materials = []
    for stratum, chosen in subsets.items():
        drawn = examples[stratum]
        materials.append(
            Material(
                name=asked.parts[stratum],
                split=asked.split,
                rows=chosen.rows,
                examples=None if drawn is None else drawn.items,
                num_fewshot=asked.num_fewshot,
                seed=seed,
            )
        )
    parts = []
    for harness, (stratum, chosen) in zip(load(materials), subsets.items(), strict=True):
        build(harness, chat)
        rows = list(harness.eval_docs)
        column = OFFLINE[asked.parts[stratum]].stratum
        strata = tuple(stratum or _part_of(row, column) for row in rows)
        parts.append(Part(harness, chosen.total, chosen.indices, rows, stratum, strata))
    return parts


def _part_of(row: Mapping[str, object], column: str) -> str:
    """Return the part that an item's column says: what stands before the first ``~``."""
    return str(row.get(column, "")).partition("~")[0] if column else ""


def _source(name: str, found: Mapping[str, Found], examples: Mapping[str, Found | None]) -> str:
    """Say where items and examples come from: each place once, a group's directory as one."""
    shown = {split.source for split in found.values()}
    drawn = {split.source for split in examples.values() if split is not None} - shown
    if any(source.startswith("dir:") for source in shown) and len(shown) > 1:
        return f"dir:{name}"
    text = ", ".join(sorted(shown))
    return f"{text}; examples {', '.join(sorted(drawn))}" if drawn else text
