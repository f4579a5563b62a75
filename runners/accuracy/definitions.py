"""Loading lm-eval's own definitions of tasks, with items that are at hand instead of the hub's."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.registry import OFFLINE
from leanboard.runners.chat_template import ChatTemplate

if TYPE_CHECKING:
    import datasets
    from lm_eval.api.task import ConfigurableTask

_SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")


@dataclass(frozen=True, slots=True)
class Chat:
    """How prompts are put as a chat; without one they are plain text."""

    template: ChatTemplate
    system: str | None


@dataclass(frozen=True, slots=True)
class Material:
    """What one task of lm-eval is given.

    Args:
        name: a key of ``OFFLINE``.
        split: name of the split that is scored.
        rows: its chosen items.
        examples: what few-shot examples are drawn from; ``None`` where none are shown.
        num_fewshot: examples before each question.
        seed: decides which examples are drawn.
    """

    name: str
    split: str
    rows: datasets.Dataset
    examples: datasets.Dataset | None
    num_fewshot: int
    seed: int


def load(materials: Sequence[Material]) -> list[ConfigurableTask]:
    """Load the definitions of tasks that share a folder of lm-eval's, in their order.

    Raises:
        ConfigError: if the installed lm-eval does not define one of them.
    """
    import lm_eval
    from lm_eval.tasks import TaskManager

    # Indexing all of lm-eval's tasks takes ten seconds, one folder milliseconds. lm-eval merges
    # changes into a task's own definition only where the task is a member of a group.
    folder = OFFLINE[materials[0].name].definition
    definitions = Path(lm_eval.__file__).parent / "tasks" / folder
    manager = TaskManager(include_defaults=False, include_path=definitions)
    for material in materials:
        if material.name not in manager.all_subtasks:
            raise ConfigError(
                f"The installed lm-eval ({metadata.version('lm-eval')}) does not define the task "
                f"{material.name}. Install the pinned version (`make setup`)."
            )
    changes = [_changes(material) for material in materials]
    loaded = manager.load({"group": "offline", "task": changes})["tasks"]
    tasks = [loaded[material.name] for material in materials]
    for task, material in zip(tasks, materials, strict=True):
        task.set_fewshot_seed(material.seed)
    return tasks


def _changes(material: Material) -> dict[str, Any]:
    import datasets

    task = OFFLINE[material.name]
    data = {material.split: material.rows}
    roles: dict[str, str | None] = dict.fromkeys(_SPLITS)
    roles[task.scored_as] = material.split
    if material.examples is not None and task.examples is not None:
        name = task.examples.split
        data[name] = material.examples
        roles["training_split" if name == "train" else "fewshot_split"] = name
    return {
        "task": material.name,
        "custom_dataset": lambda **_: datasets.DatasetDict(data),
        "num_fewshot": material.num_fewshot,
        **roles,
    }


def build(task: ConfigurableTask, chat: Chat | None, samples: Sequence[int] | None = None) -> None:
    """Let lm-eval build the requests of a task.

    Args:
        task: with its items and few-shot settings.
        chat: how prompts are written as a chat; ``None`` writes plain text.
        samples: positions of the items; ``None`` takes all.

    Raises:
        ConfigError: if a prompt cannot be written as a chat, or there are too few examples.
    """
    arguments: dict[str, Any] = {} if samples is None else {"samples": list(samples)}
    if chat is not None:
        if task.config.gen_prefix:
            raise ConfigError(
                f"Task {task.task_name} begins the model's answer itself, which is not done with "
                "a chat template here. Use accuracy.chat_template=false for it."
            )
        arguments |= {
            "apply_chat_template": True,
            "chat_template": lambda messages, **_: chat.template.render(messages),
            "system_instruction": chat.system,
        }
    try:
        task.build_all_requests(**arguments)
    except (AssertionError, ValueError) as error:
        raise ConfigError(
            f"Task {task.task_name}: lm-eval cannot write its prompts ({error}). Check "
            "accuracy.num_fewshot and the task's data."
        ) from error


def prompts_of(tasks: Sequence[ConfigurableTask]) -> list[list[Any]]:
    """Return everything that is put to the model, in order."""
    return [list(request.args) for task in tasks for request in task.instances]


def split_of(task: ConfigurableTask) -> str:
    """Return the name of the split that lm-eval scores."""
    config: Mapping[str, Any] = vars(task.config)
    return str(config["test_split"] or config["validation_split"])


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep lm-eval's and datasets' notices and progress bars off the terminal."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
