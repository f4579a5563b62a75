"""Columns of the joined table that no single record holds: what each of them is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from leanboard.metrics.metric import Direction, Role

ACCURACY = "accuracy"


@dataclass(frozen=True, slots=True)
class DerivedColumn:
    """A column that is derived from several records.

    Args:
        unit: unit of its values.
        direction: which way is better.
        role: what it is about.
        label: short title for people.
        doc: definition with its formula.
        source: where the definition comes from.
        uses_quality: whether scores enter a column of another role. Where a row's quality is not
            ranked, neither is this.
    """

    unit: str
    direction: Direction
    role: Role
    label: str
    doc: str
    source: str = "leanboard"
    uses_quality: bool = False


_PAIRED = "paired over items; square-and-add over tasks"
_AN_ANSWER = "A request of this workload is taken for an answer."
_MEASURED = "Null unless the joules were measured."
_FRAGILE = "the words of arXiv:2503.22698, leanboard's formula"
_ABILITIES = "arXiv:2512.22671"

_HIGHER, _LOWER, _NEUTRAL = Direction.HIGHER, Direction.LOWER, Direction.NEUTRAL

DERIVED: Mapping[str, DerivedColumn] = {
    ACCURACY: DerivedColumn(
        "1",
        _HIGHER,
        Role.QUALITY,
        "Accuracy, mean of tasks",
        "Unweighted mean over the tasks of each one's primary score: acc_norm, or acc where a task "
        "has no acc_norm, or else exact match or the share of instructions followed. The interval "
        "speaks for these tasks.",
        "lm-evaluation-harness scores",
    ),
    "accuracy_difference": DerivedColumn(
        "1",
        _HIGHER,
        Role.QUALITY,
        "Accuracy, difference to the baseline",
        f"accuracy - the baseline's on the same items; {_PAIRED}.",
    ),
    "accuracy_ratio": DerivedColumn(
        "1",
        _HIGHER,
        Role.QUALITY,
        "Accuracy, share of the baseline's",
        f"accuracy / the baseline's on the same items; {_PAIRED}. The gate reads its interval.",
        "MLPerf Inference",
    ),
    "accuracy_above_chance": DerivedColumn(
        "1",
        _HIGHER,
        Role.QUALITY,
        "Accuracy above chance",
        "Mean over tasks of (score - chance) / (1 - chance), chance being 1 / choices: 0 for "
        "guessing, 1 for all right. Chance is 0 for tasks without choices.",
        "Cohen (1960)",
    ),
    "kl_to_baseline": DerivedColumn(
        "nat",
        _LOWER,
        Role.QUALITY,
        "KL divergence from the baseline",
        "Mean over the tokens of a text of KL(baseline's prediction || this arm's); mean of texts.",
        "Kullback and Leibler (1951)",
    ),
    "top1_agreement": DerivedColumn(
        "1",
        _HIGHER,
        Role.QUALITY,
        "Top-1 agreement",
        "Share of a text's tokens at which both arms find the same token most likely; mean of "
        "texts.",
    ),
    "greedy_agreement": DerivedColumn(
        "1",
        _HIGHER,
        Role.QUALITY,
        "Greedy agreement",
        "Share of generated answers that equal the baseline's token for token; mean of tasks.",
    ),
    "output_length_ratio": DerivedColumn(
        "1",
        _NEUTRAL,
        Role.QUALITY,
        "Output length ratio",
        "Tokens of generated answers / the baseline's; mean of tasks. Outside 0.9 to 1.1 a gain in "
        "speed is suspect.",
        "MLPerf Inference",
    ),
    "ipw": DerivedColumn(
        "1/W",
        _HIGHER,
        Role.ENERGY,
        "Intelligence per watt",
        f"accuracy / mean power. {_MEASURED}",
        "arXiv:2511.07885",
        uses_quality=True,
    ),
    "ipj": DerivedColumn(
        "1/J",
        _HIGHER,
        Role.ENERGY,
        "Accuracy per joule",
        f"accuracy / energy of a request. {_AN_ANSWER} {_MEASURED}",
        "arXiv:2511.07885",
        uses_quality=True,
    ),
    "energy_per_correct_j": DerivedColumn(
        "J",
        _LOWER,
        Role.ENERGY,
        "Energy per correct answer",
        f"Energy of a request / accuracy. {_AN_ANSWER} {_MEASURED}",
        uses_quality=True,
    ),
    "time_per_correct_s": DerivedColumn(
        "s",
        _LOWER,
        Role.LATENCY,
        "Time per correct answer",
        "Seconds of a request (e2e_s) / (batch size x accuracy): the requests of a batch share the "
        f"machine. {_AN_ANSWER} Times the price of a second it is the cost of pass.",
        "arXiv:2504.13359",
        uses_quality=True,
    ),
    "compression_rate": DerivedColumn(
        "1",
        _HIGHER,
        Role.MEMORY,
        "Compression rate (MCR)",
        "(weights of the baseline / weights) x (accuracy / the baseline's): above 1 if more bytes "
        "went than score.",
        "EfficientLLM, arXiv:2505.13840",
        uses_quality=True,
    ),
    "dsi": DerivedColumn(
        "1",
        _LOWER,
        Role.QUALITY,
        "Domain specialisation index",
        "With r_t = score / the baseline's of each task: standard deviation of r_t / their mean. 0 "
        "if every task keeps the same share; noise alone makes it positive.",
        _FRAGILE,
    ),
    "generalization_gap": DerivedColumn(
        "1",
        _LOWER,
        Role.QUALITY,
        "Generalisation gap",
        "r_t of the task that is kept best - mean of r_t over the others, r_t as for dsi.",
        _FRAGILE,
    ),
    "transfer_ratio": DerivedColumn(
        "1",
        _HIGHER,
        Role.QUALITY,
        "Cross-domain transfer ratio",
        "Mean of r_t over the other tasks / r_t of the task that is kept best, r_t as for dsi.",
        _FRAGILE,
    ),
    "knowledge_change": DerivedColumn(
        "1",
        _HIGHER,
        Role.QUALITY,
        "Change in knowledge",
        f"Mean difference to the baseline over the tasks that ask for knowledge; {_PAIRED}.",
        _ABILITIES,
    ),
    "instruction_change": DerivedColumn(
        "1",
        _HIGHER,
        Role.QUALITY,
        "Change in instruction following",
        f"Mean difference to the baseline over the tasks that give instructions; {_PAIRED}.",
        _ABILITIES,
    ),
    "truthfulness_change": DerivedColumn(
        "1",
        _HIGHER,
        Role.QUALITY,
        "Change in truthfulness",
        f"Mean difference to the baseline over the tasks that ask for truthfulness; {_PAIRED}.",
        _ABILITIES,
    ),
}
"""Every derived column, in the order of tables."""
