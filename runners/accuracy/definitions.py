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

from jinja2 import TemplateError

from leanboard.results.errors import ConfigError
from leanboard.runners.accuracy.registry import OFFLINE
from leanboard.runners.chat_template import ChatTemplate, Messages

if TYPE_CHECKING:
    import datasets
    from lm_eval.api.task import ConfigurableTask

TASK_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    TemplateError,
)
"""What a task's own code, templates and literals raise where an item does not suit them."""

_SPLITS = ("training_split", "validation_split", "test_split", "fewshot_split")
_LOGGERS = ("lm_eval", "datasets", "huggingface_hub")


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
        ConfigError: if the installed lm-eval does not define one of them, or cannot read its items.
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
    try:
        loaded = manager.load({"group": "offline", "task": changes})["tasks"]
    except TASK_ERRORS as error:
        names = ", ".join(material.name for material in materials)
        raise ConfigError(
            f"Task {names}: lm-eval cannot read the items ({_said(error)}). Check the task's data."
        ) from error
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


@dataclass(slots=True)
class _Writer:
    """Writes turns as lm-eval's own model does: one of the system that is refused is left out.

    Source: ``HFLM.apply_chat_template``. A system prompt that the config asks for is not left out.
    """

    chat: Chat
    left_out: bool = False

    def __call__(self, messages: Messages, **_: object) -> str:
        try:
            return self.chat.template.render(messages)
        except ConfigError as error:
            rest = [message for message in messages if message["role"] != "system"]
            if len(rest) == len(messages):
                raise
            text = self.chat.template.render(rest)
            if self.chat.system is not None:
                raise ConfigError(
                    "accuracy.system: the model's chat template takes no system prompt. Use "
                    "accuracy.system=null, or another model."
                ) from error
            self.left_out = True
            return text


def build(task: ConfigurableTask, chat: Chat | None, indices: Sequence[int]) -> bool:
    """Let lm-eval build the requests of a task.

    Args:
        task: with its items and few-shot settings.
        chat: how prompts are written as a chat, as lm-eval's evaluator does unless told otherwise:
            examples as turns of their own. ``None`` writes plain text.
        indices: positions of the items in their split. A task that holds more items than these
            holds the whole split.

    Returns:
        Whether a description of the task was left out: the chat template takes no system prompt.

    Raises:
        ConfigError: if a prompt cannot be written as a chat, there are too few examples, or an
            item does not suit the task's own code, with its position.
    """
    whole = len(task.eval_docs) > len(indices)
    arguments: dict[str, Any] = {"samples": list(indices)} if whole else {}
    writer = None
    if chat is not None:
        _check_beginning(task)
        writer = _Writer(chat)
        arguments |= {
            "apply_chat_template": True,
            "chat_template": writer,
            "fewshot_as_multiturn": True,
            "system_instruction": chat.system,
        }
    try:
        task.build_all_requests(**arguments)
    except TASK_ERRORS as error:
        places = list(indices) if whole else list(range(len(indices)))
        item = _unsuitable(task, places, indices)
        raise ConfigError(
            f"Task {task.task_name}{item}: lm-eval cannot write its prompts ({_said(error)}). "
            "Check accuracy.num_fewshot and the task's data."
        ) from error
    return writer is not None and writer.left_out


def _check_beginning(task: ConfigurableTask) -> None:
    if task.config.gen_prefix:
        raise ConfigError(
            f"Task {task.task_name} begins the model's answer itself, which is not done with "
            "a chat template here. Use accuracy.chat_template=false for it."
        )


def _unsuitable(task: ConfigurableTask, places: Sequence[int], indices: Sequence[int]) -> str:
    """Return which item a task's own code refuses, for a message; empty if it is none of them."""
    documents = task.eval_docs
    for place, index in zip(places, indices, strict=True):
        try:
            task.doc_to_text(documents[place])
            task.doc_to_target(documents[place])
            if task.config.doc_to_choice is not None:
                task.doc_to_choice(documents[place])
        except TASK_ERRORS:
            return f", item {index}"
    return ""


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def prompts_of(tasks: Sequence[ConfigurableTask]) -> list[list[Any]]:
    """Return everything that is put to the model, in order."""
    return [list(request.args) for task in tasks for request in task.instances]


def split_of(task: ConfigurableTask) -> str:
    """Return the name of the split that lm-eval scores."""
    config: Mapping[str, Any] = vars(task.config)
    return str(config["test_split"] or config["validation_split"])


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep notices, retries and progress bars of lm-eval and its packages off the terminal."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
