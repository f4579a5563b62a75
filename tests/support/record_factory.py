"""Valid, sealed records of any kind, made from synthetic observations.

``from record_factory import make_record, make_run`` works in every test (pytest's ``pythonpath``).
Nothing here was measured: the numbers only have plausible sizes.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from leanboard.metrics.trace import (
    AnswerObservation,
    AnswerTrace,
    EnergyWindow,
    Observation,
    Phase,
    Provenance,
    Quantity,
    RequestObservation,
    RequestTrace,
    RoundTrace,
    Series,
)
from leanboard.results.identity import cell_id, digest, machine_id, sealed, software_id
from leanboard.results.measure import bounds, comparisons, measurements, stability
from leanboard.results.schema import (
    AccuracyCell,
    BlockRef,
    Cause,
    Component,
    Cpu,
    DeviceProfile,
    Environment,
    Failure,
    Gpu,
    ModelIdentity,
    PerformanceCell,
    Procedure,
    Record,
    Sampling,
    Stability,
    Status,
    Task,
    Times,
    TraceFile,
    Workload,
)
from leanboard.results.traces import to_parquet, trace_rows

EPOCH = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
WORKLOADS = {"chat": (128, 32), "long-prompt": (512, 16)}


@dataclass(frozen=True)
class Run:
    """A record with the observation and the trace file behind it (``None`` without one)."""

    record: Record
    observation: Observation | None
    traces: bytes | None


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make_environment(
    *, cpu: str = "Example CPU @ 2.0 GHz", cores: int = 2, gpu: str | None = None
) -> Environment:
    """Return an environment; other names give other machine ids."""
    gpus = () if gpu is None else (Gpu(name=gpu, memory_bytes=80 * 2**30, driver="580.1"),)
    return Environment(
        cpu=Cpu(name=cpu, architecture="x86_64", logical_cores=cores, flags=("avx2",)),
        gpus=gpus,
        memory_bytes=16 * 2**30,
        os="Debian GNU/Linux 12",
        kernel="6.1.0",
        libc="glibc 2.36",
        python="3.11.2",
        packages={"torch": "2.13.0", "transformers": "5.23.0"},
        threads={"torch": cores},
        git_sha="0" * 40,
        git_dirty=False,
        power_source="mains",
    )


def make_model(
    name: str = "smollm2-135m-instruct",
    *,
    weights_origin: str = "q4_1",
    parameters: int = 134515008,
) -> ModelIdentity:
    """Return a model identity; the content hash follows from the name."""
    return ModelIdentity(
        name=name,
        content_hash=sha(name),
        source=f"package:{name}==0.1.2",
        licence="Apache-2.0",
        weights_origin=weights_origin,
        family=name.split("-", maxsplit=1)[0],
        parameters=parameters,
    )


def make_techniques(techniques: Sequence[str | Component]) -> tuple[Component, ...]:
    return tuple(
        t if isinstance(t, Component) else Component(name=t, version=1) for t in techniques
    )


def make_device(
    name: str = "cpu", backend: str = "transformers", threads: int = 2
) -> DeviceProfile:
    device: Literal["cpu", "cuda"] = "cuda" if name == "cuda" else "cpu"
    dtype = {"llamacpp": "float16"}.get(backend, "bfloat16" if device == "cuda" else "float32")
    return DeviceProfile(name=name, device=device, threads=threads, reference_dtype=dtype)


def make_workload(name: str = "chat", *, batch_size: int = 1, prompts: int = 8) -> Workload:
    prompt_tokens, output_tokens = WORKLOADS.get(name, (64, 8))
    return Workload(
        name=name,
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
        batch_size=batch_size,
        prompts=prompts,
        prompts_hash=sha(f"prompts of {name}"),
        prompts_source="example passages",
        output_length="fixed",
    )


def make_procedure(rounds: int = 8, *, rounds_per_launch: int | None = None) -> Procedure:
    return Procedure(
        name="quickstart",
        version=1,
        rounds=rounds,
        rounds_per_launch=rounds_per_launch,
        warmup_rounds=2,
        seed=0,
        timeout_s=300,
    )


def make_task(name: str = "arc_easy", *, limit: int = 50) -> Task:
    return Task(
        name=name,
        split="validation",
        data_hash=sha(f"data of {name}"),
        data_source="package:example==1.0",
        harness="leanboard" if name == "squad-passages" else "lm-eval",
        harness_version="0.4.13",
        task_version="1.0",
        num_fewshot=0,
        limit=limit,
        seed=0,
    )


def request_observation(
    *,
    arm: str = "none",
    workload: Workload | None = None,
    rounds: int = 8,
    speed: float = 1.0,
    seed: int = 0,
    warmups: int = 1,
    weight_bytes: int = 538_060_032,
    energy_provenance: Provenance = Provenance.MODELLED,
    no_energy: str | None = None,
    rounds_per_launch: int | None = None,
    wobble: Sequence[float] = (1.0,),
) -> RequestObservation:
    """Return requests of about 20 ms a token divided by ``speed``, with a little noise.

    The processes differ by the factors of ``wobble`` in turn; ``no_energy`` is the reason for which
    no joules could be read.
    """
    workload = make_workload() if workload is None else workload
    noise = random.Random(f"{arm}/{seed}")
    requests: list[RequestTrace] = []
    windows: list[EnergyWindow] = []
    seen: list[RoundTrace] = []
    memory: list[Series] = []
    clock_s = 100.0
    for batch, (launch, index, warmup) in enumerate(_schedule(rounds, warmups, rounds_per_launch)):
        begun_s, now = clock_s, speed * wobble[launch % len(wobble)]
        trace = _request(noise, clock_s, now, workload, arm)
        trace |= {"launch": launch, "round": index, "warmup": warmup, "batch": batch}
        prompt_id = f"p{index % workload.prompts}"
        requests += [RequestTrace(**trace, prompt_id=prompt_id)] * workload.batch_size
        clock_s = trace["token_s"][-1] + 0.001
        seen.append(_round(launch, index, begun_s, clock_s, warmup=warmup, peak=weight_bytes * 1.5))
        if not warmup:
            window = _window(index, begun_s, clock_s, workload, energy_provenance)
            unread = replace(window, energy_j=None, reason=no_energy)
            windows.append(window if no_energy is None else unread)
            memory.append(_memory_series(begun_s, clock_s, weight_bytes))
    return RequestObservation(
        requests=tuple(requests),
        rounds=tuple(seen),
        windows=tuple(windows),
        series=tuple(memory),
        facts=_facts(weight_bytes, workload),
    )


def _schedule(
    rounds: int, warmups: int, rounds_per_launch: int | None
) -> Iterator[tuple[int, int, bool]]:
    """Yield launch, round number and whether it warms up; every launch has its warm-ups."""
    each = rounds if rounds_per_launch is None else rounds_per_launch
    for launch, first in enumerate(range(0, rounds, each)):
        yield from ((launch, launch * warmups + number, True) for number in range(warmups))
        yield from ((launch, number, False) for number in range(first, min(first + each, rounds)))


def _window(
    number: int, started_s: float, ended_s: float, workload: Workload, provenance: Provenance
) -> EnergyWindow:
    return EnergyWindow(
        phase=Phase.MIXED,
        round=number,
        started_s=started_s,
        ended_s=ended_s,
        energy_j=8.0 * (ended_s - started_s),
        source="codecarbon",
        provenance=provenance,
        requests=workload.batch_size,
        output_tokens=workload.output_tokens * workload.batch_size,
    )


def _request(
    noise: random.Random, sent_s: float, speed: float, workload: Workload, arm: str
) -> dict[str, Any]:
    gap_s = 0.020 / speed
    first_s = sent_s + workload.prompt_tokens * 0.001 * noise.uniform(0.97, 1.03)
    times = [first_s]
    for _ in range(workload.output_tokens - 1):
        times.append(times[-1] + gap_s * noise.uniform(0.95, 1.05))
    return {
        "arm": arm,
        "scheduled_s": sent_s,
        "sent_s": sent_s,
        "encoded_s": sent_s + 0.0005,
        "token_s": tuple(times),
        "prompt_tokens": workload.prompt_tokens,
        "output_ids": tuple(range(5, 5 + workload.output_tokens)),
    }


def _round(
    launch: int, number: int, started_s: float, ended_s: float, *, warmup: bool, peak: float
) -> RoundTrace:
    return RoundTrace(
        launch=launch,
        round=number,
        warmup=warmup,
        started_s=started_s,
        ended_s=ended_s,
        peak_memory_bytes=int(peak),
        cpu_s=1.9 * (ended_s - started_s),
        other_cpu_s=0.01 * (ended_s - started_s),
        steal_share=0.0,
        minor_faults=200,
        switches=3,
    )


def _memory_series(started_s: float, ended_s: float, weight_bytes: int) -> Series:
    """Return nine readings of a round, in which memory grows from 1.4 to 1.5 x the weights."""
    parts = [place / 8 for place in range(9)]
    return Series(
        name="memory_bytes",
        unit="B",
        source="/proc/PID/statm",
        provenance=Provenance.MEASURED,
        device="cpu",
        time_s=tuple(started_s + part * (ended_s - started_s) for part in parts),
        value=tuple(weight_bytes * (1.4 + 0.1 * part) for part in parts),
    )


def _facts(weight_bytes: int, workload: Workload) -> Mapping[str, Quantity]:
    tokens = workload.prompt_tokens + workload.output_tokens
    counted, measured = Provenance.COUNTED, Provenance.MEASURED
    return {
        "weight_bytes": Quantity(float(weight_bytes), "B", counted),
        "parameters": Quantity(134_515_008.0, "1", counted),
        "kv_bytes": Quantity(tokens * 46080.0, "B", measured),
        "kv_tokens": Quantity(float(tokens), "1", counted),
        "load_s": Quantity(1.5, "s", measured),
        "peak_memory_bytes": Quantity(weight_bytes * 1.5, "B", measured),
        "memory_total_bytes": Quantity(2.0**34, "B", measured),
        "load_peak_memory_bytes": Quantity(weight_bytes * 1.6, "B", measured),
    }


def answer_observation(
    *, task: str = "arc_easy", items: int = 50, accuracy: float = 0.6, seed: int = 0
) -> AnswerObservation:
    """Return scored items; a share ``accuracy`` of them is right."""
    noise = random.Random(f"{task}/{seed}")
    if task == "squad-passages":
        return AnswerObservation(
            answers=tuple(
                AnswerTrace(
                    item_id=str(i),
                    scores={},
                    loglikelihoods=(-noise.uniform(1200.0, 1500.0),),
                    tokens=511,
                    text_bytes=2200,
                )
                for i in range(items)
            )
        )
    answers = []
    outcomes = [i < round(accuracy * items) for i in range(items)]
    noise.shuffle(outcomes)
    for i, right in enumerate(outcomes):
        scores = {"acc": float(right), "acc_norm": float(right or noise.random() < 0.05)}
        choices = tuple(round(-noise.uniform(5, 30), 4) for _ in range(4))
        answers.append(AnswerTrace(item_id=str(i), scores=scores, loglikelihoods=choices))
    return AnswerObservation(answers=tuple(answers))


def make_run(
    *,
    kind: Literal["performance", "accuracy"] = "performance",
    model: ModelIdentity | None = None,
    techniques: Sequence[str | Component] = (),
    backend: str = "transformers",
    device: DeviceProfile | None = None,
    workload: Workload | str = "chat",
    task: Task | str = "arc_easy",
    status: Status | str = Status.OK,
    error: str | None = None,
    environment: Environment | None = None,
    started_at: datetime = EPOCH,
    number: int = 0,
    suite: str = "quickstart",
    arms: Sequence[str] | None = None,
    baseline: Run | None = None,
    speed: float = 1.0,
    accuracy: float = 0.6,
    warnings: Sequence[str] = (),
    observation: Observation | None = None,
    causes: Sequence[Cause] = (),
    procedure: Procedure | None = None,
) -> Run:
    """Return one run. ``number`` makes run ids differ; ``speed`` divides the time per token.

    With ``baseline`` (a performance run of the same block) the record carries comparisons; with
    ``causes`` it is an unstable one.
    """
    status = Status(status)
    environment = make_environment() if environment is None else environment
    parts = make_techniques(techniques)
    cell = _cell(
        kind,
        model or make_model(),
        parts,
        backend=backend,
        device=device,
        workload=workload,
        task=task,
        procedure=make_procedure() if procedure is None else procedure,
    )
    arm = "+".join(part.name for part in parts) or "none"
    if status is not Status.OK:
        observation = None
    elif observation is None:
        observation = _observe(cell, arm, speed, accuracy, number)
    traces = None if observation is None else to_parquet(observation)
    measured = {} if observation is None else measurements(observation)
    names = tuple(arms) if arms is not None else tuple(dict.fromkeys(("none", arm)))
    record = sealed(
        {
            "run_id": f"{started_at:%Y%m%dT%H%M%SZ}-{digest([cell_id(cell), number])[:8]}",
            "cell_id": cell_id(cell),
            "machine_id": machine_id(environment),
            "software_id": software_id(environment),
            "cell": cell,
            "block": BlockRef(
                block_id=digest([suite, backend, names])[:16],
                arm=arm,
                baseline=not parts,
                arms=names,
                suite=suite,
            ),
            "environment": environment,
            "status": status,
            "error": _failure(status, error),
            "times": Times(
                started_at=started_at,
                finished_at=started_at + timedelta(seconds=30),
                load_s=1.5,
                measure_s=20.0,
            ),
            "measurements": measured,
            "bounds": bounds(measured),
            "comparisons": _compare(observation, baseline),
            "facts": _facts_json(observation),
            "warnings": tuple(warnings),
            "sampling": make_sampling(observation),
            "stability": make_stability(observation, causes),
            "traces": None
            if traces is None or observation is None
            else TraceFile(sha256=hashlib.sha256(traces).hexdigest(), rows=trace_rows(observation)),
        }
    )
    return Run(record, observation, traces)


def make_sampling(observation: Observation | None) -> Sampling | None:
    """Return what a runner would say of an observation of a fixed number of rounds."""
    if not isinstance(observation, RequestObservation):
        return None
    launches = {r.launch for r in observation.timed}
    warm = {(r.launch, r.round) for r in observation.requests if r.warmup}
    return Sampling(
        launches=len(launches),
        rounds=len({r.round for r in observation.timed}),
        warmup_rounds=tuple(
            sum(1 for of, _ in warm if of == launch) for launch in sorted(launches)
        ),
    )


def make_stability(
    observation: Observation | None, causes: Sequence[Cause] = ()
) -> Stability | None:
    """Return the judgement of an observation; with ``causes`` it is unstable whatever it says."""
    if not isinstance(observation, RequestObservation):
        return None
    judged = stability(observation)
    return (
        judged.model_copy(update={"stable": False, "causes": tuple(causes)}) if causes else judged
    )


def make_record(**options: Any) -> Record:
    """Return only the record of :func:`make_run`, with the same options."""
    return make_run(**options).record


def _cell(
    kind: str,
    model: ModelIdentity,
    techniques: tuple[Component, ...],
    *,
    backend: str,
    device: DeviceProfile | None,
    workload: Workload | str,
    task: Task | str,
    procedure: Procedure,
) -> PerformanceCell | AccuracyCell:
    common: dict[str, Any] = {
        "model": model,
        "techniques": techniques,
        "backend": Component(name=backend, version=1),
        "device": make_device(backend=backend) if device is None else device,
    }
    if kind == "accuracy":
        return AccuracyCell(task=make_task(task) if isinstance(task, str) else task, **common)
    asked = make_workload(workload) if isinstance(workload, str) else workload
    return PerformanceCell(workload=asked, procedure=procedure, **common)


def _observe(
    cell: PerformanceCell | AccuracyCell, arm: str, speed: float, accuracy: float, seed: int
) -> Observation:
    if isinstance(cell, AccuracyCell):
        return answer_observation(
            task=cell.task.name, items=cell.task.limit or 50, accuracy=accuracy, seed=seed
        )
    return request_observation(
        arm=arm,
        workload=cell.workload,
        rounds=cell.procedure.rounds,
        rounds_per_launch=cell.procedure.rounds_per_launch,
        speed=speed,
        seed=seed,
    )


def _failure(status: Status, error: str | None) -> Failure | None:
    if status is Status.OK:
        return None
    kind = "UnsupportedError" if status is Status.UNSUPPORTED else "OutOfMemoryError"
    return Failure(kind=kind, message=error or f"example of a run that is {status.value}")


def _facts_json(observation: Observation | None) -> dict[str, Any]:
    facts = {} if observation is None else observation.facts
    return {
        name: {"value": fact.value, "unit": fact.unit, "provenance": fact.provenance.value}
        for name, fact in facts.items()
    }


def _compare(observation: Observation | None, baseline: Run | None) -> tuple[Any, ...]:
    if observation is None or baseline is None or baseline.observation is None:
        return ()
    return comparisons(observation, baseline.observation, baseline.record.run_id)
