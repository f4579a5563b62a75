"""What every metric must say about itself."""

from __future__ import annotations

import re

import pytest

from leanboard.metrics.metric import Direction, Kind, Metric, Role
from leanboard.metrics.registry import METRICS, metric

UNITS = {"s", "tok/s", "1", "B", "bit", "J", "W"}
SUFFIXES = {"_s": "s", "_j": "J", "_w": "W", "_bytes": "B", "_per_s": "tok/s"}


@pytest.mark.parametrize("column", METRICS, ids=lambda column: column.name)
def test_a_metric_says_what_it_is(column: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
    assert column.unit in UNITS
    assert column.kinds
    assert column.label[0].isupper()
    assert column.doc.endswith(".")
    assert len(column.doc) > 20
    assert column.source


@pytest.mark.parametrize("column", METRICS, ids=lambda column: column.name)
def test_the_unit_in_a_name_is_the_unit(column: Metric) -> None:
    ends = [suffix for suffix in SUFFIXES if column.name.endswith(suffix)]
    for suffix in sorted(ends, key=len)[-1:]:
        assert column.unit == SUFFIXES[suffix]


def test_names_are_unique() -> None:
    names = [column.name for column in METRICS]
    assert len(names) == len(set(names))


def test_every_role_has_a_metric() -> None:
    assert {column.role for column in METRICS} == set(Role)


def test_compared_metrics_have_a_better_direction() -> None:
    assert all(c.direction is not Direction.NEUTRAL for c in METRICS if c.paired)


def test_the_default_columns_touch_latency_memory_energy_and_quality() -> None:
    roles = {column.role for column in METRICS if column.headline}
    assert {Role.LATENCY, Role.THROUGHPUT, Role.MEMORY, Role.ENERGY, Role.QUALITY} <= roles


def test_scores_apply_to_answers_and_times_to_requests() -> None:
    assert metric("acc").kinds == {Kind.ANSWERS}
    assert metric("ttft_s").kinds == {Kind.REQUESTS}


def test_an_unknown_metric_names_the_closest_ones() -> None:
    with pytest.raises(KeyError, match=r"did you mean .*ttft_s"):
        metric("tftt_s")
