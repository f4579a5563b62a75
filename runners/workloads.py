"""What is asked of the model: lengths, batch, and which prompts in which round."""

from __future__ import annotations

from dataclasses import dataclass, fields

from leanboard.results.errors import ConfigError
from leanboard.results.schema import Workload
from leanboard.runners.backends.base import Request
from leanboard.runners.prompts import Prompt, PromptSet


@dataclass(frozen=True, slots=True)
class WorkloadConfig:
    """One YAML of suites/workload.

    Args:
        prompt_tokens: exact length of every prompt, template included.
        output_tokens: tokens generated for every prompt; end-of-text is ignored.
        batch_size: prompts of one static batch.
        prompts: prompts that are timed; a multiple of the batch size.
        seed: decides which passages become prompts.

    Raises:
        ConfigError: if a value does not fit.
    """

    name: str
    prompt_tokens: int
    output_tokens: int
    batch_size: int
    prompts: int
    seed: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "seed" else 1
            if field.name == "name":
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

    @property
    def warmup_prompts(self) -> int:
        """Prompts that only warm up: two batches."""
        return 2 * self.batch_size


def requests(
    prompt_set: PromptSet, config: WorkloadConfig, number: int, *, warmup: bool
) -> list[Request]:
    """Return the batch of one round: the next ``batch_size`` prompts, starting over at the end.

    It is the same for every arm. Warm-up rounds use prompts of their own.
    """
    pool = prompt_set.warmups if warmup else prompt_set.prompts
    start = number * config.batch_size
    chosen: list[Prompt] = [pool[(start + i) % len(pool)] for i in range(config.batch_size)]
    return [Request(p.prompt_id, p.text, config.output_tokens) for p in chosen]


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
    )
