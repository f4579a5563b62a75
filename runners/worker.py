"""The process that holds one arm: loads it, runs it, and dies with its parent.

Started by ``leanboard.runners.isolate`` as ``python -m leanboard.runners.worker PARENT_PID``, or
copied from a fork server, which is a worker too, with the number of a socket as second argument.
It reads one JSON message a line from standard input and answers each with one line. Whatever
libraries print goes to standard error, which the parent keeps as the arm's log.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from typing import IO, Any

from leanboard.metrics.metric import Missing
from leanboard.results.errors import ArmError
from leanboard.runners import wire
from leanboard.runners.backends.base import Device, Engine, Request
from leanboard.runners.child import die_with_parent, private_stdout
from leanboard.runners.code import code_hash
from leanboard.runners.forked import Forker
from leanboard.runners.machine import memory
from leanboard.runners.machine.allocator import keep_freed_memory, release_free_memory
from leanboard.runners.machine.libraries import library_facts, thread_pools
from leanboard.runners.techniques.base import Technique

# How long a worker gathers results before it tells them.
_MOMENT_S = 1.0


class Session:
    """The state of a worker: nothing, or one loaded engine."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._engine: Engine | None = None
        self._stream: Iterator[Any] = iter(())

    @property
    def engine(self) -> Engine:
        """The loaded engine.

        Raises:
            RuntimeError: if nothing has been loaded.
        """
        if self._engine is None:
            raise RuntimeError("nothing is loaded")
        return self._engine

    def import_libraries(self, message: wire.Message) -> wire.Message:
        """Import what a backend and its techniques need, before anything is timed."""
        _imported(message)
        return {}

    def load(self, message: wire.Message) -> wire.Message:
        """Load a model with its techniques; answer with all that is then known.

        Raises:
            ArmError: if this process runs other code than the run began with.
        """
        if message.get("code", code_hash()) != code_hash():
            raise ArmError(
                "leanboard's own code was edited since the run began, and arms of two codes "
                "cannot be compared. Give the command again."
            )
        device = Device(**message["device"])
        if device.memory_cap_bytes is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (device.memory_cap_bytes,) * 2)
        backend, techniques = _imported(message)
        started_s = time.perf_counter()
        loading = backend.load(wire.model_from_wire(message["model"]), techniques, device)
        self._engine = self._stack.enter_context(loading)
        load_s = time.perf_counter() - started_s
        load_memory = _memory()
        release_free_memory()
        return {
            "load_s": load_s,
            "memory": load_memory,
            "vocabulary": asdict(self.engine.vocabulary),
            "facts": wire.facts_to_wire(self.engine.facts()),
            "notes": self.engine.notes(),
            "threads": thread_pools(),
            "libraries": library_facts(),
        }

    def make(self, message: wire.Message) -> wire.Message:
        """Begin to make what techniques will read; ``more`` gives the lines of progress."""
        backend, techniques = _imported(message)
        model, device = wire.model_from_wire(message["model"]), Device(**message["device"])
        self._stream = backend.make(model, techniques, device)
        return {}

    def generate(self, message: wire.Message) -> wire.Message:
        """Run one static batch; the peak of resident memory is of this batch alone."""
        requests = [Request(**request) for request in message["requests"]]
        peak_unknown = memory.reset_peak()
        traces = self.engine.generate(requests)
        return {
            "traces": [asdict(trace) for trace in traces],
            "memory": _memory(),
            "peak_unknown": peak_unknown,
            "facts": wire.facts_to_wire(self.engine.facts()),
        }

    def encode(self, message: wire.Message) -> wire.Message:
        """Encode texts."""
        return {"ids": self.engine.encode_batch(message["texts"])}

    def decode(self, message: wire.Message) -> wire.Message:
        """Decode token ids."""
        return {"text": self.engine.decode(message["ids"])}

    def loglikelihood(self, message: wire.Message) -> wire.Message:
        """Begin to score spans of tokens; ``more`` gives the scores."""
        spans = wire.spans_from_wire(message)
        found = self.engine.loglikelihood(spans)
        self._stream = ([i, score.loglikelihood, score.is_greedy] for i, score in found)
        return {}

    def generate_until(self, message: wire.Message) -> wire.Message:
        """Begin to answer requests that end by themselves; ``more`` gives the answers."""
        requests = [wire.until_request_from_wire(plain) for plain in message["requests"]]
        found = self.engine.generate_until(requests)
        self._stream = ([i, a.output_ids, a.text, a.ended] for i, a in found)
        return {}

    def predict(self, message: wire.Message) -> wire.Message:
        """Begin to score spans beside the baseline's predictions; ``more`` gives the scores."""
        from leanboard.runners.accuracy.fidelity import LocalPredictor

        spans = wire.spans_from_wire(message)
        keep, against = (wire.path_from_wire(message[name]) for name in ("keep", "against"))
        found = LocalPredictor(self.engine).predict(spans, keep, against)
        if isinstance(found, Missing):
            return {"unfit": found.reason}
        self._stream = (wire.prediction_to_wire(i, prediction) for i, prediction in found)
        return {"unfit": None}

    def log_probabilities_of(self, message: wire.Message) -> wire.Message:
        """Tell the log-probabilities of some tokens after a context."""
        from leanboard.runners.accuracy.fidelity import LocalPredictor

        asked = LocalPredictor(self.engine)
        found = asked.log_probabilities_of(message["context"], message["tokens"])
        return {"log_probabilities": found}

    def more(self, _: wire.Message) -> wire.Message:
        """Return what came in the next moment of the work that was begun last, one thing at least.

        What ends the work with an error is told here.
        """
        until_s = time.monotonic() + _MOMENT_S
        items: list[Any] = []
        ended = True
        for item in self._stream:
            items.append(item)
            if time.monotonic() >= until_s:
                ended = False
                break
        notes = () if self._engine is None else self._engine.notes()
        return {"items": items, "ended": ended, "notes": notes}

    def facts(self, _: wire.Message) -> wire.Message:
        """Return what the engine can count."""
        return {"facts": wire.facts_to_wire(self.engine.facts())}

    def settle(self, _: wire.Message) -> wire.Message:
        """Hand back what earlier work left, so that the peak of memory is of the work to come."""
        release_free_memory()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        return {}

    def reset_peak(self, _: wire.Message) -> wire.Message:
        """Start a new window of peak memory."""
        return {"peak_unknown": memory.reset_peak()}

    def read_memory(self, _: wire.Message) -> wire.Message:
        """Read this process's memory."""
        return {"memory": _memory()}


def _imported(message: wire.Message) -> tuple[Any, list[Technique]]:
    """Return the backend and the techniques of a message, their libraries imported."""
    from hydra.utils import instantiate

    backend = instantiate(message["backend"])
    techniques: list[Technique] = [instantiate(config) for config in message["techniques"]]
    backend.import_libraries()
    for technique in techniques:
        technique.import_libraries()
    return backend, techniques


def _memory() -> wire.Message | None:
    """Return this process's memory in bytes; ``None`` where the system does not say."""
    reading = memory.process_memory()
    return None if reading is None else asdict(reading)


Operation = Callable[[Session, wire.Message], wire.Message]

_OPERATIONS: dict[str, Operation] = {
    "import_libraries": Session.import_libraries,
    "load": Session.load,
    "make": Session.make,
    "generate": Session.generate,
    "encode": Session.encode,
    "decode": Session.decode,
    "loglikelihood": Session.loglikelihood,
    "generate_until": Session.generate_until,
    "predict": Session.predict,
    "log_probabilities_of": Session.log_probabilities_of,
    "more": Session.more,
    "facts": Session.facts,
    "settle": Session.settle,
    "reset_peak": Session.reset_peak,
    "read_memory": Session.read_memory,
}


def answer(
    session: Session, message: wire.Message, operations: Mapping[str, Operation] = _OPERATIONS
) -> wire.Message:
    """Carry out one message; an error becomes an answer."""
    try:
        return {"ok": True, **operations[message["op"]](session, message)}
    except Exception as error:  # noqa: BLE001  the parent decides what an error means
        import traceback

        traceback.print_exc()
        text = str(error) or type(error).__name__
        if not isinstance(error, wire.EXPECTED):
            text = f"{type(error).__name__}: {text}"
        return {"ok": False, "kind": wire.error_kind(error), "message": text}


def serve(
    asked: IO[bytes], answers: IO[bytes], operations: Mapping[str, Operation] = _OPERATIONS
) -> None:
    """Answer messages until there are no more."""
    session = Session()
    for line in asked:
        message: dict[str, Any] = json.loads(line)
        answers.write(wire.encode(answer(session, message, operations)))
        answers.flush()


def main(argv: list[str]) -> None:
    """Serve messages until standard input ends."""
    die_with_parent(int(argv[1]))
    keep_freed_memory()
    operations = _OPERATIONS
    if len(argv) > 2:
        forker = Forker(int(argv[2]), serve)
        operations = {
            "import_libraries": Session.import_libraries,
            "fork": lambda _, message: forker.fork(message),
            "reap": lambda _, message: forker.reap(message),
        }
    with private_stdout() as channel:
        serve(sys.stdin.buffer, channel, operations)


if __name__ == "__main__":
    main(sys.argv)
