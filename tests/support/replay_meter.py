"""A meter that says what it was told."""

from __future__ import annotations

from collections.abc import Sequence

from leanboard.metrics.trace import Provenance


class ReplayMeter:
    """Gives the joules it was told, one a window."""

    reason: str | None = "the replay is over"

    def __init__(
        self, energies_j: Sequence[float | None], source: str, provenance: Provenance
    ) -> None:
        self.source = source
        self.provenance = provenance
        self._energies_j = iter(energies_j)

    def start(self) -> None:
        """Do nothing."""

    def stop(self) -> float | None:
        """Return the next energy."""
        return next(self._energies_j, None)
