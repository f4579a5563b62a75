"""Prompts of an exact length in tokens, made of passages, whose baseline answer is long enough."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from leanboard.results.errors import ConfigError
from leanboard.runners.cache import write_text
from leanboard.runners.passages import Pool
from leanboard.runners.prompt_format import PromptFormat

if TYPE_CHECKING:
    from leanboard.runners.workloads import WorkloadConfig

PROMPTS_VERSION = 1
"""Raised whenever the same model and passages would give other prompts."""

_CANDIDATES_AT_ONCE = 16
# A label; and what most workloads do not have, whose prompts keep their key.
_NO_PART_OF_A_KEY = ("name", "shapes")

EncodeBatch = Callable[[Sequence[str]], Sequence[Sequence[int]]]
ReachesLength = Callable[[list[str]], list[bool]]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with an id that follows from its text."""

    prompt_id: str
    text: str

    @staticmethod
    def of(text: str) -> Prompt:
        """Name a text by 12 hex digits of its sha256."""
        return Prompt(hashlib.sha256(text.encode()).hexdigest()[:12], text)


@dataclass(frozen=True, slots=True)
class PromptSet:
    """The prompts of a workload for one model.

    Args:
        prompts: those that are timed, in order.
        warmups: others, for warm-up rounds only.
        sha256: over the texts of ``prompts`` in their order.
        source: where the text comes from and under which licence.
    """

    prompts: tuple[Prompt, ...]
    warmups: tuple[Prompt, ...]
    sha256: str
    source: str


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """Everything that decides which prompts a workload gets.

    Args:
        workload: lengths, counts and seed.
        model_hash: content hash of the model.
        form: how a passage becomes a prompt.
        pool: the passages.
        reference: device and dtype of the model whose answers decide (``cpu/float32``).
    """

    workload: WorkloadConfig
    model_hash: str
    form: PromptFormat
    pool: Pool
    reference: str = "cpu/float32"

    @property
    def key(self) -> str:
        """Return 32 hex digits; equal plans give equal prompts."""
        settings = {k: v for k, v in asdict(self.workload).items() if k not in _NO_PART_OF_A_KEY}
        if self.workload.shapes:
            settings["shapes"] = self.workload.shapes
        sources = [self.model_hash, self.form.sha256, self.pool.sha256, self.reference]
        parts = [PROMPTS_VERSION, *sources, settings]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def stored(plan: PromptPlan, cache: Path) -> PromptSet | None:
    """Return the prompts chosen earlier for the same plan; ``None`` if there are none."""
    try:
        plain = json.loads((cache / "prompts" / f"{plan.key}.json").read_text(encoding="utf-8"))
        timed = [str(text) for text in plain["prompts"]]
        warmups = [str(text) for text in plain["warmups"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _prompt_set(timed, warmups, plan.pool.source)


def choose(
    plan: PromptPlan, encode_batch: EncodeBatch, reaches_length: ReachesLength, cache: Path
) -> PromptSet:
    """Choose the prompts of a workload, and remember them in the cache.

    Args:
        plan: what decides the choice.
        encode_batch: texts to token ids, special tokens honoured, none added.
        reaches_length: for each prompt, whether the reference model, greedily, generates
            ``output_tokens`` tokens without end-of-text.
        cache: root of the cache.

    Raises:
        ConfigError: if too few prompts qualify, with the numbers.
    """
    pick = _in_turn if plan.workload.shapes else _alike
    timed, warmups = pick(plan, encode_batch, reaches_length)
    plain = json.dumps({"prompts": timed, "warmups": warmups}, ensure_ascii=False, indent=1)
    write_text(cache / "prompts" / f"{plan.key}.json", plain)
    return _prompt_set(timed, warmups, plan.pool.source)


def _alike(
    plan: PromptPlan, encode_batch: EncodeBatch, reaches_length: ReachesLength
) -> tuple[list[str], list[str]]:
    """Return timed and warm-up prompts of the workload's one length."""
    workload = plan.workload
    candidates = prompt_candidates(plan, encode_batch)
    texts = select(candidates, reaches_length, workload.prompts + workload.warmup_prompts)
    return texts[: workload.prompts], texts[workload.prompts :]


def _in_turn(
    plan: PromptPlan, encode_batch: EncodeBatch, reaches_length: ReachesLength
) -> tuple[list[str], list[str]]:
    """Return timed prompts whose length changes from batch to batch, and warm-ups of the longest.

    Each shape, and the warm-up, has passages of its own. An answer that is long enough for the
    longest output is long enough for all.
    """
    workload, turns = plan.workload, len(plan.workload.shapes)

    def some(turn: int, tokens: int, count: int) -> list[str]:
        passages = plan.pool.passages[turn :: turns + 1]
        part = replace(
            plan,
            workload=replace(workload, prompt_tokens=tokens, shapes=()),
            pool=replace(plan.pool, passages=passages),
        )
        return select(prompt_candidates(part, encode_batch), reaches_length, count)

    each = workload.prompts // turns
    found = [iter(some(turn, shape[0], each)) for turn, shape in enumerate(workload.shapes)]
    batches, size = workload.prompts // workload.batch_size, workload.batch_size
    timed = [next(found[number % turns]) for number in range(batches) for _ in range(size)]
    return timed, some(turns, workload.prompt_tokens, workload.warmup_prompts)


def _prompt_set(timed: Sequence[str], warmups: Sequence[str], source: str) -> PromptSet:
    texts = json.dumps(list(timed), ensure_ascii=False).encode()
    return PromptSet(
        prompts=tuple(Prompt.of(text) for text in timed),
        warmups=tuple(Prompt.of(text) for text in warmups),
        sha256=hashlib.sha256(texts).hexdigest(),
        source=source,
    )


def prompt_candidates(plan: PromptPlan, encode_batch: EncodeBatch) -> Iterator[str]:
    """Yield distinct prompts of exactly ``prompt_tokens`` tokens, in seeded order.

    Every passage is used once at most. A text that no cut between words brings to the exact
    length is dropped.
    """
    texts = _joined(plan)
    while batch := [text for _, text in zip(range(_CANDIDATES_AT_ONCE), texts, strict=False)]:
        yield from _cut(batch, plan.workload.prompt_tokens, plan.form, encode_batch)


def _joined(plan: PromptPlan) -> Iterator[str]:
    """Yield texts of as many passages as surely are long enough: a word is at least one token."""

    def rank(text: str) -> str:
        return hashlib.sha256(f"{plan.workload.seed}:{text}".encode()).hexdigest()

    parts: list[str] = []
    words = 0
    for text in sorted((p.text for p in plan.pool.passages), key=rank):
        parts.append(text)
        words += len(text.split())
        if words >= plan.workload.prompt_tokens:
            yield "\n\n".join(parts)
            parts, words = [], 0


def _cut(
    texts: Sequence[str], tokens: int, form: PromptFormat, encode_batch: EncodeBatch
) -> list[str]:
    """Cut each text between words so that its prompt has exactly so many tokens.

    A binary search on all texts at once: one call of the encoder a step.
    """
    ends = [[m.end() for m in re.finditer(r"\S+", text)] for text in texts]
    low, high = [0] * len(texts), [len(e) - 1 for e in ends]
    found: dict[int, str] = {}
    while searching := [i for i in range(len(texts)) if low[i] <= high[i]]:
        middle = {i: (low[i] + high[i]) // 2 for i in searching}
        prompts = [form.render(texts[i][: ends[i][middle[i]]]) for i in searching]
        for i, prompt, ids in zip(searching, prompts, encode_batch(prompts), strict=True):
            if len(ids) == tokens:
                found[i] = prompt
                low[i] = high[i] + 1
            elif len(ids) < tokens:
                low[i] = middle[i] + 1
            else:
                high[i] = middle[i] - 1
    return [found[i] for i in sorted(found)]


def select(candidates: Iterator[str], reaches_length: ReachesLength, count: int) -> list[str]:
    """Return the first ``count`` candidates whose baseline answer is long enough.

    Raises:
        ConfigError: if there are fewer, with the numbers.
    """
    chosen: list[str] = []
    tried = 0
    while len(chosen) < count:
        batch = [text for _, text in zip(range(count - len(chosen)), candidates, strict=False)]
        if not batch:
            raise ConfigError(
                f"{count} prompts are needed (warm-ups included), and {len(chosen)} of {tried} "
                "candidates qualify: exact length, and an answer that does not end early. Ask for "
                "fewer prompts or shorter outputs: workload.prompts=N workload.output_tokens=N."
            )
        tried += len(batch)
        answers = reaches_length(batch)
        chosen += [text for text, long in zip(batch, answers, strict=True) if long]
    return chosen
