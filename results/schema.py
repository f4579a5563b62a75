"""The record: what a run was, where it ran, what it measured. JSON in, JSON out.

Every model here is frozen and refuses unknown fields. Records name components; they never hold
anything that could be imported or executed.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from leanboard.metrics.metric import Verdict
from leanboard.metrics.roofline import Bound
from leanboard.metrics.trace import Provenance
from leanboard.results import environment as environment_schema
from leanboard.results.frozen import Bytes, Knobs, Moment, Open, Positive, Real, Seed, Whole
from leanboard.results.frozen import Frozen as _Frozen
from leanboard.results.units import unit_of

SCHEMA_VERSION = 1
IDENTITY_VERSION = 1

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}$")]
RunId = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}$")]


# The environment has a module of its own; whoever reads a record finds its parts here.
Cpu = environment_schema.Cpu
Environment = environment_schema.Environment
Gpu = environment_schema.Gpu


class Component(_Frozen):
    """A named part of a cell with its behaviour version and resolved parameters.

    Attributes:
        calibration: sha256 of the text that a technique was calibrated with; ``None`` for what
            reads no text.
    """

    name: Name
    version: Positive
    params: Knobs = Field(default_factory=dict)
    calibration: Sha256 | None = None


class ModelIdentity(_Frozen):
    """The weights that were run.

    Attributes:
        name: name of the config (``smollm2-135m-instruct``) or of an ad-hoc id.
        content_hash: sha256 over weights, config and tokenizer as they were published.
        source: where they come from, without a path of this machine (``package:NAME==VERSION``,
            ``hub:ORG/NAME@REVISION``, ``recipe:NAME@HASH``, ``local``, ``random:ARCHITECTURE``).
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
    parameters: Positive


class Workload(_Frozen):
    """What is asked of the model.

    Attributes:
        prompts_hash: sha256 over the prompt texts in their order.
        output_length: ``fixed`` where end-of-text is ignored, ``natural`` where it ends a request.
        shapes: prompt and output lengths that the rounds take in turn, and the two above are then
            the largest; empty where all requests are alike.
    """

    name: Name
    prompt_tokens: Positive
    output_tokens: Positive
    batch_size: Positive
    prompts: Positive
    prompts_hash: Sha256
    prompts_source: str
    output_length: Literal["fixed", "natural"]
    shapes: tuple[tuple[Positive, Positive], ...] = ()


class DeviceProfile(_Frozen):
    """The resources that a cell may use, after ``auto`` has been resolved."""

    name: Name
    device: Literal["cpu", "cuda"]
    threads: Positive
    memory_cap_bytes: Bytes | None = Field(default=None, gt=0)
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
        target_width: an adaptive procedure ends when every watched ratio's interval was narrower
            than this at two looks in a row, as a share of the ratio (0.05: from 0.975 to 1.025).
        time_budget_s: an adaptive procedure ends at the first look after so many seconds a
            workload, starts and loads included.
        watched: metrics whose ratios are looked at.
    """

    name: Name
    version: Positive
    rounds: Positive
    warmup_rounds: Whole
    seed: Seed
    timeout_s: Real = Field(gt=0)
    rounds_per_launch: Positive | None = None
    max_warmup_rounds: Whole | None = None
    max_rounds: Positive | None = None
    target_width: Real | None = Field(default=None, gt=0)
    time_budget_s: Real | None = Field(default=None, gt=0)
    watched: tuple[str, ...] = ("tpot_s",)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Refuse limits that contradict one another."""
        limits = self.target_width, self.time_budget_s
        if self.max_rounds is None and any(limit is not None for limit in limits):
            raise ValueError(
                "target_width and time_budget_s need max_rounds: without it the number of rounds "
                "is fixed"
            )
        if self.max_rounds is not None and self.max_rounds % self.rounds != 0:
            raise ValueError(
                f"max_rounds {self.max_rounds} is no multiple of rounds {self.rounds}, after which "
                "the intervals are looked at"
            )
        if self.max_rounds is not None and self.rounds_per_launch is None:
            raise ValueError(
                "max_rounds needs rounds_per_launch: an arm's process ends at every look"
            )
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
    num_fewshot: Whole
    limit: Positive | None = None
    seed: Seed
    settings: Open = Field(default_factory=dict)


class _CellBase(_Frozen):
    """What every kind of cell has."""

    identity_version: Whole = IDENTITY_VERSION
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


class Interval(_Frozen):
    """A confidence interval and how it was made."""

    low: Real
    high: Real
    level: Real = Field(default=0.95, gt=0, lt=1)
    method: str


class Measurement(_Frozen):
    """One metric of one run.

    ``value`` is ``None`` exactly where nothing could be measured, and ``reason`` then says why.
    ``samples`` holds the values behind the statistic; ``weights`` the denominators of a ratio of
    sums. Long sample lists stay in the traces, and ``samples`` is ``None``.
    """

    value: Real | None
    unit: str
    n: Whole
    summary: str
    provenance: Provenance | None
    method_version: Positive
    interval: Interval | None = None
    stderr: Real | None = None
    samples: tuple[Real, ...] | None = None
    weights: tuple[Real, ...] | None = None
    reason: str | None = None


class Comparison(_Frozen):
    """A candidate against its baseline, on one metric, within the same block.

    Attributes:
        statistic: ``ratio`` (candidate / baseline), ``difference``, ``agreement`` or ``gate``.
        launches: independent launches that the pairs come from; 0 where there are none.
        pairs: per-round (or per-item) ratios or differences, in order.
        verdict: follows from the interval and the metric's direction.
        stderr: standard error of ``value`` where pairs are items; ``None`` otherwise.
        p_value: of the exact test that goes with it (McNemar's for items that are right or
            wrong); ``None`` where there is no such test.
    """

    metric: str
    statistic: Literal["ratio", "difference", "agreement", "gate"]
    baseline_run: RunId
    value: Real | None
    interval: Interval | None
    n: Whole
    launches: Whole = 0
    pairs: tuple[Real, ...] | None = None
    verdict: Verdict
    provenance: Provenance | None
    method_version: Positive
    reason: str | None = None
    stderr: Real | None = None
    p_value: Real | None = Field(default=None, ge=0, le=1)


class Status(StrEnum):
    """How a run ended. Failures are rows too."""

    OK = "ok"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"


class RunPhase(StrEnum):
    """The two parts of a generation request."""

    PREFILL = "prefill"
    DECODE = "decode"


class Failure(_Frozen):
    """Why a run has no measurements."""

    kind: str
    message: str


class TraceFile(_Frozen):
    """The raw samples beside the record: ``<run_id>.traces.parquet``."""

    sha256: Sha256
    rows: Whole


class Times(_Frozen):
    """When the run was made, and what its parts took."""

    started_at: Moment
    finished_at: Moment
    load_s: Real | None = None
    measure_s: Real | None = None


class Sampling(_Frozen):
    """How many samples were taken, and why no more.

    Attributes:
        warmup_rounds: warm-up rounds of each launch, in order.
        warmup_ended: ``fixed`` (a number was given), ``seen`` (no drift was left in any launch) or
            ``cap`` (a launch reached the most rounds while still drifting).
        stopped_by: ``fixed`` (a number was given), ``width`` (every watched interval was narrow
            enough at two looks in a row), ``rounds`` (the most rounds), ``time`` (the budget) or
            ``nothing`` (no ratio could come any more: an arm that it needs had failed).
        looks: rounds after which the intervals were looked at.
        widths: relative width of the interval of each watched ratio at the last look, by metric;
            ``None`` where there was no interval.
        side_by_side: whether all arms were loaded at once; else they took turns, a launch each.
    """

    launches: Whole
    rounds: Whole
    warmup_rounds: tuple[Whole, ...] = ()
    warmup_ended: Literal["fixed", "seen", "cap"] = "fixed"
    stopped_by: Literal["fixed", "width", "rounds", "time", "nothing"] = "fixed"
    looks: tuple[Whole, ...] = ()
    widths: dict[str, Real | None] = Field(default_factory=dict)
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
    figures: dict[str, Real | None] = Field(default_factory=dict)


class Record(_Frozen):
    """One execution of a cell. Immutable; its path in a store is its identity."""

    schema_version: Whole = SCHEMA_VERSION
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
    facts: Open = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    sampling: Sampling | None = None
    stability: Stability | None = None
    bounds: dict[RunPhase, Bound] = Field(default_factory=dict)
    traces: TraceFile | None = None
    licence: Literal["CC-BY-4.0"] = "CC-BY-4.0"
    content_hash: Sha256

    @field_validator("measurements")
    @classmethod
    def _in_their_units(cls, found: dict[str, Measurement]) -> dict[str, Measurement]:
        """Refuse bytes in a column of seconds."""
        for name, measurement in found.items():
            unit = unit_of(name)
            if unit not in {None, measurement.unit}:
                raise ValueError(f"{name} is in {measurement.unit!r}, but its unit is {unit!r}")
        return found
