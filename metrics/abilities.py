"""How a technique moves what tasks ask for: knowledge, instruction following, truthfulness.

Width pruning of GLU layers takes knowledge away and leaves, or even raises, instruction following
and truthfulness: one average over tasks would hide it.

Source: Martra, Fragile Knowledge, Robust Instruction-Following (2025), arXiv:2512.22671.
"""

from __future__ import annotations

from collections.abc import Mapping

from leanboard.metrics.macro import macro_average
from leanboard.metrics.summary import Estimate

KNOWLEDGE = "knowledge"
INSTRUCTION = "instruction"
TRUTHFULNESS = "truthfulness"

ABILITIES: Mapping[str, tuple[str, ...]] = {
    KNOWLEDGE: ("mmlu", "arc_easy", "arc_challenge", "openbookqa", "commonsense_qa", "gsm8k"),
    INSTRUCTION: ("ifeval",),
    TRUTHFULNESS: ("truthfulqa_mc1", "truthfulqa_mc2"),
}
"""Tasks by what they ask for; gsm8k is where the source has it. The others are in none."""


def ability_of(task: str) -> str | None:
    """Return what a task asks for; ``None`` if it is in no list. Subjects of MMLU are MMLU."""
    name = "mmlu" if task.startswith("mmlu_") else task
    return next((ability for ability, tasks in ABILITIES.items() if name in tasks), None)


def changes_by_ability(differences: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Return the mean change of score of each ability that some task asks for.

    Args:
        differences: by task, candidate - baseline, paired over items; each has a value.
    """
    tasks: dict[str, list[Estimate]] = {}
    for task in sorted(differences):
        ability = ability_of(task)
        if ability is not None:
            tasks.setdefault(ability, []).append(differences[task])
    return {ability: macro_average(found) for ability, found in sorted(tasks.items())}
