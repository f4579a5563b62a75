"""What differs between two cells or two environments, named with both values."""

from __future__ import annotations

from record_factory import make_environment, make_record

from leanboard.results.difference import Difference, cell_differences, environment_differences
from leanboard.results.schema import Component, Environment


def test_the_same_environment_has_no_difference() -> None:
    assert environment_differences(make_environment(), make_environment()) == ()


def test_each_field_that_differs_is_named_with_both_values() -> None:
    then = make_environment()
    cpu = then.cpu.model_copy(update={"governor": "powersave", "flags": ("avx2", "amx_tile")})
    now = then.model_copy(
        update={
            "cpu": cpu,
            "kernel": "6.12.0",
            "packages": {"torch": "2.14.0", "not-looked-for-then": "1.0"},
            "git_dirty": True,
        }
    )
    then = then.model_copy(update={"cpu": then.cpu.model_copy(update={"governor": "performance"})})
    assert environment_differences(then, now) == (
        Difference("cpu.flags", [], ["amx_tile"]),
        Difference("cpu.governor", "performance", "powersave"),
        Difference("git_dirty", False, True),
        Difference("kernel", "6.1.0", "6.12.0"),
        Difference("packages.torch", "2.13.0", "2.14.0"),
        Difference("packages.transformers", "5.23.0", None),
    )


def test_load_counts_only_where_it_differs_clearly() -> None:
    then = make_environment().model_copy(update={"load_average": 0.4, "steal_share": 0.001})
    now = then.model_copy(update={"load_average": 0.9, "steal_share": 0.03})
    assert environment_differences(then, now) == (Difference("steal_share", 0.001, 0.03),)


def test_a_field_that_an_old_record_lacks_is_no_difference() -> None:
    fields = make_environment().model_dump(mode="json")
    now = Environment.model_validate({**fields, "swap_bytes": 1024, "container": "docker"})
    for name in ("swap_bytes", "container"):
        fields.pop(name)
    assert environment_differences(Environment.model_validate(fields), now) == ()


def test_a_null_of_the_record_is_a_difference() -> None:
    then = Environment.model_validate(
        {**make_environment().model_dump(mode="json"), "container": None}
    )
    now = then.model_copy(update={"container": "docker"})
    assert environment_differences(then, now) == (Difference("container", None, "docker"),)


def test_another_gpu_is_named() -> None:
    then, now = make_environment(gpu="Example A"), make_environment(gpu="Example B")
    assert environment_differences(then, now) == (
        Difference("gpus.0.name", "Example A", "Example B"),
    )


def test_versions_and_knobs_of_a_cell_are_named() -> None:
    then = make_record(techniques=[Component(name="t", version=1, params={"a": 1})]).cell
    now = make_record(techniques=[Component(name="t", version=2, params={"a": 1, "b": None})]).cell
    assert cell_differences(then, now) == (Difference("techniques.0.version", 1, 2),)
    other = make_record(techniques=[Component(name="t", version=1, params={"a": 2})]).cell
    assert cell_differences(then, other) == (Difference("techniques.0.params.a", 1, 2),)
