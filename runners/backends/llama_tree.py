"""Sequences that begin alike, fed to llama.cpp as one tree: what they share is computed once."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from leanboard.runners.backends.llama_context import LlamaContext, Token
from leanboard.runners.backends.spans import common_prefix

TRUNK = 0


@dataclass(frozen=True, slots=True)
class Branch:
    """A sequence to feed.

    Args:
        sequence: its number in the context, not ``TRUNK``; it holds nothing yet.
        tokens: all its tokens, from the first one of the text.
        outputs: positions whose logits are wanted, where they are fed for this branch first.
    """

    sequence: int
    tokens: tuple[int, ...]
    outputs: Container[int]


@dataclass(slots=True)
class _Node:
    """A token of the tree and the sequences that run through it."""

    id: int
    position: int
    sequences: list[int]
    output: bool


class Trunk:
    """A sequence of the context that keeps what was fed last, for the next ones to begin from.

    Attributes:
        tokens: what it holds.
    """

    def __init__(self, context: LlamaContext) -> None:
        """Begin with an empty context, made with ``shared``."""
        self.tokens: tuple[int, ...] = ()
        self._context = context

    def grow(self, branches: Sequence[Branch]) -> list[Token]:
        """Return the tokens to feed so that the context holds all branches; cut the trunk to fit.

        What a branch shares with the trunk is forked from it, what it shares with the branch
        before it is fed once for both. Its last token is always fed.

        Args:
            branches: at least one; sorted by their tokens, so that neighbours share most.
        """
        nodes: list[_Node] = []
        # The nodes of the present branch, from the position where it leaves the trunk.
        spine: list[_Node] = []
        self.cut(_common(self.tokens, branches[0]))
        before, kept = self.tokens, len(self.tokens)
        for branch in branches:
            common = _common(before, branch)
            kept = min(kept, common)
            if kept > 0:
                self._context.fork(TRUNK, branch.sequence, kept)
            del spine[common - kept :]
            for node in spine:
                node.sequences.append(branch.sequence)
            own = [
                _Node(branch.tokens[at], at, [branch.sequence], at in branch.outputs)
                for at in range(common, len(branch.tokens))
            ]
            nodes += own
            spine += own
            before = branch.tokens
        return [Token(n.id, n.position, tuple(n.sequences), n.output) for n in nodes]

    def cut(self, count: int) -> None:
        """Keep only the first tokens."""
        if count < len(self.tokens):
            self._context.cut(TRUNK, count)
            self.tokens = self.tokens[:count]

    def restart(self, tokens: tuple[int, ...]) -> None:
        """Hold what has been fed to the trunk's sequence after the context was cleared."""
        self.tokens = tokens

    def follow(self, branch: Branch) -> None:
        """Hold from now on what a branch holds, which has been fed and is still there."""
        self._context.drop(TRUNK)
        self._context.fork(branch.sequence, TRUNK)
        self.tokens = branch.tokens


def unshared(branches: Sequence[Branch]) -> list[Token]:
    """Return the tokens to feed where each branch is computed by itself."""
    return [
        Token(token, at, (branch.sequence,), at in branch.outputs)
        for branch in branches
        for at, token in enumerate(branch.tokens)
    ]


def _common(before: tuple[int, ...], branch: Branch) -> int:
    return min(common_prefix(before, branch.tokens), len(branch.tokens) - 1)
