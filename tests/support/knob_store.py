"""Stores of two models with a technique at several knobs: for tests of the explorer only."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from record_factory import (
    Run,
    make_environment,
    make_model,
    make_procedure,
    make_run,
    request_observation,
)

from leanboard.results.schema import Component, Environment
from leanboard.results.store import Loaded, Store

MODELS = ("alpha-1b", "beta-1b")
TOKENS = (10, 2, 5)
"""Values of the knob, not in their order."""
WEIGHTS = 400_000_000
MACHINES = {"Example CPU @ 2.0 GHz": 1.0, "Faster CPU @ 4.0 GHz": 2.0}
"""Processors, and how fast they are; a store has the first, or both."""


def lookup(tokens: int, ngram: int = 2) -> Component:
    """Return a technique with two knobs."""
    params = {"num_tokens": tokens, "max_ngram_size": ngram}
    return Component(name="prompt-lookup", version=1, params=params)


def write_knobs(root: Path, machines: int = 1) -> Loaded:
    """Write both models' runs on so many machines, each with its baseline; read them back."""
    store = Store(root, "local")
    for processor, pace in list(MACHINES.items())[:machines]:
        environment = make_environment(cpu=processor)
        for place, model in enumerate(MODELS):
            for run in _runs(model, place, pace, environment):
                store.write(run.record, run.traces)
    return store.load()


def _runs(model: str, place: int, pace: float, environment: Environment) -> Iterator[Run]:
    pace *= 1.0 + place / 5
    run = partial(_run, model, environment=environment)
    baseline = run(pace, WEIGHTS * (1 + place))
    yield baseline
    for tokens in TOKENS:
        more = 1 + tokens / 100
        speed = pace * (1 + tokens / 20)
        yield run(speed, int(WEIGHTS * (1 + place) * more), (lookup(tokens),), baseline)
    static = Component(name="static-cache", version=1, params={"compile": False})
    yield run(0.8 * pace, WEIGHTS * (2 + place), (static,), baseline)


def _run(
    model: str,
    speed: float,
    weight_bytes: int,
    techniques: tuple[Component, ...] = (),
    baseline: Run | None = None,
    *,
    environment: Environment,
) -> Run:
    arm = f"{model} {speed}"
    return make_run(
        model=make_model(model),
        environment=environment,
        techniques=techniques,
        procedure=make_procedure(rounds_per_launch=1),
        baseline=baseline,
        observation=request_observation(
            arm=arm, speed=speed, weight_bytes=weight_bytes, rounds_per_launch=1
        ),
    )
