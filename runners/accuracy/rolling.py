"""Perplexity and bits per byte on a fixed text, the same bytes for every tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from leanboard.metrics.metric import Missing
from leanboard.metrics.trace import AnswerTrace
from leanboard.results.errors import ArmError, ConfigError
from leanboard.results.identity import digest
from leanboard.results.schema import Task
from leanboard.runners.accuracy.fidelity import (
    Nearness,
    Prediction,
    Predictions,
    nearness_facts,
    predictor,
)
from leanboard.runners.accuracy.settings import TextConfig
from leanboard.runners.accuracy.tasks import BaselinePredictions, Progress
from leanboard.runners.backends.base import Engine, Span
from leanboard.runners.passages import Pool

ROLLING_VERSION = "1"
"""Raised whenever the same engine and text would give other scores."""

_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class TextTask:
    """A text cut into windows between passages.

    Each window is scored on its own: all of its tokens, the first given the prefix token only.
    Windows share no context, so the number reads higher than with a long context; it is the same
    for every arm. Cutting by bytes and between passages, never inside a token, makes bits per
    byte well defined and the text the same for every model.

    Args:
        identity: the task as records name it.
        windows: the texts that are scored.
    """

    identity: Task
    windows: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of windows."""
        return len(self.windows)

    def answers(
        self,
        engine: Engine,
        progress: Progress,
        baseline: BaselinePredictions | None = None,
    ) -> tuple[AnswerTrace, ...]:
        """Score every window: tokens, bytes and log-likelihood (nats).

        With the baseline's predictions at hand also how near to them the model's are; they cost
        no second forward. Where they do not fit, the text is scored without them.

        Raises:
            ArmError: if a window does not fit the model's, with its number.
        """
        spans = self._spans(engine)
        answers: dict[int, AnswerTrace] = {}
        near: list[Nearness] = []
        for number, found in self._predictions(engine, spans, baseline):
            answers[number] = self._answer(number, len(spans[number].continuation), found)
            near += [] if found.nearness is None else [found.nearness]
            progress(len(answers), len(spans))
        if baseline is not None and near:
            tokens = sum(len(span.continuation) for span in spans)
            baseline.facts |= nearness_facts(reduce(add, near), tokens, engine.vocabulary.size)
        return tuple(answers[number] for number in range(len(spans)))

    def _spans(self, engine: Engine) -> list[Span]:
        vocabulary = engine.vocabulary
        encoded = engine.encode_batch(self.windows)
        for number, ids in enumerate(encoded):
            if len(ids) > vocabulary.max_length:
                raise ArmError(
                    f"Text {self.identity.name}, window {number}: {len(ids)} tokens "
                    f"do not fit the model's window of {vocabulary.max_length}, and nothing is "
                    "cut off. Lower accuracy.text.window_bytes."
                )
        return [Span((vocabulary.prefix_token_id,), tuple(ids)) for ids in encoded]

    def _predictions(
        self, engine: Engine, spans: Sequence[Span], baseline: BaselinePredictions | None
    ) -> Predictions:
        if baseline is not None and (baseline.keep is not None or baseline.against is not None):
            found = predictor(engine).predict(spans, baseline.keep, baseline.against)
            if not isinstance(found, Missing):
                return found
            baseline.reason = f"not compared with the baseline's predictions: {found.reason}"
        return (
            (number, Prediction(score.loglikelihood, score.is_greedy))
            for number, score in engine.loglikelihood(spans)
        )

    def _answer(self, number: int, tokens: int, found: Prediction) -> AnswerTrace:
        near = found.nearness
        return AnswerTrace(
            str(number),
            {},
            (found.loglikelihood,),
            tokens=tokens,
            text_bytes=len(self.windows[number].encode()),
            kl_nats=None if near is None else near.kl_nats,
            agreeing=None if near is None else near.agreeing,
            kl_rest=None if near is None else near.kl_rest,
        )


def prepare_text(config: TextConfig, pool: Pool) -> TextTask:
    """Cut the text into windows and give it its identity.

    Raises:
        ConfigError: if the pool holds less text than is asked for.
    """
    texts = (passage.text for passage in pool.passages)
    windows = cut(texts, config.bytes, config.window_bytes)
    found = sum(len(window.encode()) for window in windows)
    # The window that did not fit any more is all that may be missing.
    if found < config.bytes - config.window_bytes:
        raise ConfigError(
            f"accuracy.text asks for {config.bytes} bytes, but {pool.source} gives only {found} "
            f"in windows of at most {config.window_bytes}. Lower accuracy.text.bytes, or raise "
            "accuracy.text.window_bytes."
        )
    identity = Task(
        name=config.name,
        split="passages",
        data_hash=digest({"split": "passages", "documents": windows}),
        data_source=pool.source,
        harness="leanboard",
        harness_version=ROLLING_VERSION,
        task_version="1",
        num_fewshot=0,
        limit=None,
        seed=0,
        settings={
            "context": "prefix-token",
            "bytes": config.bytes,
            "window_bytes": config.window_bytes,
        },
    )
    return TextTask(identity, windows)


def cut(passages: Iterable[str], size_bytes: int, window_bytes: int) -> tuple[str, ...]:
    """Join whole passages, in their order, into windows.

    Args:
        passages: texts; one longer than a window is left out.
        size_bytes: the windows hold at most so many UTF-8 bytes together.
        window_bytes: a window holds at most so many.
    """
    chosen: list[str] = []
    left_bytes = size_bytes
    for window in _windows(passages, window_bytes):
        left_bytes -= len(window.encode())
        if left_bytes < 0:
            break
        chosen.append(window)
    return tuple(chosen)


def _windows(passages: Iterable[str], window_bytes: int) -> Iterator[str]:
    window = ""
    for passage in passages:
        if len(passage.encode()) > window_bytes:
            continue
        joined = window + _BETWEEN + passage if window else passage
        if len(joined.encode()) > window_bytes:
            yield window
            joined = passage
        window = joined
    if window:
        yield window
