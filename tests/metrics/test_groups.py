"""Values are put together by their unit."""

from __future__ import annotations

import pytest

from leanboard.metrics.groups import grouped


def test_groups_come_in_the_order_in_which_they_are_met() -> None:
    assert grouped([1.0, 2.0, 3.0, 4.0], [7, 2, 7, 2]) == [[1.0, 3.0], [2.0, 4.0]]
    assert grouped([], []) == []


def test_a_value_without_a_group_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        grouped([1.0, 2.0], [0])
