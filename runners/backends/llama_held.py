"""The one context that an engine holds: made for the work at hand, kept while it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from leanboard.results.errors import ArmError, OutOfMemoryError
from leanboard.runners.backends.llama_context import ContextShape, LlamaContext

T = TypeVar("T")


class HeldContext:
    """At most one context; each piece of work gets it empty."""

    def __init__(self, make: Callable[[ContextShape], LlamaContext]) -> None:
        """Hold nothing yet.

        Args:
            make: allocates a context.
        """
        self._make = make
        self._context: LlamaContext | None = None
        self._turn = 0

    def close(self) -> None:
        """Free the context."""
        if self._context is not None:
            self._context.close()
            self._context = None

    def exactly(self, shape: ContextShape) -> LlamaContext:
        """Return an empty context of this shape.

        Raises:
            OutOfMemoryError: if it does not fit.
        """
        if self._context is None or self._context.shape != shape:
            self.close()
            self._context = self._make(shape)
        self._turn += 1
        self._context.clear()
        return self._context

    def with_room(self, shapes: Iterable[ContextShape]) -> LlamaContext:
        """Return an empty context with room for the first of these shapes that fits the memory.

        A larger one from earlier work is kept: making one costs more than a batch.

        Raises:
            OutOfMemoryError: if none fits.
        """
        refused: OutOfMemoryError | None = None
        for shape in shapes:
            held = self._context.shape if self._context is not None else None
            try:
                return self.exactly(held if held is not None and held.holds(shape) else shape)
            except OutOfMemoryError as error:
                refused = error
        raise refused or ArmError("No context was asked for.")

    def guarded(self, found: Iterable[T]) -> Iterator[T]:
        """Yield what the present work finds, as long as no other work got the context.

        Raises:
            ArmError: if it did.
        """
        turn = self._turn
        for item in found:
            yield item
            if self._turn != turn:
                raise ArmError(
                    "The engine was given other work before this had ended; begin this anew."
                )
