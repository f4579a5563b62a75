"""RAPL: the energy counters of Intel's and AMD's processors, as Linux shows them.

Source: the kernel's power capping framework, ``Documentation/power/powercap``.
"""

from __future__ import annotations

from pathlib import Path

from leanboard.runners.energy.counters import Counter, CounterGauge, update_s
from leanboard.runners.energy.meters import Meter, MeterError, MeterGoneError
from leanboard.runners.energy.sampled_meter import SampledMeter

RAPL = "rapl"
ROOT = Path("/sys/class/powercap")
_JOULES_PER_COUNT = 1e-6
# A reading takes tens of microseconds of a core that the model may want.
_PERIOD_S = 0.1


def find(root: Path = ROOT) -> tuple[Counter, ...]:
    """Return the counters of all packages and of their memory, each read once.

    Cores and uncore are parts of a package, psys holds them all: both are left out.

    Args:
        root: the folder of the powercap class.

    Raises:
        MeterError: if there is none, or one of them cannot be read.
    """
    # intel-rapl-mmio shows the same packages a second time.
    names = {zone.name: _text(zone / "name") for zone in sorted(root.glob("intel-rapl:*"))}
    if not names:
        raise MeterError("no RAPL counter (a virtual machine, or an old kernel)")
    packages = [zone for zone, name in names.items() if name.startswith("package")]
    if not packages:
        raise MeterError(f"RAPL shows no package, only {', '.join(sorted(set(names.values())))}")
    memories = [
        zone
        for zone, name in names.items()
        if name == "dram" and zone.rpartition(":")[0] in packages
    ]
    counters = [_counter(root / zone, names[zone]) for zone in packages]
    for zone in memories:
        package = names[zone.rpartition(":")[0]]
        counters.append(_counter(root / zone, f"dram of {package}"))
    return tuple(counters)


def open_meter(root: Path = ROOT) -> Meter:
    """Return a meter of all packages and their memory, with its update period measured.

    Raises:
        MeterError: if there is none, it cannot be read or does not move.
    """
    counters = find(root)
    return SampledMeter(CounterGauge(RAPL, counters, update_s(counters[0]), _PERIOD_S))


def _counter(zone: Path, name: str) -> Counter:
    wraps_at = _number(zone / "max_energy_range_uj")
    file = zone / "energy_uj"
    _number(file)
    return Counter(name, lambda: _number(file), _JOULES_PER_COUNT, wraps_at)


def _number(file: Path) -> int:
    text = _text(file)
    try:
        return int(text)
    except ValueError as error:
        raise MeterGoneError(f"RAPL's {file.name} is no number: {text!r}") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii").strip()
    except PermissionError as error:
        raise MeterGoneError(
            "RAPL is there, but only root may read it: "
            "sudo chmod -R a+r /sys/class/powercap/intel-rapl/"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise MeterGoneError(f"RAPL's {file.name} cannot be read: {error}") from error
