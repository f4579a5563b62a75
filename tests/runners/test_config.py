import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from leanboard.results.errors import ConfigError
from leanboard.runners import config


@dataclass(frozen=True)
class Knobs:
    name: str
    size: int = 1
    share: float | None = None
    fast: bool = False
    parts: Sequence[str] = ()
    sizes: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError("size must be at least 1")


def test_a_suite_is_filled_in_from_its_file() -> None:
    suite = config.compose(["suite=quickstart"])["suite"]
    assert [block["backend"] for block in suite["blocks"]] == ["transformers", "llamacpp"]


def test_techniques_compose_in_the_order_given() -> None:
    composed = config.compose(["technique=[static-cache,bf16]"])
    assert list(composed["technique"]) == ["static-cache", "bf16"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=smollm2-135m"], "Did you mean 'smollm2-135m-instruct'"),
        (["technique=int8-weigth-only"], "Did you mean 'int8-weight-only'"),
        (["workload=nothing-like-it"], "Available: .*chat"),
        (["workload.prompt_token=3"], "Did you mean 'workload.prompt_tokens'"),
        (["nonsense=1"], "no config key 'nonsense'"),
        (["+nonsense=1"], "no key 'nonsense'"),
        (["technique=bf16", "technique.bf16.x=1"], "In 'technique.bf16' there are: none"),
        (["model=custom"], "add model.id="),
        (["a b c"], "a b c"),
    ],
)
def test_a_wrong_override_says_what_is_wrong_and_what_there_is(
    overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        config.compose(overrides)


def test_named_reads_one_option_alone() -> None:
    assert config.named("workload", "chat")["prompt_tokens"] == 128


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="no workload 'talk'"):
        config.named("workload", "talk")


def test_a_dataclass_takes_its_own_keys_only() -> None:
    assert config.typed(Knobs, {"name": "a", "size": 2}, "knobs") == Knobs("a", 2)
    with pytest.raises(ConfigError, match="knobs has no key 'sise'; it has: fast, name, "):
        config.typed(Knobs, {"name": "a", "sise": 2}, "knobs")
    with pytest.raises(ConfigError, match="knobs needs a value for 'name'"):
        config.typed(Knobs, {"size": 2}, "knobs")
    with pytest.raises(ConfigError, match="size must be at least 1"):
        config.typed(Knobs, {"name": "a", "size": 0}, "knobs")


@pytest.mark.parametrize("share", [None, 1, 1.5, -2])
def test_a_number_may_be_given_as_a_whole_one(share: float | None) -> None:
    assert config.typed(Knobs, {"name": "a", "share": share}, "knobs").share == share


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("name", 3, "text"),
        ("size", 1.0, "a whole number"),
        ("size", True, "a whole number"),
        ("share", True, "a finite number, null"),
        ("share", math.inf, "a finite number, null"),
        ("share", math.nan, "a finite number, null"),
        ("share", 10**400, "a finite number, null"),
        ("fast", "no", "true, false"),
        ("fast", 0, "true, false"),
        ("fast", None, "true, false"),
    ],
)
def test_a_scalar_of_another_type_is_refused(key: str, value: object, allowed: str) -> None:
    with pytest.raises(ConfigError, match=rf"knobs\.{key} is .*; it can be: {allowed}\.$"):
        config.typed(Knobs, {"name": "a", key: value}, "knobs")


def test_what_is_no_scalar_is_left_to_the_class() -> None:
    values = {"name": "a", "parts": ["b"], "sizes": {"c": 1}}
    made = config.typed(Knobs, values, "knobs")
    assert (made.parts, made.sizes) == (["b"], {"c": 1})
