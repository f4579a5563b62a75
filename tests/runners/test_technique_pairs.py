"""Techniques two at a time: a pair works, or is refused in words; both leave nothing behind."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from contract import CHECKS, partners
from hydra.utils import instantiate

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners import config
from leanboard.runners.backends.torch_loading import TorchTarget, quiet_libraries
from leanboard.runners.techniques.base import MadeTechnique, Technique

TEXT = {"samples": 1, "tokens": 8}
SMALL: Mapping[str, Mapping[str, object]] = {
    "block-influence": {"layers": 1, **TEXT},
    "bnb-nf4": {"block_size": 32},
    "cfsp": {"multiple_of": 16, **TEXT},
    "cospadi": {"kept": 0.9, "rounds": 1, **TEXT},
    "drop-layers": {"layers": 1},
    "gptq": {"group": 16, **TEXT},
    "heal": {"steps": 1, "batch": 1, "tokens": 8},
    "hqq": {"group_size": 16},
    "maestro": {"steps": 1, "batch": 1, **TEXT},
    "mixed-hessian": {"max_kl": 9.0, "group": 16, **TEXT},
    "mixed-ilp": {"group": 16, **TEXT},
    "prune-width": {"multiple_of": 16},
    "random-sharing": {"chunk": 16},
    "rtn": {"group": 16},
    "soft-prompt": {"prompt_tokens": 2, "steps": 1, "batch": 1, "tokens": 8},
    "wanda": TEXT,
    "whitened-svd": TEXT,
}
"""Knobs for a model whose rows are 32 and 64 wide."""
IDS = torch.arange(3, 15)[None]


def technique(name: str) -> Technique:
    return instantiate({**config.named("technique", name), **SMALL.get(name, {})})


ON_TORCH = {name: technique(name) for name in CHECKS["pairs"].names}


@cache
def model(dtype: str) -> torch.nn.Module:
    """Return a random Llama of two layers that nobody changes."""
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    shape = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        initializer_range=0.25,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = LlamaForCausalLM(shape).to(getattr(torch, dtype)).eval()
    made.generation_config = GenerationConfig(pad_token_id=0)
    return made


@dataclass(frozen=True)
class Checkpoint:
    """What a target reads parameters from again; a copy of the whole model takes far longer."""

    plain: torch.nn.Module

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        for name, module in self.plain.named_modules():
            weights = {
                part: None if weight is None else torch.nn.Parameter(weight.detach().clone())
                for part, weight in module._parameters.items()
            }
            yield name, SimpleNamespace(_parameters=weights)


def pieces(samples: int, tokens: int, seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(3, 60, (samples, tokens), generator=draw)


def state(target: TorchTarget) -> dict[str, Any]:
    """Return all that techniques may change of a target, but for the values of weights."""
    return {
        "model": repr(target.model),
        "flags": {name: w.requires_grad for name, w in target.model.named_parameters()},
        "config": target.model.config.to_dict(),
        "generation": dict(target.generation),
        "told": (dict(target.facts), list(target.notes), target.no_likelihoods, target.new_cache),
    }


def answered(target: TorchTarget) -> bool:
    """Run a text at once and token by token; return whether all of it is finite."""
    with torch.no_grad():
        whole = target.model(IDS).logits
        answer = target.model.generate(
            IDS,
            attention_mask=torch.ones_like(IDS),
            max_new_tokens=2,
            do_sample=False,
            **target.generation,
        )
    return bool(torch.isfinite(whole).all()) and answer.shape[1] == IDS.shape[1] + 2


@dataclass
class Pairs:
    """Applies techniques one after the other as the backend does, and says what is wrong.

    Args:
        folder: receives what techniques make, by the techniques before them and the dtype.
    """

    folder: Path
    known: dict[str, dict[str, Any]] = field(default_factory=dict)

    def problem(self, names: tuple[str, str]) -> str | None:
        """Return what is wrong with a pair; ``None`` if it works, or is refused and undone."""
        options = [ON_TORCH[name].load_options().dtype for name in names]
        dtype = next((each for each in options if each is not None), "float32")
        plain = model(dtype)

        target = TorchTarget(copy.deepcopy(plain), lambda: Checkpoint(plain), pieces=pieces)
        if dtype not in self.known:
            self.known[dtype] = state(target)
        try:
            with ExitStack() as stack:
                for place in range(len(names)):
                    self._apply(target, names[: place + 1], dtype, stack)
                if not answered(target):
                    return "its answer is not finite, or too short"
        except (UnsupportedError, ConfigError):
            pass  # Refused in words; what was applied before it is undone all the same.
        except Exception as error:  # noqa: BLE001 -- whatever it is, the pair is named with it
            return f"{type(error).__name__}: {error}"
        return next(left_behind(target, self.known[dtype], plain), None)

    def _apply(
        self, target: TorchTarget, names: tuple[str, ...], dtype: str, stack: ExitStack
    ) -> None:
        made = ON_TORCH[names[-1]]
        target.made = None
        if isinstance(made, MadeTechnique):
            folder = self.folder / "-".join((dtype, *names))
            if not folder.exists():
                # What is made of the plain model serves all pairs that begin with it.
                folder.mkdir()
                assert all(made.make(target, folder))
            target.made = folder
        stack.enter_context(made.apply(target))


def left_behind(
    target: TorchTarget, before: Mapping[str, Any], plain: torch.nn.Module
) -> Iterator[str]:
    """Yield what is not as it was."""
    for part, value in state(target).items():
        if value != before[part]:
            yield f"its {part} is not put back"
    weights, expected = target.model.state_dict(), plain.state_dict()
    for name, weight in expected.items():
        if not torch.equal(weights[name], weight):
            yield f"{name} is not put back"


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pairs]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with quiet_libraries():
        yield Pairs(tmp_path_factory.mktemp("made"))
    torch.set_num_threads(threads)


@pytest.mark.parametrize("first", ON_TORCH)
def test_every_pair_that_is_allowed_answers_or_is_refused_and_leaves_nothing_behind(
    first: str, pairs: Pairs
):
    found = {f"[{first},{other}]": pairs.problem((first, other)) for other in partners(first)}
    assert {pair: said for pair, said in found.items() if said is not None} == {}
