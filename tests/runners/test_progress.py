from io import StringIO

from rich.console import Console

from leanboard.runners.progress import Pace, PlainProgress, clock_text, progress_on


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_before_anything_is_done_the_estimate_is_what_is_left() -> None:
    pace = Pace(Clock())
    pace.total_s = 100.0
    assert pace.left_s() == 100.0


def test_the_real_pace_counts_by_the_share_that_is_done() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.total_s, pace.done_s, clock.now_s = 100.0, 50.0, 100.0
    # Twice as slow as estimated, half done: pace 0.5 * 2 + 0.5 * 1 = 1.5; 50 s of work are left.
    assert pace.left_s() == 75.0


def test_a_log_gets_a_line_only_every_some_seconds() -> None:
    clock, lines = Clock(), list[str]()
    progress = PlainProgress(lines.append, clock)
    progress.add(60.0)
    for second in range(1, 31):
        clock.now_s = float(second)
        progress.advance(1.0, "none: chat")
    assert lines == ["  none: chat; about 45 s left", "  none: chat; about 30 s left"]


def test_minutes_are_written_for_people() -> None:
    assert [clock_text(59.4), clock_text(60), clock_text(605)] == [
        "59 s",
        "1 min 00 s",
        "10 min 05 s",
    ]


def test_without_a_terminal_lines_are_plain() -> None:
    out = StringIO()
    with progress_on(Console(file=out, force_terminal=False)) as progress:
        progress.say("a [bold] line")
    assert out.getvalue() == "a [bold] line\n"


def test_on_a_terminal_there_is_a_bar() -> None:
    out = StringIO()
    with progress_on(Console(file=out, force_terminal=True, width=80)) as progress:
        progress.add(10.0)
        progress.advance(5.0, "none: chat")
        progress.say("kept")
    assert "kept" in out.getvalue()
    assert "none: chat" in out.getvalue()
