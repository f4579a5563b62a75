"""Whether a run's own samples and what was around them allow one to trust its numbers.

Each check takes one figure from a run and holds it against a limit; a figure that the system does
not show is ``None`` and accuses nothing. The limits of the samples are set by this machine's normal
noise (a virtual one with two cores: TPOT 2 to 3% and TTFT 3 to 7% within a process, 1.5% between
processes), which fewer than 1 of 100 runs exceeds in any of them; the other limits say where a
disturbance is as large as the differences that a comparison is to show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from leanboard.metrics.batches import Batch, batches
from leanboard.metrics.groups import grouped
from leanboard.metrics.intervals import mean
from leanboard.metrics.latency import ttft_s
from leanboard.metrics.steadiness import middle_range, spread, trend, widest_gap
from leanboard.metrics.trace import RequestObservation, RequestTrace, RoundTrace

MIN_ROUNDS = 5
"""Fewest timed rounds by which a run without a cause is called stable."""

FROM_SAMPLES = frozenset({"spread", "drift", "launches"})
"""Kinds of cause that a run's own samples show. A paired ratio over several launches holds them in
its interval: what drifts is in both arms of a round, and what launches differ by widens it."""

ASKED_FOR = frozenset({"applications-clocks-setting"})
"""Reasons for a low GPU clock that are a setting, and no throttling."""


Shape = frozenset[tuple[int, int]]
"""Tokens of prompt and output of the requests of a round."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that makes a run unstable: its kind, and the figure with its limit in words."""

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is said of a run.

    Args:
        stable: ``None`` where no cause was found, and there are fewer than ``MIN_ROUNDS`` rounds.
        causes: in the order of ``CHECKS``.
        figures: what was looked at, by name; ``None`` where it is not known.
    """

    stable: bool | None
    causes: tuple[Cause, ...]
    figures: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class _Seen:
    """The timed rounds: values over those usual for their shape, and surroundings, in order."""

    step: Mapping[int, float]
    ttft: Mapping[int, float]
    launch: Mapping[int, int]
    around: tuple[RoundTrace, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """One figure and its limit.

    Args:
        kind: kind of the cause.
        name: name of the figure.
        limit: the run is unstable if the figure's size is above it.
        words: what the figure is.
        take: the figure of a run; ``None`` where it is not known.
        spec: how figure and limit are written.
    """

    kind: str
    name: str
    limit: float
    words: str
    take: Callable[[_Seen], float | None]
    spec: str = ".1%"

    def cause(self, figure: float | None) -> Cause | None:
        """Return the cause if a figure is beyond the limit."""
        if figure is None or abs(figure) <= self.limit:
            return None
        shown, limit = format(figure, self.spec), format(self.limit, self.spec)
        return Cause(self.kind, f"{self.words}: {shown}, the limit is {limit}")


def judge(observation: RequestObservation) -> Judgement:
    """Return whether a run was stable, why not, and the figures that say so."""
    seen = _seen(observation)
    figures = {check.name: check.take(seen) for check in CHECKS}
    found = [check.cause(figures[check.name]) for check in CHECKS]
    causes = tuple(cause for cause in found if cause is not None)
    enough = len(seen.ttft) >= MIN_ROUNDS
    return Judgement(False if causes else True if enough else None, causes, figures)


def step_s(request: RequestTrace) -> float | None:
    """Return the seconds of one forward pass of decoding; ``None`` where passes are not known.

    Without speculation this is TPOT. With it, TPOT differs from prompt to prompt by what is
    accepted, which says nothing about the machine.
    """
    tokens = request.token_s
    passes = len(tokens) if request.drafted is None else request.target_forwards
    if passes is None or passes < 2 or not tokens:
        return None
    return (tokens[-1] - tokens[0]) / (passes - 1)


def _seen(observation: RequestObservation) -> _Seen:
    timed = batches(observation)
    around = [seen for seen in observation.rounds if not seen.warmup]
    shapes = _shapes(timed)
    return _Seen(
        step=_over_usual(_by_round(timed, step_s), shapes),
        ttft=_over_usual(_by_round(timed, ttft_s), shapes),
        launch={batch[0].round: batch[0].launch for batch in timed},
        around=tuple(sorted(around, key=lambda seen: seen.round)),
    )


def _shapes(timed: Iterable[Batch]) -> dict[int, Shape]:
    """Return the prompt and output lengths of each round's requests."""
    shapes: dict[int, Shape] = {}
    for batch in timed:
        lengths = frozenset((r.prompt_tokens, r.output_tokens) for r in batch)
        shapes[batch[0].round] = shapes.get(batch[0].round, frozenset()) | lengths
    return shapes


def _over_usual(values: Mapping[int, float], shapes: Mapping[int, Shape]) -> dict[int, float]:
    """Return each round's value over the median of the rounds of its shape.

    What differs from shape to shape says nothing about the machine, and neither does a shape that
    only one round had: it is left out.
    """
    alike: dict[Shape, list[float]] = {}
    for number, value in values.items():
        alike.setdefault(shapes[number], []).append(value)
    usual = {shape: median(found) for shape, found in alike.items() if len(found) > 1}
    return {
        number: value / usual[shapes[number]]
        for number, value in values.items()
        if usual.get(shapes[number], 0.0) > 0
    }


def _by_round(
    timed: Iterable[Batch], value: Callable[[RequestTrace], float | None]
) -> dict[int, float]:
    """Return a round's mean over its batches; rounds without a value are left out."""
    rounds: dict[int, list[float]] = {}
    for batch in timed:
        found = [v for request in batch if (v := value(request)) is not None]
        if found:
            rounds.setdefault(batch[0].round, []).append(mean(found))
    return {number: mean(rounds[number]) for number in sorted(rounds)}


def _launch_gap(seen: _Seen) -> float | None:
    launches = grouped(seen.step.values(), [seen.launch[number] for number in seen.step])
    return widest_gap([median(values) for values in launches])


def _known(
    around: Iterable[RoundTrace], value: Callable[[RoundTrace], float | None]
) -> list[tuple[float, float]]:
    """Return value and duration of each round that has the value."""
    return [(v, seen.duration_s) for seen in around if (v := value(seen)) is not None]


def _per_second(seen: _Seen, value: Callable[[RoundTrace], float | None]) -> float | None:
    known = _known(seen.around, value)
    seconds = math.fsum(duration for _, duration in known)
    return math.fsum(v for v, _ in known) / seconds if seconds > 0 else None


def _steal_share(seen: _Seen) -> float | None:
    def stolen_s(around: RoundTrace) -> float | None:
        return None if around.steal_share is None else around.steal_share * around.duration_s

    return _per_second(seen, stolen_s)


def _faults_per_s(seen: _Seen) -> float | None:
    known = _known(seen.around, lambda around: around.minor_faults)
    rates = [faults / duration for faults, duration in known if duration > 0]
    return median(rates) if rates else None


def _clock_range(seen: _Seen, value: Callable[[RoundTrace], float | None]) -> float | None:
    return middle_range([clock for clock, _ in _known(seen.around, value)])


def _throttled_share(seen: _Seen) -> float | None:
    on_gpu = [s for s in seen.around if s.gpu_throttle or s.gpu_clock_hz is not None]
    held = [s for s in on_gpu if set(s.gpu_throttle) - ASKED_FOR]
    return len(held) / len(on_gpu) if on_gpu else None


def _gpu_others(seen: _Seen) -> float | None:
    return max((v for v, _ in _known(seen.around, lambda s: s.gpu_others)), default=None)


CHECKS: tuple[Check, ...] = (
    # In 8 rounds 1 of 1000 normal runs reaches 7 and 15%; half the rounds slowed by 20% show 13%.
    Check(
        "spread",
        "tpot_spread",
        0.10,
        "spread of the time per token over rounds",
        lambda seen: spread(list(seen.step.values())),
    ),
    Check(
        "spread",
        "ttft_spread",
        0.20,
        "spread of the time to first token over rounds",
        lambda seen: spread(list(seen.ttft.values())),
    ),
    # The line through 8 rounds of normal noise has a standard error of 3.7 and 7.8%.
    Check(
        "drift",
        "tpot_drift",
        0.10,
        "change of the time per token from the first round to the last",
        lambda seen: trend(list(seen.step.values())),
    ),
    Check(
        "drift",
        "ttft_drift",
        0.25,
        "change of the time to first token from the first round to the last",
        lambda seen: trend(list(seen.ttft.values())),
    ),
    # Launches fill their range evenly; neighbours this far apart are two speeds, or one odd launch.
    Check(
        "launches",
        "launch_gap",
        0.10,
        "gap between the times per token of slower and faster launches",
        _launch_gap,
    ),
    # What is stolen or used by others is lost to the run: more than the noise hides.
    Check("steal", "steal_share", 0.02, "CPU time stolen by the hypervisor", _steal_share),
    Check(
        "load",
        "other_cores",
        0.10,
        "cores used by other processes",
        lambda seen: _per_second(seen, lambda around: around.other_cpu_s),
        ".2f",
    ),
    # Decode follows memory more than the clock; 5% of clock is the smallest effect looked for.
    Check(
        "clock",
        "clock_range",
        0.05,
        "range of the processor's clock over rounds",
        lambda seen: _clock_range(seen, lambda around: around.clock_hz),
    ),
    Check(
        "clock",
        "gpu_clock_range",
        0.05,
        "range of the GPU's clock over rounds",
        lambda seen: _clock_range(seen, lambda around: around.gpu_clock_hz),
    ),
    Check(
        "throttling",
        "throttled_share",
        0.0,
        "rounds at whose end the GPU held its clock down",
        _throttled_share,
    ),
    Check("gpu-shared", "gpu_others", 0.0, "processes of others on the GPU", _gpu_others, ".0f"),
    # About 1 us each, so 1% of the time; the storms that were seen had 20,000 a second.
    Check("faults", "faults_per_s", 10_000.0, "page faults a second", _faults_per_s, ",.0f"),
)
