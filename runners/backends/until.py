"""Where a greedy answer ends, and what its text is: one rule for every backend, lm-eval's own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from leanboard.results.errors import ArmError
from leanboard.runners.backends.base import UntilAnswer, UntilRequest

# Tokens that may give no text of their own, beside those that carry the longest stop.
_SPARE_TOKENS = 4


class Decode(Protocol):
    """Turns token ids into text."""

    def __call__(self, ids: Sequence[int], *, special: bool) -> str:
        """Return the text; special tokens are written out or left away."""


class Answer:
    """An answer as it grows, token by token.

    It ends at a token of ``ends``, with a stop text, or at its most tokens. A stop text may begin
    in the middle of a token and end in the middle of another; it is looked for in what was
    generated, never in the prompt, and with special tokens written out. The text leaves special
    tokens away and is cut at each stop in turn, that of the end of text included.

    Source: lm-eval, ``HFLM.generate_until`` with ``MultiTokenEOSCriteria`` (models/utils_hf.py),
    ``handle_stop_sequences`` and ``postprocess_generated_text`` (models/utils.py), one request
    at a time: what a batch generates behind an answer that has ended is no part of it.

    Attributes:
        ids: the tokens so far.
        ended: how it ended (``stop``, ``eot``, ``length``); ``None`` while it goes on.
    """

    def __init__(self, request: UntilRequest, ends: Collection[int], decode: Decode) -> None:
        """Begin an answer.

        Args:
            request: checked with ``check_requests``.
            ends: tokens that end a text.
            decode: the tokenizer.
        """
        self.ids: list[int] = []
        self.ended: str | None = None
        self._most = request.max_tokens
        self._ends = frozenset(ends)
        self._decode = decode
        spelled = [decode([end], special=True) for end in sorted(self._ends)]
        self._stops = tuple(dict.fromkeys(stop for stop in (*request.stops, *spelled) if stop))
        # A token carries one byte at least.
        longest = max((len(stop.encode()) for stop in self._stops), default=0)
        self._tail = longest + _SPARE_TOKENS

    def add(self, token: int) -> bool:
        """Take the next token; return whether the answer has ended with it.

        Raises:
            ArmError: if the answer had already ended.
        """
        if self.ended is not None:
            raise ArmError(f"An answer that ended ({self.ended}) was given another token.")
        self.ids.append(token)
        if token in self._ends:
            self.ended = "eot"
        elif self._stops_here():
            self.ended = "stop"
        elif len(self.ids) >= self._most:
            self.ended = "length"
        return self.ended is not None

    def result(self) -> UntilAnswer:
        """Return the answer.

        Raises:
            ArmError: if it has not ended yet.
        """
        if self.ended is None:
            raise ArmError(f"An answer has not ended after {len(self.ids)} tokens.")
        text = self._decode(self.ids, special=False)
        for stop in self._stops:
            text = text.split(stop)[0]
        return UntilAnswer(tuple(self.ids), text, self.ended)

    def _stops_here(self) -> bool:
        if not self._stops:
            return False
        tail = self._decode(self.ids[-self._tail :], special=True)
        return any(stop in tail for stop in self._stops)


def check_requests(requests: Sequence[UntilRequest], max_length: int) -> None:
    """Refuse what cannot be answered; nothing is cut off silently.

    Raises:
        ArmError: if a prompt or its answer is empty, or both together do not fit the window.
    """
    for place, request in enumerate(requests):
        if not request.prompt:
            raise ArmError(f"Request {place}: its prompt has no tokens to start from.")
        if request.max_tokens < 1:
            raise ArmError(f"Request {place}: it asks for {request.max_tokens} tokens.")
        if len(request.prompt) + request.max_tokens > max_length:
            raise ArmError(
                f"Request {place}: {len(request.prompt)} prompt tokens and up to "
                f"{request.max_tokens} of the answer do not fit the model's window of "
                f"{max_length}. Ask for fewer tokens or a shorter prompt."
            )
