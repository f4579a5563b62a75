"""Answers that an arm gave before: kept as they come, served only to the very same question.

One file holds the answers of one arm to one kind of task. Its name is the hash of everything that
could change an answer (``score_key``), its first line says what that is, and every further line
holds one answer under the hash of the tokens that were asked. Each line carries a seal, so that
what a killed process left half written, or a disk spoiled, is seen and left out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from leanboard.metrics.trace import Provenance, Quantity
from leanboard.results.files import write_failed, write_whole
from leanboard.results.identity import canonical_json, digest
from leanboard.results.schema import AccuracyCell, Environment
from leanboard.runners.code import code_hash

FORMAT = 1
"""Raised whenever the lines of a file mean something else."""

_SEAL_DIGITS = 16
_NOTES = "notes"
# A name, a place or what was chosen from the task: the tokens of each request say that better.
_NOT_IN_KEY: dict[str, Any] = {
    "model": {"name", "source", "licence", "family"},
    "device": {"name"},
    "task": {"limit": True, "data_hash": True, "data_source": True, "settings": {"prompts_hash"}},
}


def score_key(cell: AccuracyCell, environment: Environment) -> dict[str, Any]:
    """Return everything that could change the answer to a given request.

    That is the weights, the techniques and the backend with their versions and knobs, the device
    with its threads and dtype, the task with its harness and settings, all packages, the code of
    leanboard, and what of the machine chooses kernels. Which items a limit chose, and the hash of
    their data, are left out: an answer is only served to a request of the same tokens, and a
    larger limit finds the answers of a smaller one.

    Args:
        cell: what is scored.
        environment: around it, with the thread pools and libraries of the arm's process.
    """
    gpus = [
        {"name": gpu.name, "driver": gpu.driver, "cuda": gpu.cuda, "can": gpu.compute_capability}
        for gpu in environment.gpus
    ]
    return {
        "format": FORMAT,
        "cell": cell.model_dump(mode="json", exclude=_NOT_IN_KEY),
        "code": code_hash(),
        "cpu": {"name": environment.cpu.name, "flags": sorted(environment.cpu.flags)},
        "gpus": gpus,
        "libc": environment.libc,
        "libraries": dict(environment.libraries),
        "packages": dict(environment.packages),
        "python": environment.python,
        "threads": dict(environment.threads),
        "variables": dict(environment.variables),
    }


@dataclass(slots=True)
class KeptScores:
    """The answers of one arm to one kind of task. Without a file they live as long as this.

    Args:
        path: the file; ``None`` keeps nothing.
        say: told what could not be read or kept.

    Attributes:
        served: requests that were answered from here.
        scored: requests that the engine answered.
        notes: what the engine said of how it answered, now and when the kept answers were given.
    """

    path: Path | None = None
    say: Callable[[str], None] = field(default=lambda _: None)
    served: int = 0
    scored: int = 0
    notes: tuple[str, ...] = ()
    _answers: dict[str, list[Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, key: Mapping[str, Any], say: Callable[[str], None]) -> Self:
        """Return what is kept under this key; nothing where that cannot be read.

        Args:
            folder: of all kept answers.
            key: from ``score_key``.
            say: told what could not be read or kept; nothing here ends a run.
        """
        kept = cls(folder / f"{digest(key)}.jsonl", say)
        kept._read(dict(key))
        return kept

    def answer_to(self, request: str) -> list[Any] | None:
        """Return the answer to the request with this hash; ``None`` if there is none."""
        return self._answers.get(request)

    def keep(self, request: str, answer: list[Any]) -> None:
        """Keep an answer: once this returns, a kill of this process does not lose it."""
        self._answers[request] = answer
        self._append([request, answer])

    def note(self, notes: Sequence[str]) -> None:
        """Keep what the engine says of how it answers."""
        together = tuple(dict.fromkeys((*self.notes, *notes)))
        if together != self.notes:
            self.notes = together
            self._append([_NOTES, together])

    def facts(self) -> dict[str, Quantity]:
        """Return how many requests were answered from here, and how many by the engine."""
        return {
            "answers_cached": Quantity(self.served, "1", Provenance.COUNTED),
            "answers_scored": Quantity(self.scored, "1", Provenance.COUNTED),
        }

    def _read(self, key: dict[str, Any]) -> None:
        if self.path is None:
            return
        try:
            found = self.path.read_bytes() if self.path.exists() else b""
            kept = self._take(found, key)
            mended = b"".join(line + b"\n" for line in (kept or [_sealed(key)]))
            if found != mended:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(self.path, mended)
        except OSError as error:
            self._stop_keeping(error)

    def _take(self, found: bytes, key: dict[str, Any]) -> list[bytes]:
        """Take the answers of a file; return its sound lines, none if it is not of this key."""
        # What follows the last line end was cut off by a kill, before it was served.
        lines = found.split(b"\n")[:-1]
        sound = [(line, value) for line in lines if (value := _unsealed(line)) is not None]
        if sound and digest(sound[0][1]) != digest(key):
            sound = []
        if len(sound) < len(lines):
            self.say(
                f"{len(lines) - len(sound)} lines of kept answers could not be read; what they "
                "held is scored again"
            )
        for _, (request, answer) in sound[1:]:
            if request == _NOTES:
                self.notes = tuple(answer)
            else:
                self._answers[request] = answer
        return [line for line, _ in sound]

    def _append(self, value: list[Any]) -> None:
        if self.path is None:
            return
        try:
            with self.path.open("ab") as file:
                file.write(_sealed(value) + b"\n")
        except OSError as error:
            self._stop_keeping(error)

    def _stop_keeping(self, error: OSError) -> None:
        if self.path is not None:
            reason = write_failed(error, self.path.parent)
            self.say(f"answers are not kept, and scored again next time: {reason}")
        self.path = None


def _sealed(value: object) -> bytes:
    """Return a value as one line, after the first digits of the hash of its JSON."""
    text = canonical_json(value)
    return _seal(text) + b" " + text


def _unsealed(line: bytes) -> Any:
    """Return the value of a line; ``None`` if its seal does not fit."""
    seal, _, text = line.partition(b" ")
    return json.loads(text) if seal == _seal(text) else None


def _seal(text: bytes) -> bytes:
    return hashlib.sha256(text).hexdigest()[:_SEAL_DIGITS].encode()
