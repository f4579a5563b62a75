"""Any task of lm-eval by name, with its items from the Hugging Face hub."""

from __future__ import annotations

import difflib
from importlib import metadata
from typing import TYPE_CHECKING

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.choices import Asked
from leanboard.runners.accuracy.definitions import TASK_ERRORS, Chat, build, silence
from leanboard.runners.accuracy.harness import OPEN, ROLLING, HarnessTask, Part
from leanboard.runners.accuracy.identified import prepared
from leanboard.runners.accuracy.item_scores import averaged
from leanboard.runners.accuracy.registry import described
from leanboard.runners.accuracy.selection import choose
from leanboard.runners.accuracy.settings import AccuracyConfig

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

_SCORED = ("multiple_choice", "loglikelihood", ROLLING, OPEN)


def prepare_hub(
    asked: Asked, config: AccuracyConfig, chat: Chat | None, manager: TaskManager | None = None
) -> HarnessTask:
    """Prepare any task of lm-eval, with its items from where its definition says: the hub.

    Args:
        asked: name of one task, not of a group, and the number of examples.
        config: limit and seed.
        chat: how prompts are written as a chat; ``None`` writes plain text.
        manager: finds the task; ``None`` indexes all of lm-eval's tasks, which takes ten seconds.

    Raises:
        ConfigError: if lm-eval does not know it, its data cannot be had, it cannot be scored, or
            it takes no examples but is asked to.
    """
    with silence():
        harness = _load_hub(asked.name, manager if manager is not None else _all_tasks())
        _check_scorable(asked.name, harness)
        _set_examples(asked, harness, config.seed)
        documents = harness.eval_docs
        indices = choose(len(documents), config.limit, config.seed)
        left_out = build(harness, chat, indices)
    rows = [documents[index] for index in indices]
    settings = {"system_left_out": True} if left_out else {}
    part = Part(harness, len(documents), indices, rows, "", ("",) * len(indices), settings)
    return prepared([part], asked, config.seed, f"hub:{harness.DATASET_PATH}", chat)


def _set_examples(asked: Asked, harness: ConfigurableTask, seed: int) -> None:
    """Set the number of examples, except where a definition says 0: as lm-eval's evaluator."""
    if harness.config.num_fewshot == 0 and asked.num_fewshot > 0:
        raise ConfigError(
            f"Task {asked.name}: num_fewshot is {asked.num_fewshot}, but lm-eval's definition says "
            "0, which lm-eval never overrides: its prompts are meant to be without examples, or "
            f"hold their own. Use accuracy.tasks=[{{{asked.name}:{{num_fewshot:0}}}}]."
        )
    harness.set_config("num_fewshot", asked.num_fewshot)
    harness.set_fewshot_seed(seed)


def _all_tasks() -> TaskManager:
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _load_hub(name: str, manager: TaskManager) -> ConfigurableTask:
    from datasets.exceptions import DatasetsError

    if name not in manager.all_subtasks:
        close = difflib.get_close_matches(name, manager.all_subtasks, n=3)
        what = "is a group of tasks; name its tasks" if name in manager.all_tasks else "is unknown"
        hint = f" Did you mean: {', '.join(close)}?" if close else ""
        raise ConfigError(
            f"accuracy.tasks: to lm-eval {metadata.version('lm-eval')} the name {name!r} {what}."
            f"{hint} `lm-eval ls tasks` lists them all."
        )
    try:
        return manager.load(name)["tasks"][name]
    except (OSError, ImportError, DatasetsError, *TASK_ERRORS) as error:
        raise ConfigError(
            f"Task {name}: its data could not be loaded ({type(error).__name__}: {error}). Check "
            "the network, or use accuracy.source=package with the offline tasks: "
            f"{described()}."
        ) from error


def _check_scorable(name: str, harness: ConfigurableTask) -> None:
    refusal = None
    if harness.OUTPUT_TYPE not in _SCORED:
        refusal = f"is answered in a way that is not scored here ({harness.OUTPUT_TYPE})"
    elif getattr(harness, "MULTIMODAL", False):
        refusal = "needs images or sound"
    elif getattr(harness, "UNSAFE_CODE", False):
        refusal = "runs code that a model wrote"
    elif harness.config.repeats > 1:
        refusal = "asks every question several times, of answers that are sampled"
    elif harness.OUTPUT_TYPE != ROLLING and not averaged(harness):
        refusal = "has no metric that is an average over items"
    if refusal is not None:
        raise ConfigError(f"Task {name} {refusal}. Choose another task of lm-eval.")
