"""Tasks of lm-eval, made ready before a model is loaded: items chosen, prompts built.

Prompts, processing of documents, filters and metrics stay lm-eval's; only the place where the
items come from is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from leanboard.metrics.trace import AnswerTrace
from leanboard.results.errors import ArmError
from leanboard.results.schema import Task
from leanboard.runners.accuracy.adapter import EngineLM
from leanboard.runners.accuracy.definitions import TASK_ERRORS
from leanboard.runners.accuracy.instructions import repeatable
from leanboard.runners.accuracy.item_scores import ItemScores, item_scores
from leanboard.runners.accuracy.tasks import BaselinePredictions, Progress
from leanboard.runners.backends.base import Engine

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import ConfigurableTask

ROLLING = "loglikelihood_rolling"
OPEN = "generate_until"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One task of lm-eval: all that is scored, or one of the strata of a group.

    Args:
        harness: lm-eval's task, with one request or more built for each item.
        total: number of items in its whole split.
        indices: position of each item in the split.
        rows: the items as lm-eval processed them, in the same order.
        stratum: the part of the group that it is; empty for a task of its own.
        strata: for each item, the part of the task that it belongs to; empty if it has no parts.
        settings: what records say of how it was prepared, where that is not as ever.
    """

    harness: ConfigurableTask
    total: int
    indices: tuple[int, ...]
    rows: Sequence[Mapping[str, Any]]
    stratum: str
    strata: tuple[str, ...]
    settings: Mapping[str, bool] = field(default_factory=dict)

    def item_id(self, index: int) -> str:
        """Return what names an item in the traces."""
        return f"{self.stratum}/{index}" if self.stratum else str(index)


@dataclass(frozen=True, slots=True, eq=False)
class HarnessTask:
    """A task of lm-eval, or a group of tasks that is scored as one.

    Args:
        identity: the task as records name it.
        parts: what it consists of; all are answered in the same way.
    """

    identity: Task
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Number of items."""
        return sum(len(part.indices) for part in self.parts)

    @property
    def harness(self) -> ConfigurableTask:
        """lm-eval's task; the first one of a group."""
        return self.parts[0].harness

    @property
    def requests(self) -> list[Instance]:
        """Everything that is asked, in the order of the items."""
        return [request for part in self.parts for request in part.harness.instances]

    def answers(
        self,
        engine: Engine,
        progress: Progress,
        baseline: BaselinePredictions | None = None,  # noqa: ARG002  texts only
    ) -> tuple[AnswerTrace, ...]:
        """Score every item with lm-eval's own filters and metrics.

        Raises:
            ArmError: if an item does not fit the model's window, or the engine fails.
        """
        lm = EngineLM(engine, progress)
        requests = self.requests
        responses = _ask(lm, self.harness.OUTPUT_TYPE, requests)
        for request, response in zip(requests, responses, strict=True):
            request.resps, request.filtered_resps = [response], {}
        with repeatable():
            for part in self.parts:
                with _scoring(f"Task {part.harness.task_name}"):
                    part.harness.apply_filters()
            return tuple(_answer(lm, item) for item in _items(self.parts))


def _ask(lm: EngineLM, kind: str, requests: list[Instance]) -> Sequence[object]:
    if kind == ROLLING:
        return lm.loglikelihood_rolling(requests)
    if kind == OPEN:
        return lm.generate_until(requests)
    return lm.loglikelihood(requests)


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """One item that was asked: its part, its place in the split, and its requests.

    ``first`` is the place of the first of them among all that was asked.
    """

    part: Part
    index: int
    stratum: str
    asked: Sequence[Instance]
    first: int


def _items(parts: Sequence[Part]) -> Iterator[_Item]:
    before = 0
    for part in parts:
        by_item: dict[int, list[tuple[int, Instance]]] = {index: [] for index in part.indices}
        for place, request in enumerate(part.harness.instances, before):
            by_item[request.doc_id].append((place, request))
        for (index, asked), stratum in zip(by_item.items(), part.strata, strict=True):
            ordered = sorted((request for _, request in asked), key=lambda request: request.idx)
            yield _Item(part, index, stratum, ordered, asked[0][0])
        before += len(part.harness.instances)


def _answer(lm: EngineLM, item: _Item) -> AnswerTrace:
    kind = item.part.harness.OUTPUT_TYPE
    with _scoring(f"Task {item.part.harness.task_name}, item {item.index}"):
        found = _scored(item)
    plain = AnswerTrace(item.part.item_id(item.index), found.scores, stratum=item.stratum)
    if kind == OPEN:
        return replace(plain, output_ids=lm.answers[item.first].output_ids)
    if kind != ROLLING:
        return replace(plain, loglikelihoods=tuple(r.resps[0][0] for r in item.asked))
    text = item.asked[0].args[0]
    return replace(
        plain,
        loglikelihoods=(item.asked[0].resps[0],),
        tokens=len(lm.tok_encode(text, add_special_tokens=False)),
        text_bytes=found.text_bytes or len(text.encode()),
    )


@contextmanager
def _scoring(what: str) -> Iterator[None]:
    """Let what a task's own code raises fail the arm, and not the run."""
    try:
        yield
    except TASK_ERRORS as error:
        said = f"{type(error).__name__}: {error}"
        raise ArmError(f"{what}: lm-eval could not score the answers ({said}).") from error


def _scored(item: _Item) -> ItemScores:
    """Score an item behind each of the task's filters; of several, a score's name says which."""
    harness, document = item.part.harness, item.asked[0].doc
    found = {
        name: item_scores(
            harness,
            harness.process_results(document, [r.filtered_resps[name] for r in item.asked]),
        )
        for name in item.asked[0].filtered_resps
    }
    if len(found) == 1:
        return next(iter(found.values()))
    return ItemScores(
        {f"{score},{name}": v for name, of in found.items() for score, v in of.scores.items()}
    )
