"""The decoder compiled by torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from leanboard.results.errors import ConfigError, UnsupportedError
from leanboard.runners.techniques.base import Target, TechniqueDefaults

if TYPE_CHECKING:
    import torch

BACKENDS = ("inductor", "aot_eager", "eager")
MODES = ("default", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune")
_CUDA_GRAPHS = ("reduce-overhead", "max-autotune")
_PROMPTS = (6, 11)
"""Lengths of the prompts that are answered before anything is timed."""
_TOKENS = 4
_GRAPHS = 32
"""Graphs that a decoder may be compiled to: one for each way in which it is called."""


@dataclass(frozen=True, slots=True)
class TorchCompile(TechniqueDefaults):
    """Trace the decoder into graphs and run them as code that inductor made of them.

    Norms, rotary embeddings, activations and additions are fused into C++ kernels, which saves
    the time between operations and passes over memory; products of matrices stay torch's own. The
    output head stays outside. Fused sums round otherwise, so that outputs may differ in the last
    digits and, where two tokens are nearly tied, in words: it is not lossless by construction.

    Compiling is part of the load: short prompts are answered before anything is timed, and the
    fact compile_s says how long torch compiled for it (graphs found in inductor's cache on disk
    are not compiled again; compile_cache_hits counts them). What is compiled later, for a batch
    or a way of scoring not met before, is counted as recompile_s and recompilations: where they
    rise in timed rounds, these are too long.

    Source: Ansel et al., PyTorch 2, ASPLOS 2024, https://docs.pytorch.org/docs/stable/torch.compiler.html.

    Library: ``torch.compile`` (TorchDynamo and inductor).

    Limits: On a CPU it needs a C++ compiler. Every process traces anew, and compiles what
    inductor's cache on disk lacks: about a minute for 135 million parameters.

    Args:
        backend: ``inductor``; ``aot_eager`` and ``eager`` only trace, for comparison.
        mode: inductor's: ``default``, ``max-autotune-no-cudagraphs``, and on a GPU
            ``reduce-overhead`` or ``max-autotune``.
        dynamic: one graph for all lengths; without it every length is compiled anew, which only a
            static cache keeps few.
    """

    version: ClassVar[int] = 1

    backend: str = "inductor"
    mode: str = "default"
    dynamic: bool = True

    def __post_init__(self) -> None:
        """Check the knobs."""
        for knob, allowed in (("backend", BACKENDS), ("mode", MODES)):
            if getattr(self, knob) not in allowed:
                raise ConfigError(
                    f"{knob}={getattr(self, knob)!r} is unknown; choose {', '.join(allowed)}."
                )

    @contextmanager
    def apply(self, target: Target) -> Iterator[None]:
        """Compile the decoder and answer short prompts; forget all compiled code on exit."""
        import torch
        from torch._dynamo import config as dynamo_config
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
        from torch._inductor import config as inductor_config

        from leanboard.runners.techniques.runtime.compile_facts import counted_compilations

        body = target.model.base_model
        self._check_device(next(body.parameters()).device)
        with ExitStack() as stack:
            stack.callback(torch._dynamo.reset)
            stack.callback(body.__dict__.pop, "_compiled_call_impl", None)
            # Past the limit torch would run without compiling and only warn.
            limits = {"recompile_limit": _GRAPHS, "fail_on_recompile_limit_hit": True}
            stack.enter_context(dynamo_config.patch(limits))
            # More threads are processes that would stay behind, idle.
            stack.enter_context(inductor_config.patch(compile_threads=1))
            compilations = stack.enter_context(counted_compilations(target.facts))
            body.compile(backend=self.backend, mode=self.mode, dynamic=self.dynamic)
            try:
                _answer(target)
            except (TorchDynamoException, FailOnRecompileLimitHit) as error:
                said = str(error).strip().split("\n")[0]
                raise UnsupportedError(f"torch.compile refuses this model: {said}") from error
            compilations.warmed_up()
            yield

    def _check_device(self, device: torch.device) -> None:
        if device.type == "cuda" or self.backend != "inductor":
            return
        if self.mode in _CUDA_GRAPHS:
            raise UnsupportedError(f"mode={self.mode} captures CUDA graphs: it needs a GPU.")
        from torch._inductor import cpp_builder
        from torch._inductor.exc import InvalidCxxCompiler

        try:
            cpp_builder.get_cpp_compiler()
        except InvalidCxxCompiler as error:
            raise UnsupportedError(
                "torch.compile needs a C++ compiler on a CPU, and there is none: install g++ "
                "(Debian and Ubuntu: sudo apt install g++ python3-dev)."
            ) from error


def _answer(target: Target) -> None:
    """Let the model answer short prompts, with the options of the techniques before."""
    import torch

    device = next(target.model.parameters()).device
    for length in _PROMPTS:
        ids = torch.arange(length, device=device)[None]
        # As an engine asks: a mask that is given is another graph than one that is made.
        target.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=_TOKENS,
            do_sample=False,
            **target.generation,
        )
