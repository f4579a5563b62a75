"""The grid: from a composed config to the blocks that will be run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from leanboard.metrics.registry import METRICS
from leanboard.results.errors import ConfigError
from leanboard.results.schema import Component, DeviceProfile, Procedure
from leanboard.runners import config
from leanboard.runners.accuracy.settings import AccuracyConfig
from leanboard.runners.backends.base import Backend, Device
from leanboard.runners.machine.hardware import HardwareConfig, resolve_device
from leanboard.runners.models import ModelConfig
from leanboard.runners.packages import PackageConfig
from leanboard.runners.techniques.base import knobs_of
from leanboard.runners.workloads import WorkloadConfig

if TYPE_CHECKING:
    from leanboard.runners.techniques.base import Technique

BASELINE = "none"

_LARGEST_SIZE = 10**6
_LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TechniqueSpec:
    """A technique by name with the config that makes it (``_target_`` and knobs)."""

    name: str
    target: Mapping[str, Any]

    def build(self) -> Technique:
        """Make the technique; its own checks reject knobs that are out of range.

        Raises:
            ConfigError: if a knob is unknown, of the wrong type or out of range.
        """
        technique: Technique = _instantiate(self.target, f"technique.{self.name}")
        return technique

    def component(self, calibration: str | None = None) -> Component:
        """Return the technique as a record names it, with every knob resolved.

        Args:
            calibration: sha256 of the text that it is calibrated with, if it is calibrated.
        """
        technique = self.build()
        return Component(
            name=self.name,
            version=technique.version,
            params=knobs_of(technique),
            calibration=calibration if technique.calibrated else None,
        )


@dataclass(frozen=True, slots=True)
class ArmSpec:
    """One arm of a block: no technique (the baseline), or several in order."""

    label: str
    techniques: tuple[TechniqueSpec, ...]


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """A baseline and its candidates, before anything is fetched or hashed.

    The first arm is the baseline. All arms share model, backend, device and workloads.
    """

    suite: str
    model: ModelConfig
    backend: Mapping[str, Any]
    backend_name: str
    device: Device
    profile: DeviceProfile
    workloads: tuple[WorkloadConfig, ...]
    arms: tuple[ArmSpec, ...]
    procedure: Procedure
    accuracy: AccuracyConfig
    data: PackageConfig
    store: Path
    cache: Path

    def build_backend(self) -> Backend:
        """Make the backend."""
        backend: Backend = _instantiate(self.backend, "backend")
        return backend

    def backend_component(self) -> Component:
        """Return the backend as a record names it."""
        backend: Any = self.build_backend()
        return Component(name=backend.name, version=backend.version, params=asdict(backend))


def _instantiate(target: Mapping[str, Any], where: str) -> Any:
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    _refuse_targets(target, where)
    try:
        # Found and not called yet, so that values are checked before anything reads them.
        found = instantiate({**target, "_partial_": True})
    except InstantiationException as error:
        raise ConfigError(f"{where}: {str(error).splitlines()[0]}") from error
    _check_sizes(found.func, found.keywords, where)
    return config.typed(found.func, found.keywords, where)


def _refuse_targets(target: Mapping[str, Any], where: str) -> None:
    """Refuse a knob that Hydra would call: a mapping or list with a ``_target_`` inside."""
    waiting = [(f"{where}.{name}", value) for name, value in target.items()]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Mapping):
            if "_target_" in value:
                raise ConfigError(
                    f"{place} has a _target_; a knob is a value, not something to call."
                )
            waiting += [(f"{place}.{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list | tuple):
            waiting += [(f"{place}.{i}", inner) for i, inner in enumerate(value)]


def _check_sizes(kind: type, knobs: Mapping[str, Any], where: str) -> None:
    """Refuse whole numbers that no model, text or training is as large as, before any is used."""
    hints = get_type_hints(kind)
    for name, value in knobs.items():
        most = _LARGEST_SEED if name == "seed" else _LARGEST_SIZE
        whole = hints.get(name) in (int, int | None) and isinstance(value, int)
        if whole and abs(value) > most:
            raise ConfigError(f"{where}.{name} is {str(value)[:40]}; it can be {most} at most.")


def blocks(overrides: Sequence[str]) -> tuple[BlockSpec, ...]:
    """Return the blocks that Hydra overrides ask for: one cell's, or a suite's.

    Raises:
        ConfigError: if an override or a suite names something that does not exist.
    """
    composed = config.compose(overrides)
    if composed["suite"] is None:
        technique = _arm(composed, label=None)
        arms = (ArmSpec(BASELINE, ()),) + ((technique,) if technique.techniques else ())
        return (_block(composed, "", [composed["workload"]], arms),)
    return tuple(_suite(composed["suite"], overrides))


@dataclass(frozen=True, slots=True)
class _SuiteBlock:
    """One entry of a suite's ``blocks``; what it leaves out is the command's.

    Arms of a block without workloads are scored and not timed.
    """

    workloads: Sequence[str]
    arms: Sequence[str | Mapping[str, Any]]
    model: str | None = None
    backend: str | None = None
    hardware: str | None = None

    @property
    def choices(self) -> list[str]:
        """The overrides that the suite makes for this block."""
        named = {"model": self.model, "backend": self.backend, "hardware": self.hardware}
        return [f"{group}={choice}" for group, choice in named.items() if choice is not None]


@dataclass(frozen=True, slots=True)
class _Suite:
    """A suite as its YAML says it."""

    name: str
    blocks: Sequence[Mapping[str, Any]]


def _suite(plain: Mapping[str, Any], overrides: Sequence[str]) -> Iterable[BlockSpec]:
    suite = config.typed(_Suite, plain, "suite")
    for number, values in enumerate(suite.blocks):
        block = config.typed(_SuiteBlock, values, f"suite.blocks[{number}]")
        _refuse_ignored(suite, block, overrides)
        base = [*overrides, *block.choices]
        workloads = [config.compose([*base, f"workload={w}"])["workload"] for w in block.workloads]
        arms = tuple(_suite_arm(base, arm) for arm in block.arms)
        if not arms or arms[0].techniques:
            message = f"suite '{suite.name}': the first arm of a block must be '{BASELINE}'."
            raise ConfigError(message)
        _refuse_twins(suite, "workload", [workload["name"] for workload in workloads])
        _refuse_twins(suite, "arm", [arm.label for arm in arms])
        spec = _block(config.compose(base), suite.name, workloads, arms)
        if not spec.workloads and not spec.accuracy.sizes():
            message = f"suite '{suite.name}': a block needs a workload, or tasks or text to score."
            raise ConfigError(message)
        yield spec


def _refuse_twins(suite: _Suite, what: str, names: Sequence[str]) -> None:
    """Refuse a block in which two workloads or arms have one name: results are kept by it."""
    twins = sorted({name for name in names if names.count(name) > 1})
    if twins:
        raise ConfigError(
            f"suite '{suite.name}': a block names {what} '{twins[0]}' twice. Give one of them "
            f"another name, or put it into a block of its own."
        )


def _refuse_ignored(suite: _Suite, block: _SuiteBlock, overrides: Sequence[str]) -> None:
    """Refuse overrides that the suite would pass over in silence."""
    chosen = {"technique", "workload", *(choice.split("=")[0] for choice in block.choices)}
    for override in overrides:
        key = override.split("=", 1)[0].lstrip("+~")
        group = key.split(".")[0]
        if key in chosen or group == "technique":
            raise ConfigError(
                f"suite '{suite.name}' sets {group} itself; leave out '{override}', or measure "
                f"without the suite."
            )


def _suite_arm(base: Sequence[str], arm: str | Mapping[str, Any]) -> ArmSpec:
    """Read an arm: a name, or ``{technique: name or list, set: {knob path: value}}``."""
    if isinstance(arm, str):
        return _arm(config.compose([*base, f"technique={arm}"]), label=arm)
    names = arm["technique"]
    listed = names if isinstance(names, str) else f"[{','.join(names)}]"
    values = {path: "null" if v is None else v for path, v in arm.get("set", {}).items()}
    knobs = [f"technique.{path}={value}" for path, value in sorted(values.items())]
    return _arm(config.compose([*base, f"technique={listed}", *knobs]), label=arm.get("label"))


def _arm(composed: Mapping[str, Any], label: str | None) -> ArmSpec:
    """Read the techniques; building them here lets a wrong knob be refused before anything runs."""
    techniques = tuple(_technique(n, t) for n, t in (composed["technique"] or {}).items())
    return ArmSpec(label or "+".join(t.name for t in techniques) or BASELINE, techniques)


def _technique(name: str, target: object) -> TechniqueSpec:
    if not isinstance(target, Mapping) or "_target_" not in target:
        raise ConfigError(
            f"technique.{name} is no technique. Choose by name: technique=[a,b]; "
            f"available: {', '.join(config.options('technique'))}."
        )
    spec = TechniqueSpec(name, target)
    spec.build()
    return spec


def _block(
    composed: Mapping[str, Any],
    suite: str,
    workloads: Sequence[Mapping[str, Any]],
    arms: tuple[ArmSpec, ...],
) -> BlockSpec:
    hardware = config.typed(HardwareConfig, composed["hardware"], "hardware")
    profile, device = resolve_device(hardware)
    backend: Any = _instantiate(composed["backend"], "backend")
    # A baseline runs in the backend's own reference dtype; the record's profile says which.
    dtype = backend.reference_dtype(device)
    profile = profile.model_copy(update={"reference_dtype": dtype})
    device = replace(device, reference_dtype=dtype)
    return BlockSpec(
        suite=suite,
        model=ModelConfig.from_mapping(composed["model"]),
        backend=composed["backend"],
        backend_name=backend.name,
        device=device,
        profile=profile,
        workloads=tuple(config.typed(WorkloadConfig, w, "workload") for w in workloads),
        arms=arms,
        procedure=_procedure(composed["procedure"]),
        accuracy=config.typed(AccuracyConfig, composed["accuracy"], "accuracy"),
        data=config.typed(PackageConfig, composed["data"], "data"),
        store=Path(composed["store"]).expanduser(),
        cache=Path(composed["cache"]).expanduser(),
    )


def _procedure(plain: Mapping[str, Any]) -> Procedure:
    from pydantic import ValidationError

    try:
        procedure = Procedure.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"procedure.{'.'.join(map(str, first['loc']))}: {first['msg']}"
        ) from error
    paired = {metric.name for metric in METRICS if metric.paired}
    unknown = [name for name in procedure.watched if name not in paired]
    if unknown:
        raise ConfigError(
            f"procedure.watched names {unknown[0][:60]!r}, of which no ratio to the baseline is "
            f"made; it can name: {', '.join(sorted(paired))}."
        )
    return procedure
