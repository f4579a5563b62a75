"""What a record says of an arm that only simulates a gain, or whose times are another's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from leanboard.results.gates import REQUANTISED
from leanboard.runners.block import Arm, arm_of
from leanboard.runners.grid import blocks
from leanboard.runners.recording import warnings_of


def arms(*techniques: str) -> tuple[Arm, ...]:
    (block,) = blocks([f"technique=[{','.join(techniques)}]"])
    return tuple(arm_of(spec) for spec in block.arms)


def block_of(origin: str) -> Any:
    return SimpleNamespace(model=SimpleNamespace(identity=SimpleNamespace(weights_origin=origin)))


def test_an_arm_that_simulates_names_the_metrics_in_a_warning() -> None:
    baseline, arm = arms("minifloat")
    assert warnings_of(block_of("float"), baseline) == ()
    (warning,) = warnings_of(block_of("float"), arm)
    assert warning.startswith("simulated: ")
    assert "bits_per_weight, weight_bytes" in warning


def test_what_any_technique_of_an_arm_simulates_counts() -> None:
    _, arm = arms("static-cache", "minifloat")
    assert arm.simulates == {"bits_per_weight", "weight_bytes"}
    (warning,) = warnings_of(block_of("random"), arm)
    assert warning.startswith("simulated: ")


def test_a_requantised_arm_that_simulates_has_both_warnings() -> None:
    _, arm = arms("minifloat")
    first, second = warnings_of(block_of("q4_1"), arm)
    assert first.startswith(REQUANTISED)
    assert second.startswith("simulated: ")


@pytest.mark.parametrize(
    ("name", "who"),
    [("fp8", "leanboard"), ("random-sharing", "leanboard"), ("int8-weight-only", "torchao")],
)
def test_an_arm_whose_weights_are_expanded_says_by_whom(name: str, who: str) -> None:
    baseline, arm = arms(name)
    assert baseline.expanded_by == ""
    (warning,) = warnings_of(block_of("float"), arm)
    assert warning.startswith(f"expanded: {who} expands")


def test_layers_that_a_library_expands_on_some_processors_only_are_said_where_they_are() -> None:
    _, arm = arms("bnb-nf4")
    assert warnings_of(block_of("float"), arm, {"bfloat16_layers"}) == ()
    (warning,) = warnings_of(block_of("float"), arm, {"expanded_layers"})
    assert warning.startswith("expanded: its library expands")


@pytest.mark.parametrize("name", ["int8-dynamic", "bf16", "contextual", "torch-compile"])
def test_an_arm_that_really_does_it_has_no_such_warning(name: str) -> None:
    _, arm = arms(name)
    assert warnings_of(block_of("float"), arm) == ()
