"""A block made ready: every arm has an identity, every prompt and item is fixed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from leanboard.results import identity
from leanboard.results.schema import (
    AccuracyCell,
    Component,
    DeviceProfile,
    PerformanceCell,
    Workload,
)
from leanboard.runners.accuracy.tasks import PreparedTask
from leanboard.runners.grid import ArmSpec, BlockSpec
from leanboard.runners.models import PreparedModel
from leanboard.runners.prompts import PromptSet
from leanboard.runners.workloads import WorkloadConfig


@dataclass(frozen=True, slots=True)
class PreparedWorkload:
    """A workload with its prompts chosen for the model."""

    config: WorkloadConfig
    prompts: PromptSet
    identity: Workload


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm with its techniques as records name them.

    Args:
        spec: its techniques.
        components: the same as records name them.
        quantises: whether one of them rounds the weights.
        simulates: metrics in which one of them only simulates its gain.
        expanded_by: whose code expands weights to floats at every forward; empty where none does.
    """

    spec: ArmSpec
    components: tuple[Component, ...]
    quantises: bool
    simulates: frozenset[str] = frozenset()
    expanded_by: str = ""

    @property
    def label(self) -> str:
        """Name of the arm within its block."""
        return self.spec.label


@dataclass(frozen=True, slots=True)
class Block:
    """One job: a baseline, its candidates, their workloads and their tasks."""

    spec: BlockSpec
    model: PreparedModel
    backend: Component
    arms: tuple[Arm, ...]
    workloads: tuple[PreparedWorkload, ...]
    tasks: tuple[PreparedTask, ...]

    @property
    def baseline(self) -> Arm:
        """The arm that the others are compared with."""
        return self.arms[0]

    @property
    def profile(self) -> DeviceProfile:
        """The resolved device profile that all arms share."""
        return self.spec.profile

    def performance_cell(self, arm: Arm, workload: PreparedWorkload) -> PerformanceCell:
        """Return what is timed."""
        return PerformanceCell(
            **self._shared(arm), workload=workload.identity, procedure=self.spec.procedure
        )

    def accuracy_cell(self, arm: Arm, task: PreparedTask) -> AccuracyCell:
        """Return what is scored."""
        return AccuracyCell(**self._shared(arm), task=task.identity)

    def performance_id(self, arm: Arm, workload: PreparedWorkload) -> str:
        """Return the identity of what is timed."""
        return identity.cell_id(self.performance_cell(arm, workload))

    def accuracy_id(self, arm: Arm, task: PreparedTask) -> str:
        """Return the identity of what is scored."""
        return identity.cell_id(self.accuracy_cell(arm, task))

    def _shared(self, arm: Arm) -> dict[str, Any]:
        return {
            "model": self.model.identity,
            "techniques": arm.components,
            "backend": self.backend,
            "device": self.profile,
        }


def arm_of(spec: ArmSpec, calibration: str | None = None) -> Arm:
    """Return the arm that a spec describes.

    Args:
        spec: its techniques.
        calibration: sha256 of the text that techniques are calibrated with.

    Raises:
        ConfigError: if a technique's knobs are out of range.
    """
    built: list[Any] = [technique.build() for technique in spec.techniques]
    return Arm(
        spec=spec,
        components=tuple(technique.component(calibration) for technique in spec.techniques),
        quantises=any(technique.quantises for technique in built),
        simulates=frozenset(name for technique in built for name in technique.simulates),
        expanded_by=next((t.expanded_by for t in built if t.expanded_by), ""),
    )
