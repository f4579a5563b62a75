"""How long a calibrated technique takes to make what it reads: each alone, from nothing.

Every technique of the menu that is calibrated and makes something, with the menu's values, on
SmolLM2-135M-Instruct; with ``--suites`` besides every other choice of knobs that a suite asks of
one of them on that model. Knobs that only ``apply`` reads make no other; what a technique makes
after others is not timed apart. None of what was kept of earlier runs is used. Loading the model
and reading the calibration text count, importing libraries does too.

What is calibrated reads statistics of the text and has a bound; what is trained takes as long as
its steps, and is only reported.

    python -m benchmarks.making                     the menu's, half an hour on two cores
    python -m benchmarks.making --suites            those of the suites too, more than an hour
    python -m benchmarks.making --suites cospadi    some
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.report import Line, write
from leanboard.results.errors import LeanboardError
from leanboard.runners import config
from leanboard.runners.grid import TechniqueSpec, blocks
from leanboard.runners.making import keep_calibration
from leanboard.runners.models import prepare_model
from leanboard.runners.passages import load_pools
from leanboard.runners.techniques.base import MadeTechnique, Technique, knobs_of

MODEL = "smollm2-135m-instruct"
MOST_S = 300.0


@dataclass(frozen=True, slots=True)
class Variant:
    """A calibrated technique with its knobs.

    Args:
        label: its name, and the knobs that are not the menu's.
        technique: that makes something.
    """

    label: str
    technique: Technique


def variants(*, suites: bool = False) -> Iterator[Variant]:
    """Yield what is calibrated and made of the menu, then what else the suites ask for."""
    seen: list[tuple[type, dict[str, Any]]] = []
    for spec in (*_of_menu(), *(_of_suites() if suites else ())):
        technique = spec.build()
        made = type(technique), _making_knobs(technique)
        if technique.calibrated and isinstance(technique, MadeTechnique) and made not in seen:
            seen.append(made)
            yield Variant(_label(spec, technique), technique)


def _of_menu() -> Iterator[TechniqueSpec]:
    for name in config.options("technique"):
        plain = config.named("technique", name)
        if "_target_" in plain:
            yield TechniqueSpec(name, plain)


def _of_suites() -> Iterator[TechniqueSpec]:
    for suite in config.options("suite"):
        for block in blocks([f"suite={suite}"]):
            if block.model.name == MODEL:
                yield from (technique for arm in block.arms for technique in arm.techniques)


def _making_knobs(technique: Technique) -> dict[str, Any]:
    """Return the knobs that say what it makes."""
    knobs = knobs_of(technique)
    return {knob: knobs[knob] for knob in knobs if knob not in technique.applied_knobs}


def _label(spec: TechniqueSpec, technique: Technique) -> str:
    menu = _making_knobs(TechniqueSpec(spec.name, config.named("technique", spec.name)).build())
    knobs = _making_knobs(technique)
    return " ".join([spec.name, *(f"{k}={knobs[k]}" for k in knobs if knobs[k] != menu.get(k))])


def seconds(technique: Technique) -> float:
    """Make what a technique reads in a new folder; return how long that took.

    Raises:
        LeanboardError: if it cannot be made.
    """
    (spec,) = blocks([f"model={MODEL}"])
    model = prepare_model(spec.model, spec.cache, _quiet)
    text = keep_calibration(load_pools(spec.data, spec.cache, _quiet).prompts, spec.cache)
    with tempfile.TemporaryDirectory() as folder:
        files = replace(model.files, calibration=text, made=Path(folder))
        started_s = time.perf_counter()
        spec.build_backend().prepare(files, [technique], spec.device, _quiet)
        return time.perf_counter() - started_s


def _quiet(text: str) -> None:
    pass


def line(variant: Variant) -> tuple[Line, float | None]:
    """Return the claim about a technique with what was found, and the seconds.

    What is trained has no bound: nothing is held against its time.
    """
    trained = variant.technique.trained
    claim = f"{variant.label}: {'trained' if trained else f'made within {MOST_S:.0f} s'}"
    try:
        took_s = seconds(variant.technique)
    except LeanboardError as error:
        return Line(claim, str(error), held=False), None
    return Line(claim, f"{took_s:.0f} s", None if trained else took_s <= MOST_S), took_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Make them one after the other; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--suites", action="store_true", help="with the knobs of the suites, too")
    parser.add_argument("techniques", nargs="*", metavar="TECHNIQUE")
    options = parser.parse_args(arguments)
    found = {}
    for variant in variants(suites=options.suites):
        if not options.techniques or variant.label.split()[0] in options.techniques:
            found[variant.label] = line(variant)
            print(f"{variant.label}: {found[variant.label][0].figure}", flush=True)
    if not found:
        parser.error(f"of {', '.join(options.techniques)} nothing is calibrated and made once")
    data = {label: took_s for label, (_, took_s) in found.items()}
    return write("making", [each for each, _ in found.values()], data)


if __name__ == "__main__":
    sys.exit(main())
