"""Ctrl-C in the middle of a task, and the same command again: real workers, a real model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from lm_eval.api.instance import Instance

from leanboard.runners import wire
from leanboard.runners.accuracy.adapter import EngineLM
from leanboard.runners.accuracy.kept_engine import KeptEngine
from leanboard.runners.accuracy.score_cache import KeptScores
from leanboard.runners.backends.base import Device, ModelFiles, Vocabulary
from leanboard.runners.isolate import Worker
from leanboard.runners.remote import RemoteEngine

pytestmark = pytest.mark.process
TIMEOUT_S = 120.0
PAIRS = [(f"Question {n % 7}: what", f" follows {n}?") for n in range(30)]
REQUESTS = [
    Instance("loglikelihood", {}, pair, 0, metadata=("made", n, 1)) for n, pair in enumerate(PAIRS)
]
OPEN = [
    Instance("generate_until", {}, (f"Say {n}:", {"max_gen_toks": n + 2}), 0, metadata=("o", n, 1))
    for n in range(6)
]


@contextmanager
def loaded(model: ModelFiles, log: Path) -> Iterator[RemoteEngine]:
    """Load the model in a process of its own."""
    with Worker("arm", log) as worker:
        reply = worker.call(
            "load",
            TIMEOUT_S,
            device=asdict(Device("cpu", 1, "float32")),
            backend={"_target_": "leanboard.runners.backends.transformers.TransformersBackend"},
            techniques=[],
            model=wire.model_to_wire(model),
        )
        yield RemoteEngine(worker, Vocabulary(**reply["vocabulary"]), TIMEOUT_S)


def interrupted_after(answers: int, engine: RemoteEngine, kept: KeptScores) -> EngineLM:
    """Return a model whose progress is interrupted when the engine has given so many answers."""

    def progress(_done: int, _total: int) -> None:
        if kept.scored == answers:
            raise KeyboardInterrupt

    return EngineLM(KeptEngine(engine, kept), progress)


def test_another_process_is_asked_only_what_is_missing(
    tiny_llama: ModelFiles, tmp_path: Path
) -> None:
    def kept() -> KeptScores:
        return KeptScores.open(tmp_path / "kept", {"arm": "none"}, lambda _: None)

    with loaded(tiny_llama, tmp_path / "first.log") as engine:
        lm = interrupted_after(11, engine, kept())
        with pytest.raises(KeyboardInterrupt):
            lm.loglikelihood(REQUESTS)
        lm = interrupted_after(2, engine, kept())
        with pytest.raises(KeyboardInterrupt):
            lm.generate_until(OPEN)
    with loaded(tiny_llama, tmp_path / "second.log") as engine:
        plain, again = EngineLM(engine), kept()
        resumed = EngineLM(KeptEngine(engine, again))
        expected, found = plain.loglikelihood(REQUESTS), resumed.loglikelihood(REQUESTS)
        assert (again.served, again.scored) == (11, len(REQUESTS) - 11)
        assert resumed.generate_until(OPEN) == plain.generate_until(OPEN)
        assert (again.served, again.scored) == (11 + 2, len(REQUESTS) - 11 + len(OPEN) - 2)
    assert [score for score, _ in found] == pytest.approx([s for s, _ in expected], abs=1e-3)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]
    assert resumed.answers == plain.answers
