"""The record: what a run was, where it ran, what it measured. JSON in, JSON out.

Every model here is frozen and refuses unknown fields. Records name components; they never hold
anything that could be imported or executed.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)

from leanboard.metrics.metric import Verdict
from leanboard.metrics.trace import Provenance

SCHEMA_VERSION = 1
IDENTITY_VERSION = 1

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
RunId = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")]


class _Frozen(BaseModel):
    """Base of every schema class: immutable, and closed to unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Component(_Frozen):
    """A named part of a cell with its behaviour version and resolved parameters."""

    name: Name
    version: int = Field(ge=1)
    params: dict[str, JsonValue] = Field(default_factory=dict)


class ModelIdentity(_Frozen):
    """The weights that were run.

    Attributes:
        name: name of the config (``smollm2-135m-instruct``) or of an ad-hoc id.
        content_hash: sha256 over weights, config and tokenizer as they were published.
        source: where they come from, without a path of this machine (``package:NAME==VERSION``,
            ``hub:ORG/NAME@REVISION``, ``local``, ``random:ARCHITECTURE``).
        weights_origin: ``float``, ``random``, or the quantised format that was expanded
            (``q4_1``).
        parameters: number of parameters of the original model, tied ones once.
    """

    name: Name
    content_hash: Sha256
    source: str
    licence: str
    weights_origin: str
    family: str
    parameters: int = Field(gt=0)


class Workload(_Frozen):
    """What is asked of the model.

    Attributes:
        prompts_hash: sha256 over the prompt texts in their order.
        output_length: ``fixed`` where end-of-text is ignored, ``natural`` where it ends a request.
    """

    name: Name
    prompt_tokens: int = Field(gt=0)
    output_tokens: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    prompts: int = Field(gt=0)
    prompts_hash: Sha256
    prompts_source: str
    output_length: Literal["fixed", "natural"]


class DeviceProfile(_Frozen):
    """The resources that a cell may use, after ``auto`` has been resolved."""

    name: Name
    device: Literal["cpu", "cuda"]
    threads: int = Field(gt=0)
    memory_cap_bytes: int | None = Field(default=None, gt=0)
    reference_dtype: str


class Procedure(_Frozen):
    """How often and how long is measured.

    Attributes:
        rounds: rounds of a fixed procedure; of an adaptive one, rounds between two looks.
        warmup_rounds: rounds that warm each launch up; the fewest of them, if there is a most.
        rounds_per_launch: rounds after which each arm's process is started anew; ``None`` keeps
            one process for the whole block.
        max_warmup_rounds: a warm-up goes on until no drift is seen, and for at most so many
            rounds; ``None`` keeps ``warmup_rounds``.
        max_rounds: most rounds of an adaptive procedure; ``None`` makes the procedure fixed.
        target_width: an adaptive procedure ends at the first look at which every watched ratio's
            interval is narrower than this, as a share of the ratio (0.05: from 0.975 to 1.025).
        time_budget_s: an adaptive procedure ends at the first look after so many seconds.
        watched: metrics whose ratios are looked at.
    """

    name: Name
    version: int = Field(ge=1)
    rounds: int = Field(ge=1)
    warmup_rounds: int = Field(ge=0)
    seed: int
    timeout_s: float = Field(gt=0)
    rounds_per_launch: int | None = Field(default=None, ge=1)
    max_warmup_rounds: int | None = Field(default=None, ge=0)
    max_rounds: int | None = Field(default=None, ge=1)
    target_width: float | None = Field(default=None, gt=0)
    time_budget_s: float | None = Field(default=None, gt=0)
    watched: tuple[str, ...] = ("tpot_s",)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse limits that contradict one another."""
        if self.max_rounds is None and (self.target_width or self.time_budget_s) is not None:
            raise ValueError(
                "target_width and time_budget_s need max_rounds: without it the "
                "number of rounds is fixed"
            )
        if self.max_rounds is not None and self.max_rounds < self.rounds:
            raise ValueError(f"max_rounds {self.max_rounds} is less than rounds {self.rounds}")
        if self.max_warmup_rounds is not None and self.max_warmup_rounds < self.warmup_rounds:
            raise ValueError(
                f"max_warmup_rounds {self.max_warmup_rounds} is less than "
                f"warmup_rounds {self.warmup_rounds}"
            )
        return self


class Task(_Frozen):
    """What accuracy is scored on, with everything that could change the score."""

    name: Name
    split: str
    data_hash: Sha256
    data_source: str
    harness: Literal["lm-eval", "leanboard"]
    harness_version: str
    task_version: str
    num_fewshot: int = Field(ge=0)
    limit: int | None = Field(default=None, gt=0)
    seed: int
    settings: dict[str, JsonValue] = Field(default_factory=dict)


class _CellBase(_Frozen):
    """What every kind of cell has."""

    identity_version: int = IDENTITY_VERSION
    model: ModelIdentity
    techniques: tuple[Component, ...] = ()
    backend: Component
    device: DeviceProfile


class PerformanceCell(_CellBase):
    """A model, transformed, on a workload, a backend and a device."""

    kind: Literal["performance"] = "performance"
    workload: Workload
    procedure: Procedure


class AccuracyCell(_CellBase):
    """A model, transformed, scored on a task."""

    kind: Literal["accuracy"] = "accuracy"
    task: Task


Cell = Annotated[PerformanceCell | AccuracyCell, Field(discriminator="kind")]


class BlockRef(_Frozen):
    """The block that a run was part of.

    Attributes:
        block_id: the same for every run that was interleaved with this one.
        arm: name of this arm; the techniques joined by ``+``, or ``none``.
        baseline: whether this arm is the block's baseline.
        arms: names of all arms of the block, baseline first.
        suite: suite that asked for the block; empty for a single cell.
    """

    block_id: Identifier
    arm: str
    baseline: bool
    arms: tuple[str, ...]
    suite: str = ""


class Gpu(_Frozen):
    """One accelerator. What the driver does not say is ``None``.

    Attributes:
        power_limit_w: the cap that was set; ``power_limit_default_w`` is that of the factory, and
            ``power_limit_enforced_w`` what the driver holds to.
        sm_clock_hz: highest clock of the streaming multiprocessors; ``sm_clock_now_hz`` is that of
            the snapshot, ``sm_clock_application_hz`` the one that was asked for.
        pcie_generation: highest that device and slot can do together; idle links run slower.
        throttle: reasons for which the clock was held down at the snapshot, idleness included.
        processes: processes that computed on the device at the snapshot.
    """

    name: str
    memory_bytes: int
    driver: str
    cuda: str | None = None
    power_limit_w: float | None = None
    sm_clock_hz: float | None = None
    persistence: bool | None = None
    power_limit_default_w: float | None = None
    power_limit_enforced_w: float | None = None
    sm_clock_now_hz: float | None = None
    sm_clock_application_hz: float | None = None
    memory_clock_hz: float | None = None
    memory_clock_now_hz: float | None = None
    memory_clock_application_hz: float | None = None
    compute_capability: str | None = None
    compute_mode: str | None = None
    ecc: bool | None = None
    mig: bool | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    temperature_c: float | None = None
    throttle: tuple[str, ...] | None = None
    processes: int | None = None


class Cpu(_Frozen):
    """The processor, as the operating system shows it.

    Attributes:
        logical_cores: cores that the process may run on (its affinity mask).
        online_cores: cores that the system runs; ``isolated_cores`` of them take no other work.
        frequency_hz: highest clock of the processor; ``frequency_cap_hz`` is the highest that the
            system allows it now.
        clock_hz: mean clock at the snapshot; in most virtual machines the nominal one.
        smt: whether two threads share a core.
        cache_bytes: size of one cache of each kind (``L1d``, ``L2`` ...).
        energy_preference: what the processor was told to weigh, speed or power.
        vulnerabilities: flaws that this processor has, and what the kernel does against each.
    """

    name: str
    architecture: str
    logical_cores: int
    physical_cores: int | None = None
    frequency_hz: float | None = None
    governor: str | None = None
    flags: tuple[str, ...] = ()
    microcode: str | None = None
    sockets: int | None = None
    threads_per_core: int | None = None
    smt: bool | None = None
    online_cores: int | None = None
    isolated_cores: int | None = None
    cache_bytes: dict[str, int] = Field(default_factory=dict)
    min_frequency_hz: float | None = None
    frequency_cap_hz: float | None = None
    clock_hz: float | None = None
    frequency_driver: str | None = None
    energy_preference: str | None = None
    vulnerabilities: dict[str, str] = Field(default_factory=dict)


class Environment(_Frozen):
    """Everything around a run that can change a number. No host name, user or absolute path.

    Attributes:
        cpu_limit: CPU time that the control groups grant, in cores.
        cpuset_cores: cores that the control group may use.
        threads: ``usable`` cores, and the size of each thread pool of the worker.
        libraries: how the worker's libraries were built, and what they chose (BLAS, instruction
            set).
        variables: environment variables that change thread pools, allocators or kernels; of one
            whose value could name a place or a person only that it is set.
        steal_share: share of CPU time since boot that the hypervisor gave to others.
        pressure: share of the last ten seconds in which some task waited for ``cpu``, ``io`` or
            ``memory``.
        virtualised: the hypervisor, ``None`` without one.
        container: the kind of container, ``None`` outside of one.
        settings: settings of the operating system.
    """

    cpu: Cpu
    gpus: tuple[Gpu, ...] = ()
    memory_bytes: int
    memory_limit_bytes: int | None = None
    cpu_limit: float | None = None
    os: str
    kernel: str
    libc: str
    python: str
    packages: dict[str, str]
    threads: dict[str, int]
    git_sha: str | None = None
    git_dirty: bool | None = None
    power_source: str
    load_average: float | None = None
    steal_share: float | None = None
    virtualised: str | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    container: str | None = None
    cpuset_cores: int | None = None
    swap_bytes: int | None = None
    swap_used_bytes: int | None = None
    pressure: dict[str, float] = Field(default_factory=dict)
    libraries: dict[str, str] = Field(default_factory=dict)
    variables: dict[str, JsonValue] = Field(default_factory=dict)


class Interval(_Frozen):
    """A confidence interval and how it was made."""

    low: float
    high: float
    level: float = Field(default=0.95, gt=0, lt=1)
    method: str


class Measurement(_Frozen):
    """One metric of one run.

    ``value`` is ``None`` exactly where nothing could be measured, and ``reason`` then says why.
    ``samples`` holds the values behind the statistic; ``weights`` the denominators of a ratio of
    sums. Long sample lists stay in the traces, and ``samples`` is ``None``.
    """

    value: float | None
    unit: str
    n: int = Field(ge=0)
    summary: str
    provenance: Provenance | None
    method_version: int = Field(ge=1)
    interval: Interval | None = None
    stderr: float | None = None
    samples: tuple[float, ...] | None = None
    weights: tuple[float, ...] | None = None
    reason: str | None = None


class Comparison(_Frozen):
    """A candidate against its baseline, on one metric, within the same block.

    Attributes:
        statistic: ``ratio`` (candidate / baseline), ``difference``, ``agreement`` or ``gate``.
        pairs: per-round (or per-item) ratios or differences, in order.
        verdict: follows from the interval and the metric's direction.
    """

    metric: str
    statistic: Literal["ratio", "difference", "agreement", "gate"]
    baseline_run: RunId
    value: float | None
    interval: Interval | None
    n: int = Field(ge=0)
    pairs: tuple[float, ...] | None = None
    verdict: Verdict
    provenance: Provenance | None
    method_version: int = Field(ge=1)
    reason: str | None = None


class Status(StrEnum):
    """How a run ended. Failures are rows too."""

    OK = "ok"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"


class Failure(_Frozen):
    """Why a run has no measurements."""

    kind: str
    message: str


class TraceFile(_Frozen):
    """The raw samples beside the record: ``<run_id>.traces.parquet``."""

    sha256: Sha256
    rows: int = Field(ge=0)


class Times(_Frozen):
    """When the run was made, and what its parts took."""

    started_at: datetime
    finished_at: datetime
    load_s: float | None = None
    measure_s: float | None = None


class Sampling(_Frozen):
    """How many samples were taken, and why no more.

    Attributes:
        warmup_rounds: warm-up rounds of each launch, in order.
        warmup_ended: ``fixed`` (a number was given), ``seen`` (no drift was left in any launch) or
            ``cap`` (a launch reached the most rounds while still drifting).
        stopped_by: ``fixed`` (a number was given), ``width`` (every watched interval was narrow
            enough), ``rounds`` (the most rounds) or ``time`` (the budget).
        looks: rounds after which the intervals were looked at.
        widths: relative width of the interval of each watched ratio at the last look, by metric;
            ``None`` where there was no interval.
        side_by_side: whether all arms were loaded at once; else they took turns, a launch each.
    """

    launches: int = Field(ge=0)
    rounds: int = Field(ge=0)
    warmup_rounds: tuple[int, ...] = ()
    warmup_ended: Literal["fixed", "seen", "cap"] = "fixed"
    stopped_by: Literal["fixed", "width", "rounds", "time"] = "fixed"
    looks: tuple[int, ...] = ()
    widths: dict[str, float | None] = Field(default_factory=dict)
    side_by_side: bool = True


class Cause(_Frozen):
    """One thing that makes a run unstable, with the figure that shows it.

    Attributes:
        kind: ``spread``, ``drift``, ``launches``, ``steal``, ``load``, ``clock``, ``throttling``,
            ``gpu-shared`` or ``faults``.
        message: the figure and its threshold, in words.
    """

    kind: Name
    message: str


class Stability(_Frozen):
    """Whether a run's own samples and its surroundings allow one to trust its numbers.

    Attributes:
        stable: ``None`` where there was too little to judge by.
        figures: what was looked at, by name (``tpot_spread``, ``steal_share`` ...); ``None`` where
            the system does not say.
    """

    stable: bool | None
    causes: tuple[Cause, ...] = ()
    figures: dict[str, float | None] = Field(default_factory=dict)


class Record(_Frozen):
    """One execution of a cell. Immutable; its path in a store is its identity."""

    schema_version: int = SCHEMA_VERSION
    run_id: RunId
    cell_id: Identifier
    machine_id: Name
    software_id: Identifier
    cell: Cell
    block: BlockRef
    environment: Environment
    status: Status
    error: Failure | None = None
    times: Times
    measurements: dict[str, Measurement] = Field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    facts: dict[str, JsonValue] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    sampling: Sampling | None = None
    stability: Stability | None = None
    traces: TraceFile | None = None
    licence: Literal["CC-BY-4.0"] = "CC-BY-4.0"
    content_hash: Sha256
