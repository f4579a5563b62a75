"""Preparing a task that needs no hub: items read and chosen, prompts built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from leanboard.runners.accuracy.choices import Asked
from leanboard.runners.accuracy.definitions import Chat, Material, build, load, silence
from leanboard.runners.accuracy.harness import HarnessTask, Part
from leanboard.runners.accuracy.identified import prepared
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
from leanboard.runners.accuracy.selection import choose_by_stratum, choose_within
from leanboard.runners.accuracy.settings import AccuracyConfig

_INSTRUCTIONS = "ifeval"


def prepare_offline(
    asked: Asked, config: AccuracyConfig, sources: Sources, chat: Chat | None
) -> HarnessTask:
    """Prepare a task whose items are in a package or a directory.

    A limit is divided among the parts of a group in proportion to their sizes; parts that get
    nothing are left out. With ``config.stratified`` it is divided so among the strata that the
    items of a task name, too.

    Args:
        asked: the task, a key of ``OFFLINE`` or of ``GROUPS``.
        config: limit, seed and how a limit is divided.
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
    plain = choose_by_stratum(sizes, config.limit, config.seed)
    kept = [stratum for stratum, indices in plain.items() if indices]
    examples = {s: read_examples(asked.parts[s], asked, sources) for s in kept}
    with silence():
        subsets = {s: _subset(asked.parts[s], found[s], plain[s], config) for s in kept}
        parts = _parts(asked, config.seed, subsets, examples, chat)
    return prepared(parts, asked, config.seed, _source(asked.name, found, examples), chat)


def _subset(name: str, found: Found, plain: tuple[int, ...], config: AccuracyConfig) -> Subset:
    column = OFFLINE[name].stratum
    if not config.stratified or not column or column not in found.items.column_names:
        return subset(found, plain)
    strata = [_stratum(value) for value in found.items[column][:]]
    chosen = choose_within(strata, len(plain), config.seed)
    return subset(found, chosen, stratified=chosen != plain)


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
        left_out = build(harness, chat, chosen.indices)
        settings = {"stratified": chosen.stratified, "system_left_out": left_out}
        rows = list(harness.eval_docs)
        column = OFFLINE[asked.parts[stratum]].stratum
        parts.append(
            Part(
                harness,
                chosen.total,
                chosen.indices,
                rows,
                stratum,
                tuple(stratum or _stratum(row.get(column, "")) for row in rows),
                {name: True for name, set_so in settings.items() if set_so},
            )
        )
    return parts


def _stratum(value: object) -> str:
    """Return the stratum that an item's column says: what stands before the first ``~``."""
    return str(value).partition("~")[0]


def _source(name: str, found: Mapping[str, Found], examples: Mapping[str, Found | None]) -> str:
    """Say where items and examples come from: each place once, a group's directory as one."""
    shown = {split.source for split in found.values()}
    drawn = {split.source for split in examples.values() if split is not None} - shown
    if any(source.startswith("dir:") for source in shown) and len(shown) > 1:
        return f"dir:{name}"
    text = ", ".join(sorted(shown))
    return f"{text}; examples {', '.join(sorted(drawn))}" if drawn else text
