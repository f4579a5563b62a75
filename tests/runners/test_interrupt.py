"""A signal is remembered, whatever becomes of the exception that it raises."""

import signal
from collections.abc import Iterator

import pytest

from leanboard.runners import interrupt


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    interrupt._asked.clear()
    for number, handler in before.items():
        signal.signal(number, handler)


class Swallowing:
    """Its destructor is where the signal comes."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_was_swallowed_ends_the_work_when_it_asks(
    number: signal.Signals,
) -> None:
    interrupt.listen()
    interrupt.raise_if_asked()  # nothing came yet
    Swallowing(number)
    with pytest.raises(KeyboardInterrupt):
        interrupt.raise_if_asked()


def test_a_signal_interrupts_at_once_where_nothing_is_in_its_way() -> None:
    interrupt.listen()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
