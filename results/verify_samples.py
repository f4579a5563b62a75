"""Checking raw samples against what a record says was run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from leanboard.metrics.trace import (
    AnswerObservation,
    AnswerTrace,
    Observation,
    RequestObservation,
    RequestTrace,
)
from leanboard.results.errors import RecordError
from leanboard.results.schema import (
    AccuracyCell,
    PerformanceCell,
    Procedure,
    Record,
    Sampling,
    Status,
    Task,
    TraceFile,
    Workload,
)
from leanboard.results.store import traces_path
from leanboard.results.traces import from_parquet, kind_of, trace_rows

_KINDS = {"performance": "requests", "accuracy": "answers"}
_ROUNDING_NATS = 1e-9
"""How far below 0 a sum of divergences, none of which is negative, may come out."""


def read_observation(record_path: Path, traces: TraceFile) -> Observation:
    """Return the raw samples that lie beside a record.

    Raises:
        RecordError: if they are missing, corrupt, or not the ones that the record names.
    """
    file = traces_path(record_path)
    try:
        data = file.read_bytes()
    except OSError as error:
        message = f"{file.name} cannot be read ({error.strerror}): its raw samples are missing"
        raise RecordError(message) from error
    if hashlib.sha256(data).hexdigest() != traces.sha256:
        message = f"{file.name} is not the file that was written with the record"
        raise RecordError(message)
    return from_parquet(data)


def sample_messages(observation: Observation, record: Record) -> Iterator[str]:
    """Yield where raw samples are not what the record's cell, block and sampling ask for."""
    if record.traces is not None and trace_rows(observation) != record.traces.rows:
        yield f"there are {trace_rows(observation)} rows, not {record.traces.rows}"
    kind, cell = kind_of(observation), record.cell
    if kind != _KINDS[cell.kind]:
        yield f"its raw samples are {kind}, but its cell is one of {cell.kind}"
    if isinstance(cell, AccuracyCell) and isinstance(observation, AnswerObservation):
        yield from _answer_messages(observation.answers, cell.task, record.status)
    if not isinstance(cell, PerformanceCell) or not isinstance(observation, RequestObservation):
        return
    others = sorted({request.arm for request in observation.requests} - {record.block.arm})
    if others:
        yield f"there are raw samples of '{others[0]}', but its arm is '{record.block.arm}'"
    yield from _length_messages(observation.requests, cell.workload)
    yield from _batch_messages(observation.requests, cell.workload)
    # An arm that failed half-way has fewer rounds than its block.
    if record.status is Status.OK:
        yield from _round_messages(observation, record.sampling)
        yield from _sampling_messages(observation, cell.procedure, record.sampling)


def _answer_messages(answers: Sequence[AnswerTrace], task: Task, status: Status) -> Iterator[str]:
    # A task without a limit was scored whole, and its data say how many items that are.
    if status is Status.OK and task.limit is not None and len(answers) != task.limit:
        yield f"there are {len(answers)} answers, but its task has {task.limit} items"
    bad = [answer.item_id for answer in answers if not _possible(answer)]
    if bad:
        yield f"{len(bad)} items are compared with the baseline as none can be, first {bad[0]}"


def _possible(answer: AnswerTrace) -> bool:
    """Whether divergence, agreement and what was left out can be those of so many tokens."""
    kl, agreeing, rest = answer.kl_nats, answer.agreeing, answer.kl_rest
    most = answer.tokens + _ROUNDING_NATS
    return (
        (kl is None or kl >= -_ROUNDING_NATS)
        and (agreeing is None or 0 <= agreeing <= answer.tokens)
        and (rest is None or -_ROUNDING_NATS <= rest <= most)
    )


def _length_messages(requests: Iterable[RequestTrace], workload: Workload) -> Iterator[str]:
    answered = [(r, *_shape(r, workload)) for r in requests if r.error is None]
    exact = workload.output_length == "fixed"
    long = [(r.prompt_tokens, most) for r, most, _ in answered if r.prompt_tokens > most]
    outputs = [
        (r.output_tokens, asked)
        for r, _, asked in answered
        if r.output_tokens > asked or (exact and r.output_tokens != asked)
    ]
    for what, wrong in (("prompt", long), ("output", outputs)):
        if wrong:
            (found, asked), number = wrong[0], len(wrong)
            yield f"{number} requests have {found} {what} tokens, but the workload has {asked}"


def _shape(request: RequestTrace, workload: Workload) -> tuple[int, int]:
    """Return the prompt and output tokens that a request may have; warm-ups have the most."""
    if request.warmup or not workload.shapes:
        return workload.prompt_tokens, workload.output_tokens
    return workload.shapes[request.round % len(workload.shapes)]


def _batch_messages(requests: Iterable[RequestTrace], workload: Workload) -> Iterator[str]:
    """Every round is one batch in one process, and of the workload's size."""
    sizes = Counter((r.warmup, r.round, r.launch, r.batch) for r in requests)
    odd = sorted(set(sizes.values()) - {workload.batch_size})
    if odd:
        asked = workload.batch_size
        yield f"there are batches of {odd[0]} requests, but those of the workload have {asked}"
    rounds = Counter((warmup, number) for warmup, number, _, _ in sizes)
    yield from _repeated("batches", rounds)


def _round_messages(observation: RequestObservation, sampling: Sampling | None) -> Iterator[str]:
    timed = {r.round: r.launch for r in observation.requests if not r.warmup}
    if sorted(timed) != list(range(len(timed))):
        yield f"its {len(timed)} timed rounds are not numbered from 0 on: some are missing"
    yield from _repeated("surroundings", Counter((s.warmup, s.round) for s in observation.rounds))
    around = {seen.round: seen.launch for seen in observation.rounds if not seen.warmup}
    # Records older than sampling do not say what was around a round.
    if (around or sampling is not None) and around != timed:
        yield "what was around its timed rounds does not fit the rounds of its requests"


def _repeated(what: str, seen: Counter[tuple[bool, int]]) -> Iterator[str]:
    for warmup, number in sorted(key for key, count in seen.items() if count > 1):
        name = f"{'warm-up' if warmup else 'timed'} round {number}"
        yield f"{name} has {seen[warmup, number]} {what} instead of one"


def _sampling_messages(
    observation: RequestObservation, procedure: Procedure, sampling: Sampling | None
) -> Iterator[str]:
    timed = [request for request in observation.requests if not request.warmup]
    rounds = len({request.round for request in timed})
    if sampling is None:
        if procedure.max_rounds is None and rounds != procedure.rounds:
            yield f"its procedure has {procedure.rounds} rounds, but the raw samples show {rounds}"
        return
    shown = {"launches": len({request.launch for request in timed}), "rounds": rounds}
    for name, number in shown.items():
        stored = getattr(sampling, name)
        if stored != number:
            yield f"sampling says {stored} {name}, but the raw samples show {number}"
    yield from _warmup_messages(observation, sampling)
    yield from _launch_messages(procedure, sampling)
    if procedure.max_rounds is None:
        yield from _fixed_messages(procedure, sampling)
    else:
        yield from _adaptive_messages(procedure, procedure.max_rounds, sampling)


def _warmup_messages(observation: RequestObservation, sampling: Sampling) -> Iterator[str]:
    rounds = {(r.launch, r.round) for r in observation.requests if r.warmup}
    warm = Counter(launch for launch, _ in rounds)
    seen = tuple(warm[launch] for launch in range(len(sampling.warmup_rounds)))
    stored = sampling.warmup_rounds
    # Where arms take turns, sampling tells the most warm-ups of any arm.
    fits = stored == seen if sampling.side_by_side else all(map(int.__ge__, stored, seen))
    if not fits or len(stored) != sampling.launches:
        yield f"sampling says {stored} warm-up rounds, but the raw samples show {seen}"


def _launch_messages(procedure: Procedure, sampling: Sampling) -> Iterator[str]:
    each = procedure.rounds_per_launch or procedure.rounds
    due = sampling.rounds // procedure.rounds * -(-procedure.rounds // each)
    if sampling.launches != due:
        yield (
            f"sampling says {sampling.launches} launches, but its procedure has {due} "
            f"in {sampling.rounds} rounds"
        )


def _fixed_messages(procedure: Procedure, sampling: Sampling) -> Iterator[str]:
    if sampling.rounds != procedure.rounds:
        yield f"sampling says {sampling.rounds} rounds, but its procedure has {procedure.rounds}"
    if sampling.stopped_by != "fixed" or sampling.looks or sampling.widths:
        yield "its procedure has a fixed number of rounds, but sampling tells of looks"


def _adaptive_messages(procedure: Procedure, max_rounds: int, sampling: Sampling) -> Iterator[str]:
    every, looks = procedure.rounds, sampling.looks
    due = len(looks) * every == sampling.rounds > 0
    if not due or any(look != every * (i + 1) for i, look in enumerate(looks)):
        yield (
            f"its looks are {looks}, but they are due after every {every} of its "
            f"{sampling.rounds} rounds"
        )
    if sampling.rounds - every >= max_rounds:
        yield f"sampling says {sampling.rounds} rounds, but its procedure ends at {max_rounds}"
    if sampling.widths and set(sampling.widths) != set(procedure.watched):
        yield f"its widths are of {sorted(sampling.widths)}, not of {sorted(procedure.watched)}"
    if not _may_stop(procedure, max_rounds, sampling):
        yield f"it was stopped by '{sampling.stopped_by}', but its looks and widths say otherwise"


def _may_stop(procedure: Procedure, max_rounds: int, sampling: Sampling) -> bool:
    """Whether the reason to stop is possible; seconds are not on the record for each look."""
    target, known = procedure.target_width, sampling.widths
    narrow = target is not None and all(
        width is not None and width <= target for width in known.values()
    )
    possible = {
        "width": bool(known) and narrow and len(sampling.looks) >= 2,
        "rounds": bool(known) and sampling.rounds >= max_rounds,
        "time": bool(known) and procedure.time_budget_s is not None,
        "nothing": not known,
        "fixed": False,
    }
    return possible[sampling.stopped_by]
