"""Whether llama.cpp scores a span in company as it does alone: known beforehand, then tried."""

from __future__ import annotations

from leanboard.runners.backends.llama_model import LlamaModel

# Two steps of rounding of a logit between 16 and 32, in nats a token. Keys and values are float16
# for all types. Activations before quantised weights are rounded to eight bits: a last bit that
# falls the other way moves all that comes after.
_LOGIT_STEPS = 32
FLOAT_NATS = _LOGIT_STEPS * 2**-10
EIGHT_BIT_NATS = _LOGIT_STEPS * 2**-7


class SharingCheck:
    """Compares scores in company with those of the same spans alone, for one model.

    Looked at is the first batch of each kind: with or without tokens of earlier batches, and by
    the length of the text, in powers of two (a window that slides shows in long texts only).

    Attributes:
        why_whole: why spans are to be scored alone, as whole sequences; ``None`` while they need
            not be.
    """

    def __init__(self, model: LlamaModel) -> None:
        """Take the model whose spans are scored."""
        self.why_whole: str | None = None
        if model.is_recurrent:
            self.why_whole = "the model's layers are recurrent and cannot go back to a shared text"
        self._allowed_nats = FLOAT_NATS if model.is_float else EIGHT_BIT_NATS
        self._checked: set[tuple[bool, int]] = set()
        self._moved_nats = 0.0

    def is_due(self, *, forked: bool, length: int) -> bool:
        """Return whether a batch is the first of its kind; from then on it counts as looked at.

        Args:
            forked: whether it begins with tokens of an earlier batch.
            length: tokens of the text that would be fed alone.
        """
        kind = forked, length.bit_length()
        if kind in self._checked:
            return False
        self._checked.add(kind)
        return True

    def compare(self, together: float, alone: float, tokens: int) -> None:
        """Note how far two log-likelihoods (nats) of a continuation of so many tokens are apart."""
        moved = abs(together - alone) / tokens
        # Of NaN too: alone says whether the model gives it.
        if not moved <= self._allowed_nats:
            self.why_whole = (
                f"shared beginnings move a score by {moved:.2g} nats a token, and rounding "
                f"explains {self._allowed_nats:.2g}"
            )
        else:
            self._moved_nats = max(self._moved_nats, moved)

    def notes(self) -> tuple[str, ...]:
        """Return what a reader must know of how spans were scored."""
        if self.why_whole is not None:
            return (f"scored whole: {self.why_whole}",)
        if self._moved_nats > FLOAT_NATS:
            return (
                f"what is fed beside a text moves its score, in the sample by up to "
                f"{self._moved_nats:.2g} nats a token: llama.cpp rounds the activations before "
                "quantised weights to eight bits",
            )
        return ()
