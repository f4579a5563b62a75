"""A worker without a process: it answers what it was told to, on a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

from leanboard.metrics.trace import RequestTrace
from leanboard.results.errors import ArmError

PREFILL_S = 0.1


class FakeWorker:
    """Stands in for ``leanboard.runners.isolate.Worker``.

    Attributes:
        alive: the workers that are started now, all tests' arms together.
        most_alive: the most that there were at once.
        started: label of every worker that was ever started, in order.
        step_s: seconds a token of an arm, given its label and how many batches it has run.
        breaks: called with the operation and label; what it raises ends the worker.
    """

    alive: ClassVar[list[FakeWorker]] = []
    most_alive: ClassVar[int] = 0
    started: ClassVar[list[str]] = []
    step_s: ClassVar[Callable[[str, int], float]] = lambda label, batch: 0.01
    breaks: ClassVar[Callable[[str, str], None]] = lambda op, label: None
    pid = 1

    def __init__(self, label: str, log: Path, server: None = None) -> None:
        self.label, self.log = label, log
        self.running = True
        self._batches = 0
        self._asked: dict[str, Any] = {}

    @classmethod
    def fresh(cls) -> type[FakeWorker]:
        """Forget what earlier tests did."""
        cls.alive, cls.most_alive, cls.started = [], 0, []
        cls.step_s = lambda label, batch: 0.01
        cls.breaks = lambda op, label: None
        return cls

    def __enter__(self) -> Self:
        kind = type(self)
        kind.alive.append(self)
        kind.started.append(self.label)
        kind.most_alive = max(kind.most_alive, len(kind.alive))
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()
        type(self).alive.remove(self)

    def kill(self) -> None:
        """End."""
        self.running = False

    def pause(self) -> None:
        """Stop."""

    def resume(self) -> None:
        """Go on."""

    def send(self, op: str, **payload: Any) -> None:
        """Take a message."""
        self._asked = {"op": op, **payload}

    def receive(self, op: str, timeout_s: float) -> dict[str, Any]:
        """Answer it."""
        return self.call(op, timeout_s, **{k: v for k, v in self._asked.items() if k != "op"})

    def call(self, op: str, timeout_s: float, **payload: Any) -> dict[str, Any]:
        """Answer a message, or break."""
        try:
            type(self).breaks(op, self.label)
        except ArmError:
            self.running = False
            raise
        return {"load": self._load, "generate": self._generate}.get(op, lambda _: {})(payload)

    def _load(self, _: dict[str, Any]) -> dict[str, Any]:
        vocabulary = {"size": 9, "prefix_token_id": 0, "eot_token_id": 1, "max_length": 99}
        return {
            "load_s": 1.0,
            "memory": {"peak": 7, "resident": 7, "anonymous": 4, "file_backed": 3},
            "vocabulary": vocabulary,
            "facts": {},
            "notes": [],
            "threads": {"torch": 2},
            "libraries": {},
        }

    def _generate(self, payload: dict[str, Any]) -> dict[str, Any]:
        step_s = type(self).step_s(self.label, self._batches)
        self._batches += 1
        traces = [
            RequestTrace(
                prompt_id=request["prompt_id"],
                arm="",
                round=0,
                warmup=False,
                batch=0,
                scheduled_s=0.0,
                sent_s=0.0,
                encoded_s=0.0,
                token_s=tuple(PREFILL_S + step_s * n for n in range(request["output_tokens"])),
                prompt_tokens=8,
                output_ids=(3,) * request["output_tokens"],
            )
            for request in payload["requests"]
        ]
        return {
            "traces": [asdict(trace) for trace in traces],
            "memory": {"peak": 100, "resident": 90, "anonymous": 60, "file_backed": 30},
            "peak_unknown": None,
            "facts": {},
        }
