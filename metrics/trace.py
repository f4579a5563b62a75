"""Observations: what a worker saw, before any statistics.

Times are seconds on one monotonic clock (``time.perf_counter``), energies joules, sizes bytes.
``None`` always means "not measured"; zero means that zero was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Provenance(StrEnum):
    """Where a number comes from, strongest first."""

    MEASURED = "measured"
    COUNTED = "counted"
    MODELLED = "modelled"
    SIMULATED = "simulated"


_STRENGTH = {provenance: rank for rank, provenance in enumerate(Provenance)}


def weakest(provenances: Iterable[Provenance]) -> Provenance:
    """Return the provenance that a value derived from all of these may claim.

    Raises:
        ValueError: if there is no input.
    """
    return max(provenances, key=_STRENGTH.__getitem__)


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number with its unit and provenance (``weight_bytes``, ``load_s`` ...)."""

    value: float
    unit: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class RequestTrace:
    """One generation request of one arm in one round.

    Args:
        prompt_id: identity of the prompt inside the workload's prompt set.
        arm: name of the arm within its block.
        round: round number, counted from 0; warm-ups count apart from 0 as well.
        warmup: whether the request only warmed the arm up.
        batch: number of the static batch that the request was part of (n counts batches).
        scheduled_s: when the request was due.
        sent_s: t0, when it was handed to the engine as text.
        encoded_s: when its prompt had become token ids; ``None`` if the engine cannot tell.
        token_s: t1..tn, arrival of each output token. Tokens committed together share one time.
        prompt_tokens: length of the prompt in tokens.
        output_ids: the generated token ids; its length is the number of output tokens.
        drafted: tokens proposed by a draft; ``None`` without speculation.
        accepted: drafted tokens that were accepted; ``None`` without speculation.
        target_forwards: forward passes of the target model, prefill included; ``None`` if unknown.
        error: why the request failed; ``None`` if it succeeded.
        launch: which process of the arm ran it, counted from 0: an arm's process is started anew
            for every launch, so that what differs between processes is inside the intervals.
        client_s: seconds that leanboard's own code took between ``sent_s`` and the last token;
            ``None`` if the engine cannot tell.
        tie_gap_nats: where the output first says another token than the baseline's, the baseline's
            log-probability of its own token less that of this one; ``None`` where no token
            differs, or the baseline was not asked.
    """

    prompt_id: str
    arm: str
    round: int
    warmup: bool
    batch: int
    scheduled_s: float
    sent_s: float
    encoded_s: float | None
    token_s: tuple[float, ...]
    prompt_tokens: int
    output_ids: tuple[int, ...]
    drafted: int | None = None
    accepted: int | None = None
    target_forwards: int | None = None
    error: str | None = None
    launch: int = 0
    client_s: float | None = None
    tie_gap_nats: float | None = None

    @property
    def output_tokens(self) -> int:
        """Number of tokens generated."""
        return len(self.output_ids)


@dataclass(frozen=True, slots=True)
class RoundTrace:
    """What was around one arm in one round: its memory, and what else used the machine.

    Every field that the system does not show is ``None``.

    Args:
        launch: which process of the arm it was, counted from 0.
        round: round number; warm-ups count apart.
        warmup: whether the round only warmed the arm up.
        started_s: when the arm was let run.
        ended_s: when it was stopped.
        peak_memory_bytes: highest memory of the arm in the round, as the metric defines it.
        cpu_s: CPU seconds of the arm's process.
        other_cpu_s: CPU seconds of everything else on the machine, interrupts included.
        steal_share: share of the machine's CPU time that the hypervisor gave to others.
        clock_hz: mean clock of the usable cores at the end of the round.
        minor_faults: page faults of the arm's process that needed no reading.
        switches: times that the arm's process was put off its core against its will.
        gpu_clock_hz: streaming-multiprocessor clock at the end of the round.
        gpu_throttle: names of the reasons for which the GPU held its clock down.
        gpu_others: processes of others on the GPU.
    """

    launch: int
    round: int
    warmup: bool
    started_s: float
    ended_s: float
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None
    other_cpu_s: float | None = None
    steal_share: float | None = None
    clock_hz: float | None = None
    minor_faults: int | None = None
    switches: int | None = None
    gpu_clock_hz: float | None = None
    gpu_throttle: tuple[str, ...] = ()
    gpu_others: int | None = None

    @property
    def duration_s(self) -> float:
        """Length of the round in seconds."""
        return self.ended_s - self.started_s


@dataclass(frozen=True, slots=True)
class StepTrace:
    """One optimiser step of a training run: its span, its work and its loss."""

    step: int
    started_s: float
    ended_s: float
    tokens: int
    samples: int
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class ItemTrace:
    """One item processed by an encoder, an image or an audio model."""

    item_id: str
    sent_s: float
    done_s: float
    batch: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class AnswerTrace:
    """One scored item of an accuracy task.

    Args:
        item_id: position or id of the item within the task's split.
        scores: metric name of the task to the item's score (``acc`` -> 0.0 or 1.0).
        loglikelihoods: log-likelihood (nats) of each choice, in the order of the choices.
        tokens: tokens that were scored (rolling tasks); 0 for choices.
        text_bytes: UTF-8 bytes that were scored (rolling tasks); 0 for choices.
        stratum: the part of the task that the item belongs to (a subject of MMLU); empty if the
            task has no parts.
        output_ids: tokens of a generated answer; empty where nothing is generated.
        kl_nats: sum over the scored tokens of KL(baseline || this arm), in nats, with the tokens
            that the baseline keeps no probability of taken together; ``None`` without a baseline.
        agreeing: scored tokens at which the baseline's most likely token is also this arm's;
            ``None`` without a baseline.
        kl_rest: sum over the scored tokens of the baseline's probability of what was taken
            together; ``None`` without a baseline.
    """

    item_id: str
    scores: Mapping[str, float]
    loglikelihoods: tuple[float, ...] = ()
    tokens: int = 0
    text_bytes: int = 0
    stratum: str = ""
    output_ids: tuple[int, ...] = ()
    kl_nats: float | None = None
    agreeing: int | None = None
    kl_rest: float | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """A sampled signal of one device: power (W), memory (bytes) or a clock (Hz)."""

    name: str
    unit: str
    source: str
    provenance: Provenance
    device: str
    time_s: tuple[float, ...]
    value: tuple[float, ...]


class Phase(StrEnum):
    """What ran inside an energy window."""

    MIXED = "mixed"
    PREFILL = "prefill"
    DECODE = "decode"
    IDLE = "idle"


@dataclass(frozen=True, slots=True)
class EnergyWindow:
    """Energy of one span of time in which one arm ran alone.

    Args:
        energy_j: gross joules; ``None`` if nothing could be read, and then ``reason`` says why.
        source: the probe (``nvml-energy``, ``nvml-power``, ``rapl``, ``codecarbon``).
    """

    phase: Phase
    round: int
    started_s: float
    ended_s: float
    energy_j: float | None
    source: str
    provenance: Provenance
    requests: int
    output_tokens: int
    reason: str | None = None

    @property
    def duration_s(self) -> float:
        """Length of the window in seconds."""
        return self.ended_s - self.started_s


@dataclass(frozen=True, slots=True)
class _Common:
    """What every kind of observation carries beside its own samples."""

    series: tuple[Series, ...] = ()
    windows: tuple[EnergyWindow, ...] = ()
    facts: Mapping[str, Quantity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RequestObservation(_Common):
    """Generation requests: the raw material of latency, throughput and energy per token."""

    requests: tuple[RequestTrace, ...] = ()
    rounds: tuple[RoundTrace, ...] = ()

    @property
    def timed(self) -> tuple[RequestTrace, ...]:
        """The requests that count: not warm-ups, and without an error."""
        return tuple(r for r in self.requests if not r.warmup and r.error is None)


@dataclass(frozen=True, slots=True)
class TrainingObservation(_Common):
    """Training steps."""

    steps: tuple[StepTrace, ...] = ()


@dataclass(frozen=True, slots=True)
class ItemObservation(_Common):
    """Items through an encoder, an image or an audio model."""

    items: tuple[ItemTrace, ...] = ()


@dataclass(frozen=True, slots=True)
class AnswerObservation(_Common):
    """Scored items of one accuracy task."""

    answers: tuple[AnswerTrace, ...] = ()


Observation = RequestObservation | TrainingObservation | ItemObservation | AnswerObservation
