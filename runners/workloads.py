"""What is asked of the model: lengths, batch, and which prompts in which round."""

from __future__ import annotations

from dataclasses import dataclass, fields

from leanboard.results.errors import ConfigError
from leanboard.results.schema import Workload
from leanboard.runners.backends.base import Request
from leanboard.runners.prompts import Prompt, PromptSet

Shape = tuple[int, int]
"""Tokens of the prompt, and of the output."""


@dataclass(frozen=True, slots=True)
class WorkloadConfig:
    """One YAML of suites/workload.

    Args:
        prompt_tokens: exact length of every prompt, template included; the longest of ``shapes``.
        output_tokens: tokens generated for every prompt, end-of-text being ignored; the most of
            ``shapes``.
        batch_size: prompts of one static batch.
        prompts: prompts that are timed; a multiple of the batch size (times the number of shapes).
        seed: decides which passages become prompts.
        shapes: prompt and output lengths that the rounds take in turn; none: all are alike.

    Raises:
        ConfigError: if a value does not fit.
    """

    name: str
    prompt_tokens: int
    output_tokens: int
    batch_size: int
    prompts: int
    seed: int
    shapes: tuple[Shape, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "seed" else 1
            if field.name in ("name", "shapes"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(
                    f"workload.{field.name} is {value!r}; it must be a whole number of at least "
                    f"{least}."
                )
        if self.prompts % self.batch_size != 0:
            raise ConfigError(
                f"workload.prompts is {self.prompts}, no multiple of workload.batch_size "
                f"{self.batch_size}. Try workload.prompts={self.batch_size * 2}."
            )
        object.__setattr__(self, "shapes", _shapes(self.shapes))
        if self.shapes:
            self._check_shapes()

    def _check_shapes(self) -> None:
        """Hold the maxima and the number of prompts to the shapes."""
        for name, values in zip(
            ("prompt_tokens", "output_tokens"), zip(*self.shapes, strict=True), strict=True
        ):
            if getattr(self, name) != max(values):
                raise ConfigError(
                    f"workload.{name} is {getattr(self, name)}; with workload.shapes it must be "
                    f"their largest: {max(values)}."
                )
        whole = len(self.shapes) * self.batch_size
        if self.prompts % whole != 0:
            raise ConfigError(
                f"workload.prompts is {self.prompts}; with {len(self.shapes)} workload.shapes of "
                f"{self.batch_size} prompts it must be a multiple of {whole}."
            )

    def shape(self, number: int) -> Shape:
        """Return prompt and output tokens of a timed round."""
        if not self.shapes:
            return self.prompt_tokens, self.output_tokens
        return self.shapes[number % len(self.shapes)]

    @property
    def warmup_prompts(self) -> int:
        """Prompts that only warm up: two batches."""
        return 2 * self.batch_size


def _shapes(plain: object) -> tuple[Shape, ...]:
    """Read pairs of whole numbers as YAML gives them.

    Raises:
        ConfigError: if they are anything else.
    """
    if not isinstance(plain, list | tuple) or not all(map(_is_shape, plain)):
        raise ConfigError(
            f"workload.shapes is {plain!r}; it must be a list of [prompt tokens, output tokens]."
        )
    return tuple((prompt_tokens, output_tokens) for prompt_tokens, output_tokens in plain)


def _is_shape(pair: object) -> bool:
    return (
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in pair)
    )


def requests(
    prompt_set: PromptSet, config: WorkloadConfig, number: int, *, warmup: bool
) -> list[Request]:
    """Return the batch of one round: the next ``batch_size`` prompts, starting over at the end.

    It is the same for every arm. Warm-up rounds use prompts of their own, of the longest shape.
    """
    pool = prompt_set.warmups if warmup else prompt_set.prompts
    output_tokens = config.output_tokens if warmup else config.shape(number)[1]
    start = number * config.batch_size
    chosen: list[Prompt] = [pool[(start + i) % len(pool)] for i in range(config.batch_size)]
    return [Request(p.prompt_id, p.text, output_tokens) for p in chosen]


def identity(config: WorkloadConfig, prompt_set: PromptSet) -> Workload:
    """Return the workload as a record holds it."""
    return Workload(
        name=config.name,
        prompt_tokens=config.prompt_tokens,
        output_tokens=config.output_tokens,
        batch_size=config.batch_size,
        prompts=config.prompts,
        prompts_hash=prompt_set.sha256,
        prompts_source=prompt_set.source,
        output_length="fixed",
        shapes=config.shapes,
    )
