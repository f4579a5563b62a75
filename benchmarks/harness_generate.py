"""Open answers: leanboard's batches beside lm-eval's own HFLM at its best batch size.

Both answer the same questions of GSM8K greedily on one loaded model, by turns in random order, a
ratio a round. HFLM's batch size is the one with which it gives the first tokens of all answers
fastest. Only tokens up to the end of an answer count, for both. Peak memory is that of a process
for each side, which holds the same libraries.

    python -m benchmarks.harness_generate --questions FOLDER/test.jsonl
    python -m benchmarks.harness_generate --questions FOLDER/test.jsonl --shots own
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from benchmarks.report import Line, write
from leanboard.metrics.signed_rank import ratio_centre, ratio_interval
from leanboard.runners.backends.base import UntilAnswer, UntilRequest, in_order
from leanboard.runners.backends.torch_engine import TransformersEngine
from leanboard.runners.backends.until import Answer
from leanboard.runners.grid import blocks
from leanboard.runners.lock import measuring
from leanboard.runners.machine.allocator import keep_freed_memory
from leanboard.runners.machine.memory import process_memory, reset_peak
from leanboard.runners.models import prepare_model

LEAST, MOST_MEMORY = 1.5, 1.5
STOPS = ("Question:", "</s>", "<|im_end|>")
BATCHES = (1, 4, 8, 16, 30)
FIRST_SHARE = 4
"""HFLM's batch size is chosen on the first of so many parts of the answers."""

SHOTS = {
    "none": "0-shot",
    "own": "5-shot, examples drawn for each question",
    "same": "5-shot, the same examples",
}
_SHOTS, _SEED = 5, 1234


def prompts_of(questions: Path, count: int, shots: str) -> list[str]:
    """Return the prompts as lm-eval's gsm8k builds them.

    It draws the examples anew for each question; ``same`` is what tasks do that name theirs.
    """
    asked = _lines(questions)[:count]
    train = [] if shots == "none" else _lines(questions.with_name("train.jsonl"))
    draw = random.Random(_SEED)  # noqa: S311
    examples = [draw.sample(train, _SHOTS) if train else [] for _ in asked]
    if shots == "same":
        examples = [examples[0]] * len(asked)
    return [
        "".join(f"{_open(one)} {one['answer']}\n\n" for one in shown) + _open(line)
        for shown, line in zip(examples, asked, strict=True)
    ]


def _lines(file: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _open(line: dict[str, str]) -> str:
    return f"Question: {line['question']}\nAnswer:"


class Harness(HFLM):  # type: ignore[misc]
    """HFLM that keeps the tokens it generated, by prompt."""

    def _model_generate(
        self, context: torch.Tensor, max_length: int, stop: list[str], **others: Any
    ) -> torch.Tensor:
        """Generate, and keep what was generated behind each prompt."""
        output: torch.Tensor = super()._model_generate(context, max_length, stop, **others)
        width = context.shape[1]
        for row, mask in zip(output.tolist(), others["attention_mask"].tolist(), strict=True):
            self.kept[tuple(row[width - sum(mask) : width])] = row[width:]
        return output


@dataclass
class Sides:
    """Both sides on one loaded model.

    Args:
        engine: leanboard's.
        texts: the prompts.
        most: most tokens of an answer.
    """

    engine: TransformersEngine
    texts: Sequence[str]
    most: int
    harnesses: dict[int, Harness] = field(default_factory=dict)

    def leanboard(self) -> list[UntilAnswer]:
        """Answer through leanboard's engine, from texts."""
        ids = self.engine.encode_batch(self.texts)
        requests = [UntilRequest(prompt, self.most, STOPS) for prompt in ids]
        return in_order(self.engine.generate_until(requests))

    def harness(self, batch: int) -> list[UntilAnswer]:
        """Answer through HFLM; what follows the end of an answer is cut off afterwards."""
        side = self._harness(batch)
        side.kept = {}
        settings = {"until": list(STOPS), "max_gen_toks": self.most, "do_sample": False}
        asked = [
            Instance("generate_until", {}, (text, dict(settings)), place)
            for place, text in enumerate(self.texts)
        ]
        texts = side.generate_until(asked, disable_tqdm=True)
        return [
            UntilAnswer(self._useful(prompt, side.kept[prompt]), text, "")
            for prompt, text in zip(self.engine.encode_batch(self.texts), texts, strict=True)
        ]

    def _harness(self, batch: int) -> Harness:
        if batch not in self.harnesses:
            model, tokenizer = self.engine._target.model, self.engine._tokenizer
            # What a model that HFLM loads itself would end at.
            model.generation_config.eos_token_id = tokenizer.eos_token_id
            self.harnesses[batch] = Harness(
                pretrained=model, tokenizer=tokenizer, backend="causal", batch_size=batch
            )
        return self.harnesses[batch]

    def _useful(self, prompt: tuple[int, ...], tokens: Sequence[int]) -> tuple[int, ...]:
        tokenizer = self.engine._tokenizer

        def decode(ids: Sequence[int], *, special: bool) -> str:
            text: str = tokenizer.decode(list(ids), skip_special_tokens=not special)
            return text

        ends = [self.engine.vocabulary.eot_token_id]
        answer = Answer(UntilRequest(prompt, self.most, STOPS), ends, decode)
        for token in tokens:
            if answer.add(token):
                break
        return tuple(answer.ids)

    def timed(self, batch: int | None) -> tuple[float, list[UntilAnswer]]:
        """Return (seconds, answers) of HFLM with this batch size, or of leanboard."""
        started_s = time.perf_counter()
        answers = self.leanboard() if batch is None else self.harness(batch)
        taken_s = time.perf_counter() - started_s
        name = "leanboard" if batch is None else f"HFLM, batch {batch}"
        print(f"{name}: {useful(answers)} tokens in {taken_s:.1f} s", file=sys.stderr, flush=True)
        return taken_s, answers


def useful(answers: Sequence[UntilAnswer]) -> int:
    """Return the tokens of the answers, ends included."""
    return sum(len(answer.output_ids) for answer in answers)


def compare(sides: Sides, batches: Sequence[int], rounds: int) -> dict[str, Any]:
    """Find HFLM's best batch size, then let both sides answer by turns."""
    first = replace(sides, most=max(1, sides.most // FIRST_SHARE))
    tried = {batch: first.timed(batch) for batch in batches}
    best = min(tried, key=lambda batch: tried[batch][0])
    begun = first.timed(None)[1]
    order = random.Random(_SEED)  # noqa: S311
    ratios, same = [], []
    for _ in range(rounds):
        turns = {side: sides.timed(side) for side in order.sample([None, best], 2)}
        rates = {side: useful(answers) / seconds for side, (seconds, answers) in turns.items()}
        ratios.append(rates[None] / rates[best])
        same.append(alike(turns[None][1], turns[best][1]))
    return {
        "batch": best,
        "first_s": {batch: seconds for batch, (seconds, _) in tried.items()},
        "first_alike": {batch: alike(begun, answers) for batch, (_, answers) in tried.items()},
        "ratios": ratios,
        "alike": min(same),
        "answers": len(begun),
        "lengths": sorted(len(answer.output_ids) for answer in turns[None][1]),
    }


def alike(ours: Sequence[UntilAnswer], others: Sequence[UntilAnswer]) -> int:
    """Count the answers with the same tokens and the same text."""
    return sum(
        a.output_ids == b.output_ids and a.text == b.text for a, b in zip(ours, others, strict=True)
    )


def lines(shots: str, found: dict[str, Any], peaks: dict[str, int]) -> Iterator[Line]:
    """Return the claims of one kind of prompt."""
    name, batch, ratios = SHOTS[shots], found["batch"], found["ratios"]
    value, interval = ratio_centre(ratios), ratio_interval(ratios)
    if interval is None:
        yield Line(f"{name}: leanboard / HFLM (batch {batch}), tokens/s", f"{value:.2f}")
    else:
        figure = f"{value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
        # Prompts that share nothing cost both the same to read: reported, no claim.
        held = interval.low >= LEAST if shots == "none" else None
        yield Line(f"{name}: leanboard / HFLM (batch {batch}), tokens/s", figure, held)
    claim = f"{name}: answers with the tokens and text of HFLM's, batch {batch}"
    count, answers = found["alike"], found["answers"]
    yield Line(claim, f"{count} of {answers}", count == answers)
    for size, count in sorted(found["first_alike"].items()):
        claim = f"{name}: first tokens of answers, the same as HFLM's, batch {size}"
        yield Line(claim, f"{count} of {answers}", count == answers if size == 1 else None)
    ratio = peaks["leanboard"] / peaks["harness"]
    sizes = " / ".join(f"{peaks[side] / 2**20:.0f}" for side in ("leanboard", "harness"))
    yield Line(f"{name}: peak memory", f"{ratio:.2f} ({sizes} MiB)", ratio <= MOST_MEMORY)


@contextmanager
def loaded() -> Iterator[TransformersEngine]:
    """Load the embedded model in float32, as leanboard measures it."""
    (spec,) = blocks(["backend=transformers", "workload=chat", "hardware=cpu", "accuracy=none"])
    files = prepare_model(spec.model, spec.cache, print).files
    with spec.build_backend().load(files, (), spec.device) as engine:
        if not isinstance(engine, TransformersEngine):
            raise TypeError(f"the backend gives a {type(engine).__name__}")
        yield engine


def peak_bytes(asked: argparse.Namespace, shots: str, batch: int | None) -> int:
    """Return the peak of a fresh process that answers once."""
    command = [sys.executable, "-m", "benchmarks.harness_generate", "--peak", str(batch or 0)]
    command += ["--questions", str(asked.questions), "--shots", shots]
    command += ["--count", str(asked.count), "--tokens", str(asked.tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


def _print_peak(asked: argparse.Namespace) -> int:
    with loaded() as engine:
        sides = Sides(
            engine, prompts_of(asked.questions, asked.count, asked.shots[0]), asked.tokens
        )
        reset_peak()
        sides.timed(asked.peak or None)
        memory = process_memory()
    print(0 if memory is None else memory.peak)
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=Path, required=True, help="GSM8K's test.jsonl")
    parser.add_argument("--shots", choices=SHOTS, action="append", help="default: all")
    parser.add_argument("--count", type=int, default=30, help="questions")
    parser.add_argument("--tokens", type=int, default=256, help="most tokens of an answer")
    parser.add_argument("--rounds", type=int, default=8, help="turns of both, 6 for an interval")
    parser.add_argument("--batch", type=int, action="append", help=f"default: {BATCHES}")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    keep_freed_memory()
    if asked.peak is not None:
        return _print_peak(asked)
    found: list[Line] = []
    data = {}
    for shots in asked.shots or SHOTS:
        texts = prompts_of(asked.questions, asked.count, shots)
        with measuring("cpu", print), loaded() as engine:
            result = compare(
                Sides(engine, texts, asked.tokens), asked.batch or BATCHES, asked.rounds
            )
        batch = result["batch"]
        result["peak_bytes"] = {
            "leanboard": peak_bytes(asked, shots, None),
            "harness": peak_bytes(asked, shots, batch),
        }
        found += lines(shots, result, result["peak_bytes"])
        data[shots] = result
    return write("harness_generate", found, data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
