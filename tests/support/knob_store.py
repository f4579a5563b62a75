"""A store of two models with a technique at several knobs: for tests of the explorer only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from record_factory import Run, make_model, make_procedure, make_run, request_observation

from leanboard.results.schema import Component
from leanboard.results.store import Loaded, Store

MODELS = ("alpha-1b", "beta-1b")
TOKENS = (10, 2, 5)
"""Values of the knob, not in their order."""
WEIGHTS = 400_000_000


def lookup(tokens: int, ngram: int = 2) -> Component:
    """Return a technique with two knobs."""
    params = {"num_tokens": tokens, "max_ngram_size": ngram}
    return Component(name="prompt-lookup", version=1, params=params)


def write_knobs(root: Path) -> Loaded:
    """Write both models' runs, each with its baseline; read them back."""
    store = Store(root, "local")
    for place, model in enumerate(MODELS):
        for run in _runs(model, place):
            store.write(run.record, run.traces)
    return store.load()


def _runs(model: str, place: int) -> Iterator[Run]:
    pace = 1.0 + place / 5
    baseline = _run(model, pace, WEIGHTS * (1 + place))
    yield baseline
    for tokens in TOKENS:
        more = 1 + tokens / 100
        speed = pace * (1 + tokens / 20)
        yield _run(model, speed, int(WEIGHTS * (1 + place) * more), (lookup(tokens),), baseline)
    static = Component(name="static-cache", version=1, params={"compile": False})
    yield _run(model, 0.8 * pace, WEIGHTS * (2 + place), (static,), baseline)


def _run(
    model: str,
    speed: float,
    weight_bytes: int,
    techniques: tuple[Component, ...] = (),
    baseline: Run | None = None,
) -> Run:
    arm = f"{model} {speed}"
    return make_run(
        model=make_model(model),
        techniques=techniques,
        procedure=make_procedure(rounds_per_launch=1),
        baseline=baseline,
        observation=request_observation(
            arm=arm, speed=speed, weight_bytes=weight_bytes, rounds_per_launch=1
        ),
    )
