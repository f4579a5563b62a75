"""An engine without a model: deterministic tokens and scores."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from leanboard.metrics.trace import Quantity, RequestTrace
from leanboard.runners.backends.base import (
    Request,
    Span,
    SpanScore,
    UntilAnswer,
    UntilRequest,
    Vocabulary,
)

PREFIX = 0
_PIECES = re.compile(r" ?\w+| ?[^\w\s]+|\s")


@dataclass
class FakeEngine:
    """Splits text as GPT-2 does (a space belongs to the word after it); scores are hashes.

    Distributions are random, seeded by the tokens before; ``noise`` is what is added to each logit,
    normal and seeded apart, so that two engines differ by it alone.
    """

    max_length: int = 512
    adds_bos: bool = False
    size: int = 50_000
    noise: float = 0.0
    spans: list[Span] = field(default_factory=list)
    asked: list[UntilRequest] = field(default_factory=list)
    calls: list[tuple[str, int]] = field(default_factory=list)

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(
            size=self.size,
            prefix_token_id=PREFIX,
            eot_token_id=1,
            max_length=self.max_length,
            adds_bos=self.adds_bos,
        )

    def generate(self, requests: Sequence[Request]) -> list[RequestTrace]:
        raise NotImplementedError

    def loglikelihood(self, spans: Sequence[Span]) -> Iterator[tuple[int, SpanScore]]:
        self.calls.append(("loglikelihood", len(spans)))
        self.spans.extend(spans)
        yield from enumerate(self._score(span) for span in spans)

    def generate_until(self, requests: Sequence[UntilRequest]) -> Iterator[tuple[int, UntilAnswer]]:
        self.calls.append(("generate_until", len(requests)))
        self.asked.extend(requests)
        for place, request in enumerate(requests):
            digit = zlib.crc32(repr(request).encode()) % 10
            yield place, UntilAnswer((2 + digit, 7), f" The answer is {digit}.", "stop")

    def log_probabilities(self, span: Span) -> NDArray[np.float32]:
        self.calls.append(("log_probabilities", len(span.continuation)))
        tokens = (*span.context, *span.continuation)
        ends = range(len(span.context), len(tokens))
        logits = np.stack([self._logits(tokens[:end]) for end in ends])
        shifted = logits - logits.max(axis=1, keepdims=True)
        return (shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))).astype(np.float32)

    def _logits(self, before: Sequence[int]) -> NDArray[np.float64]:
        seed = zlib.crc32(repr(tuple(before)).encode())
        plain = np.random.default_rng(seed).normal(0, 3, self.size)
        return plain + self.noise * np.random.default_rng(seed + 1).normal(0, 1, self.size)

    def notes(self) -> tuple[str, ...]:
        return ()

    @staticmethod
    def _score(span: Span) -> SpanScore:
        digest = hashlib.sha256(repr((span.context, span.continuation)).encode()).digest()
        per_token = 0.01 + int.from_bytes(digest[:4], "big") / 2**32
        return SpanScore(-per_token * len(span.continuation), digest[4] < 32)

    def encode(self, text: str) -> tuple[int, ...]:
        self.calls.append(("encode", 1))
        return self._encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        self.calls.append(("encode_batch", len(texts)))
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> tuple[int, ...]:
        words = self.size - 2
        return tuple(2 + zlib.crc32(piece.encode()) % words for piece in _PIECES.findall(text))

    def decode(self, ids: Sequence[int]) -> str:
        raise NotImplementedError

    def facts(self) -> Mapping[str, Quantity]:
        return {}
