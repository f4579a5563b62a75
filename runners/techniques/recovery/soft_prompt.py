"""A learnt prompt in front of every text, for a compressed model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ArmError, ConfigError
from leanboard.runners.techniques.base import Target, TechniqueDefaults
from leanboard.runners.techniques.facts import PROMPT_BYTES, counted, noted
from leanboard.runners.techniques.short_training import (
    backward,
    frozen,
    next_token_loss,
    progress,
    warm_cosine,
)

if TYPE_CHECKING:
    import torch

_FILE = "prompt.safetensors"
_NAME = "embeddings"


@dataclass(frozen=True, slots=True)
class SoftPrompt(TechniqueDefaults):
    """Put embeddings in front of every text that were trained to make up for a compression.

    Name it after the technique that compresses: no weight is changed, the embeddings are trained
    against the model as it then is, by the likelihood of calibration text. When it is applied the
    prompt is run once; its keys and values stay in every layer, are counted among the weights, and
    are read by every token of every path (answers, scores, with and without shared prefixes). They
    are at the positions before the text, and are seen in layers with a sliding window too, at any
    distance. The cache counts the text alone.

    Part of what it gains is that the model gets used to the kind of text, which the same prompt
    for the whole model (``technique=soft-prompt`` alone) shows.

    Source: Xu et al., Soft Prompt Recovers Compressed LLMs, Transferably (Compress, Then Prompt),
    arXiv:2305.11186.

    Library: leanboard's own code on torch, put into attention by transformers'
    ``AttentionInterface``.

    Limits: Attention has to be sdpa or eager, one module a layer, and rotary embeddings must depend
    on distances alone. Every forward copies keys and values behind those of the prompt.

    Args:
        prompt_tokens: embeddings of the prompt, 1 or more. They start as those of real text.
        steps: of training, 1 or more.
        batch: pieces of text a step, 1 or more; none is seen twice.
        tokens: tokens of each piece, 2 or more.
        learning_rate: of Adam at its highest, as a share of the spread of the model's embeddings;
            above 0.
        seed: draws the pieces.
    """

    version: ClassVar[int] = 1
    calibrated: ClassVar[bool] = True
    trained: ClassVar[bool] = True

    prompt_tokens: int = 16
    steps: int = 60
    batch: int = 4
    tokens: int = 128
    learning_rate: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the knobs."""
        for knob, least in (("prompt_tokens", 1), ("steps", 1), ("batch", 1), ("tokens", 2)):
            if getattr(self, knob) < least:
                raise ConfigError(f"{knob}={getattr(self, knob)} must be {least} or more.")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate={self.learning_rate} must be above 0.")

    def make(self, target: Target, folder: Path) -> Iterator[str]:
        """Train the embeddings against the model as the techniques before this one left it."""
        import torch
        from safetensors.torch import save_file

        from leanboard.runners.techniques.recovery.prompt_attention import prompted

        pieces = target.calibration(self.steps * self.batch, self.tokens, self.seed)
        start = target.calibration(1, self.prompt_tokens, self.seed + 1)[0]
        with torch.no_grad():
            embedding = target.model.get_input_embeddings()
            device = next(target.model.parameters()).device
            prompt = torch.nn.Parameter(embedding(start.to(device)).float())
        with prompted(target.model) as modules, frozen(target.model):
            yield from self._train(target.model, modules, prompt, pieces)
        save_file({_NAME: prompt.detach().cpu()}, folder / _FILE)

    def _train(
        self,
        model: torch.nn.Module,
        modules: Sequence[torch.nn.Module],
        prompt: torch.nn.Parameter,
        pieces: torch.Tensor,
    ) -> Iterator[str]:
        import torch

        from leanboard.runners.techniques.recovery.prompt_attention import give

        rate = self.learning_rate * float(prompt.detach().std())
        optimiser = torch.optim.Adam([prompt], lr=rate, betas=(0.9, 0.95))
        for step, part in enumerate(pieces.split(self.batch)):
            for group in optimiser.param_groups:
                group["lr"] = rate * warm_cosine(step, self.steps)
            give(model, modules, prompt)
            loss = next_token_loss(model, part)
            optimiser.zero_grad()
            backward(loss, "A soft prompt cannot make up for it.")
            torch.nn.utils.clip_grad_norm_([prompt], 1.0)
            optimiser.step()
            yield from progress(step + 1, self.steps, f"loss {loss.item():.3f}, steps")

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Run the prompt once, and let attention look at what the layers keep of it."""
        import torch
        from safetensors import safe_open

        from leanboard.runners.techniques.recovery.prompt_attention import (
            KEYS,
            VALUES,
            give,
            prompted,
        )

        if target.made is None:
            raise ArmError("The prompt is trained by `leanboard run` before it is applied.")
        with safe_open(target.made / _FILE, "pt") as file:
            prompt = file.get_tensor(_NAME)
        with prompted(target.model) as modules:
            with torch.no_grad():
                give(target.model, modules, prompt)
            kept = sum(m.get_buffer(part).nbytes for m in modules for part in (KEYS, VALUES))
            with noted(target, {PROMPT_BYTES: counted(kept, "B")}):
                yield
