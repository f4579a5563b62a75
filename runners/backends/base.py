"""What a backend is: something that loads a transformed model and runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from leanboard.metrics.trace import Quantity, RequestTrace
from leanboard.results.errors import ArmError
from leanboard.runners.techniques.base import Technique

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model on disk, ready to load.

    Args:
        name: name of its config.
        folder: safetensors with config and tokenizer; ``None`` until a backend needs it.
        gguf: GGUF file as published; ``None`` if it was published as safetensors.
        gguf_cache: where GGUF files made from it are kept, one a type.
        weights_origin: ``float``, ``random`` or the quantised format that was expanded.
        parameters: parameters of the original model, tied ones once.
        made: where what techniques make of it once is kept; ``None`` where nothing is made.
        calibration: texts that techniques are calibrated with, one JSON string a line; the file
            is named by their hash.
    """

    name: str
    content_hash: str
    folder: Path
    gguf: Path | None
    gguf_cache: Path
    weights_origin: str
    parameters: int
    made: Path | None = None
    calibration: Path | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """The resources of a cell, resolved."""

    kind: str
    threads: int
    reference_dtype: str
    memory_cap_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt, as text, with the number of tokens to generate (end-of-text is ignored)."""

    prompt_id: str
    text: str
    output_tokens: int
    scheduled_s: float | None = None


@dataclass(frozen=True, slots=True)
class BatchTimes:
    """When a static batch was sent, tokenised and answered, and what leanboard itself took of it.

    Args:
        sent_s: when the requests were handed over as text.
        encoded_s: when their prompts had become token ids.
        token_s: arrival of each step's tokens.
        client_s: for each of these, the seconds of leanboard's own code since ``sent_s``.

    Raises:
        ArmError: if the clock went back in between: none of the times can then be trusted.
    """

    sent_s: float
    encoded_s: float
    token_s: tuple[float, ...]
    client_s: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse times that are not in order."""
        for before_s, after_s in pairwise((self.sent_s, self.encoded_s, *self.token_s)):
            if after_s < before_s:
                raise ArmError(
                    f"The clock went back by {before_s - after_s:.3g} s during a request: its "
                    "times are worth nothing. Let no other program set this machine's clock."
                )

    def trace(
        self, request: Request, prompt_tokens: int, output_ids: Sequence[int]
    ) -> RequestTrace:
        """Return the neutral trace of one request of the batch, cut to the length it asked for.

        Every request of a static batch waits for all of leanboard's own code: it is not divided.
        """
        taken_s = self.client_s[: request.output_tokens]
        return RequestTrace(
            prompt_id=request.prompt_id,
            arm="",
            round=0,
            warmup=False,
            batch=0,
            scheduled_s=self.sent_s if request.scheduled_s is None else request.scheduled_s,
            sent_s=self.sent_s,
            encoded_s=self.encoded_s,
            token_s=self.token_s[: request.output_tokens],
            prompt_tokens=prompt_tokens,
            output_ids=tuple(output_ids[: request.output_tokens]),
            client_s=taken_s[-1] if taken_s else None,
        )


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens to score: ``continuation`` given ``context`` (both token ids, context not empty)."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SpanScore:
    """Log-likelihood (nats) of a continuation, and whether greedy decoding would give it."""

    loglikelihood: float
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class UntilRequest:
    """A prompt that is answered greedily until the answer ends by itself.

    Args:
        prompt: token ids, with the first token that the tokenizer would add; not empty.
        max_tokens: most tokens of the answer.
        stops: texts that end it; the first of them and what follows is not part of the answer.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    stops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UntilAnswer:
    """An answer that ended by itself, or at its most tokens.

    Args:
        output_ids: every token that was generated, those of the stop text included.
        text: the answer without special tokens, cut before the first stop text.
        ended: ``stop`` (a stop text), ``eot`` (the token that ends a text) or ``length``.
    """

    output_ids: tuple[int, ...]
    text: str
    ended: str


def in_order(found: Iterable[tuple[int, T]]) -> list[T]:
    """Return what came in any order with its index, by that index."""
    return [value for _, value in sorted(found, key=lambda pair: pair[0])]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What accuracy needs to know of the tokenizer and the context window.

    Args:
        size: number of token ids.
        prefix_token_id: token before a text that has no context (begin of text, else end of text).
        eot_token_id: token that ends a text.
        max_length: tokens that the model can be fed.
        adds_bos: whether the tokenizer itself puts ``prefix_token_id`` before every text (Gemma,
            Llama); ``Engine.encode`` leaves it away, scoring adds it.
    """

    size: int
    prefix_token_id: int
    eot_token_id: int
    max_length: int
    adds_bos: bool = False


class Engine(Protocol):
    """A loaded, transformed model. The same object is timed and scored."""

    vocabulary: Vocabulary

    def generate(self, requests: Sequence[Request]) -> list[RequestTrace]:
        """Run the requests as one static batch, greedily, and time every token.

        The device is synchronised before each mark. ``arm``, ``round``, ``launch``, ``batch``
        and ``warmup`` of the traces are neutral here (``BatchTimes.trace``); the caller sets them.
        ``client_s`` is ``None`` where an engine cannot tell its own time from its library's.

        Raises:
            ArmError: if the run fails.
        """

    def loglikelihood(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        """Score the spans; yield each with its place in the list, in the engine's own order.

        Tokens that several spans begin with are computed once where that changes nothing.

        Raises:
            ArmError: if a span does not fit the model's window, or a logit is not finite.
        """

    def generate_until(self, requests: Sequence[UntilRequest]) -> Iterator[tuple[int, UntilAnswer]]:
        """Answer the requests; yield each with its place in the list as soon as it has ended.

        Raises:
            ArmError: if a prompt and its most tokens do not fit the window, or a logit is not
                finite.
        """

    def log_probabilities(self, span: Span) -> NDArray[np.float32]:
        """Return log-probabilities (nats) at each continuation token: (tokens, vocabulary).

        Raises:
            ArmError: if the span does not fit the model's window, or a logit is not finite.
        """

    def notes(self) -> tuple[str, ...]:
        """Return what a reader must know of what it loaded and how it scored; may be empty."""

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text; special tokens in it are honoured, none are added."""

    def encode_batch(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Encode several texts at once; the same as ``encode`` on each."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids."""

    def facts(self) -> Mapping[str, Quantity]:
        """Return ``weight_bytes`` and, after a generation, ``kv_bytes``, ``kv_tokens`` ...

        ``peak_allocated_bytes`` is among them on a GPU, and only there.
        """


class Backend(Protocol):
    """Loads models. One dataclass a backend; its fields are its settings."""

    name: ClassVar[str]
    version: ClassVar[int]
    forks_after_import: ClassVar[bool]
    """Whether a process that has imported the libraries can be copied, on a CPU: no threads yet."""

    def prepare(
        self,
        model: ModelFiles,
        techniques: Sequence[Technique],
        device: Device,
        say: Callable[[str], None],
    ) -> None:
        """Make once what loading needs and the cache lacks, so that no load is timed making it.

        What cannot be done is left for ``load`` to refuse.
        """

    def import_libraries(self) -> None:
        """Import what loading needs, so that a load is timed without it.

        Raises:
            MissingDependencyError: if the backend's library is not installed.
        """

    def load(
        self, model: ModelFiles, techniques: Sequence[Technique], device: Device
    ) -> AbstractContextManager[Engine]:
        """Load the model, apply the techniques in order, and take them off on exit.

        Raises:
            UnsupportedError: if a technique cannot be done here.
            OutOfMemoryError: if it does not fit.
            MissingDependencyError: if the backend's library is not installed.
        """

    def reference_dtype(self, device: Device) -> str:
        """Return the dtype of this backend's baseline on the device."""
