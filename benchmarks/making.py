"""How long a calibrated technique takes to make what it reads: each alone, from nothing.

Every technique of the menu that is calibrated and makes something, with the menu's values, on
SmolLM2-135M-Instruct; none of what was kept of earlier runs is used. Loading the model and reading
the calibration text count, importing libraries does too.

    python -m benchmarks.making                     all of them, half an hour on two cores
    python -m benchmarks.making gptq cospadi        some
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.report import Line, write
from leanboard.results.errors import LeanboardError
from leanboard.runners.grid import BlockSpec, blocks
from leanboard.runners.making import keep_calibration
from leanboard.runners.models import prepare_model
from leanboard.runners.passages import load_pools
from leanboard.runners.technique_texts import technique_texts
from leanboard.runners.techniques.base import MadeTechnique, Technique

MODEL = "smollm2-135m-instruct"
MOST_S = 300.0


def calibrated() -> Iterator[str]:
    """Yield the techniques of the menu that make something from calibration text."""
    for name, text in technique_texts().items():
        if text.calibrated and isinstance(_arm(name)[1][-1], MadeTechnique):
            yield name


def _arm(name: str) -> tuple[BlockSpec, list[Technique]]:
    (spec,) = blocks([f"model={MODEL}", f"technique={name}"])
    return spec, [technique.build() for technique in spec.arms[-1].techniques]


def seconds(name: str) -> float:
    """Make what a technique reads in a new folder; return how long that took.

    Raises:
        LeanboardError: if it cannot be made.
    """
    spec, techniques = _arm(name)
    model = prepare_model(spec.model, spec.cache, _quiet)
    text = keep_calibration(load_pools(spec.data, spec.cache, _quiet).prompts, spec.cache)
    with tempfile.TemporaryDirectory() as folder:
        files = replace(model.files, calibration=text, made=Path(folder))
        started_s = time.perf_counter()
        spec.build_backend().prepare(files, techniques, spec.device, _quiet)
        return time.perf_counter() - started_s


def _quiet(text: str) -> None:
    pass


def line(name: str) -> tuple[Line, float | None]:
    """Return the claim about a technique with what was found, and the seconds."""
    claim = f"{name}: made within {MOST_S:.0f} s"
    try:
        took_s = seconds(name)
    except LeanboardError as error:
        return Line(claim, str(error), held=False), None
    return Line(claim, f"{took_s:.0f} s", took_s <= MOST_S), took_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Make them one after the other; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("techniques", nargs="*", metavar="TECHNIQUE")
    names = parser.parse_args(arguments).techniques or list(calibrated())
    found = {}
    for name in names:
        found[name] = line(name)
        print(f"{name}: {found[name][0].figure}", flush=True)
    data = {name: took_s for name, (_, took_s) in found.items()}
    return write("making", [each for each, _ in found.values()], data)


if __name__ == "__main__":
    sys.exit(main())
