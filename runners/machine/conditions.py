"""What is around one arm's round: other load, stolen time, clocks, page faults, the GPU's state.

``/proc/stat`` counts the whole system. In a virtual machine that is the machine itself, and the
steal counter tells of its neighbours; in a container it is the host, so that "others" includes what
runs outside of the container (unless lxcfs hides it).
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from leanboard.runners.machine import nvml
from leanboard.runners.machine.cpu import clock_hz, clock_moves

# The first line of /proc/stat and the fields of a process fit; the rest is never read.
_READ_BYTES = 4096
# proc_pid_stat(5), counted from the field after the name in parentheses.
_MINOR_FAULTS, _USER, _SYSTEM, _STARTED = 7, 11, 12, 19
_SWITCHES = b"nonvoluntary_ctxt_switches:"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a round was like; the fields are those of ``RoundTrace``, and ``None`` is unknown.

    Args:
        cpu_s: CPU seconds of the process, all its threads together.
        other_cpu_s: CPU seconds of everything else that the system counts, interrupts included and
            stolen time left out.
        steal_share: share of all cores' time that the hypervisor gave to others.
        clock_hz: mean clock of the usable cores at the end; ``None`` where only the nominal one
            shows.
        minor_faults: page faults of the process that needed no reading.
        switches: times that a thread was put off its core against its will; threads that ended in
            between are not in it.
        gpu_clock_hz: clock of the streaming multiprocessors at the end.
        gpu_throttle: why the GPU held its clock down at the end, idleness left out.
        gpu_others: processes on the GPU that are not leanboard's; at least so many where the driver
            numbers processes in another way than this container.
    """

    cpu_s: float | None = None
    other_cpu_s: float | None = None
    steal_share: float | None = None
    clock_hz: float | None = None
    minor_faults: int | None = None
    switches: int | None = None
    gpu_clock_hz: float | None = None
    gpu_throttle: tuple[str, ...] = ()
    gpu_others: int | None = None


@dataclass(frozen=True, slots=True)
class MachineTicks:
    """Counters of ``/proc/stat`` in clock ticks, all cores together."""

    busy: int
    stolen: int
    total: int


@dataclass(frozen=True, slots=True)
class ProcessTicks:
    """Counters of one process; ``started`` tells it from a later one with the same number."""

    started: int
    cpu: int
    minor_faults: int


@dataclass(frozen=True, slots=True)
class Mark:
    """The counters at the start of a round; for ``Watch.stop``."""

    pid: int
    machine: MachineTicks | None
    process: ProcessTicks | None
    switches: Mapping[int, int] | None


class Watch:
    """Reads the counters before and after a round. Never raises for what the system hides.

    Args:
        proc: where the kernel shows processes.
        sys: where the kernel shows devices.
        ticks_per_s: clock ticks of the counters in a second.
        gpu: NVML and the handle of the device, where the arms run on one.
    """

    def __init__(
        self,
        proc: Path = Path("/proc"),
        sys: Path = Path("/sys"),
        ticks_per_s: int | None = None,
        gpu: tuple[ModuleType, object] | None = None,
    ) -> None:
        self._proc = proc
        self._sys = sys
        self._ticks_per_s = os.sysconf("SC_CLK_TCK") if ticks_per_s is None else ticks_per_s
        self._gpu = gpu
        self._clock_moves = clock_moves(proc, sys)

    def start(self, pid: int) -> Mark:
        """Note the counters; the process is about to run."""
        # The machine's window encloses the process's, so that the rest is never less than nothing.
        machine = machine_ticks(self._proc)
        return Mark(pid, machine, process_ticks(pid, self._proc), switches(pid, self._proc))

    def stop(self, mark: Mark, ours: Collection[int] = ()) -> Conditions:
        """Return what has changed since; call it as soon as the process is done.

        Args:
            mark: what ``start`` gave.
            ours: process numbers of all of leanboard's workers, for ``gpu_others``.
        """
        clock = clock_hz(self._proc, self._sys) if self._clock_moves else None
        gpu_clock_hz, gpu_throttle, gpu_others = self._gpu_state({mark.pid, *ours})
        process = _same(mark.process, process_ticks(mark.pid, self._proc))
        switched = _more(mark.switches, switches(mark.pid, self._proc))
        machine = machine_ticks(self._proc)
        cpu_s, minor_faults = self._process_change(mark.process, process)
        other_cpu_s, steal_share = self._machine_change(mark.machine, machine, cpu_s)
        return Conditions(
            cpu_s=cpu_s,
            other_cpu_s=other_cpu_s,
            steal_share=steal_share,
            clock_hz=clock,
            minor_faults=minor_faults,
            switches=switched if process is not None else None,
            gpu_clock_hz=gpu_clock_hz,
            gpu_throttle=gpu_throttle,
            gpu_others=gpu_others,
        )

    def _process_change(
        self, before: ProcessTicks | None, after: ProcessTicks | None
    ) -> tuple[float | None, int | None]:
        if before is None or after is None:
            return None, None
        faults = after.minor_faults - before.minor_faults
        return (after.cpu - before.cpu) / self._ticks_per_s, faults

    def _machine_change(
        self, before: MachineTicks | None, after: MachineTicks | None, cpu_s: float | None
    ) -> tuple[float | None, float | None]:
        """Return (seconds of others, share stolen); ``None`` for counters that went backwards."""
        if before is None or after is None:
            return None, None
        total, busy = after.total - before.total, after.busy - before.busy
        stolen = after.stolen - before.stolen
        share = stolen / total if total > 0 and stolen >= 0 else None
        if cpu_s is None or total < 0 or busy < 0:
            return None, share
        # Ticks are rounded on either side: a difference below zero is none.
        return max(0.0, busy / self._ticks_per_s - cpu_s), share

    def gpu_others(self, ours: Collection[int]) -> int | None:
        """Return how many of the GPU's processes are not ours; ``None`` if unknown, or no GPU."""
        if self._gpu is None:
            return None
        return other_processes(nvml.process_ids(*self._gpu), ours)

    def _gpu_state(self, ours: Collection[int]) -> tuple[float | None, tuple[str, ...], int | None]:
        if self._gpu is None:
            return None, (), None
        library, handle = self._gpu
        reasons = nvml.throttle_reasons(library, handle) or ()
        held = tuple(reason for reason in reasons if reason != nvml.IDLE)
        return nvml.sm_clock_hz(library, handle), held, self.gpu_others(ours)


def watch_for(device_kind: str) -> Watch:
    """Return a watch for arms on ``cpu`` or ``cuda``; without NVML the GPU's state is unknown."""
    library = nvml.library()[0] if device_kind == "cuda" else None
    if library is None:
        return Watch()
    try:
        return Watch(gpu=(library, nvml.first_gpu(library)))
    except library.NVMLError:
        return Watch()


def other_processes(pids: Collection[int] | None, ours: Collection[int]) -> int | None:
    """Return how many of the GPU's processes are not ours, ``None`` if that cannot be known.

    Where none of ours is listed the driver numbers processes in another way (a container): as many
    as we have are ours, and a surplus is of others; fewer say nothing.
    """
    if pids is None:
        return None
    foreign = [pid for pid in pids if pid not in ours]
    if len(foreign) < len(pids):
        return len(foreign)
    return len(foreign) - len(ours) if len(foreign) >= len(ours) else None


def machine_ticks(proc: Path = Path("/proc")) -> MachineTicks | None:
    """Return the machine's counters; ``None`` where the system does not say."""
    words = _read(f"{proc}/stat").partition(b"\n")[0].split()[1:9]
    if len(words) < 8 or not all(word.isdigit() for word in words):
        return None
    user, nice, system, idle, waiting, hard, soft, stolen = map(int, words)
    # Time of guests is part of user and nice already.
    busy = user + nice + system + hard + soft
    return MachineTicks(busy, stolen, busy + idle + waiting + stolen)


def process_ticks(pid: int, proc: Path = Path("/proc")) -> ProcessTicks | None:
    """Return the counters of a process, all threads together; ``None`` if it is gone or hidden."""
    fields = _read(f"{proc}/{pid}/stat").rpartition(b")")[2].split()
    words = [fields[i] for i in (_STARTED, _USER, _SYSTEM, _MINOR_FAULTS) if i < len(fields)]
    if len(words) < 4 or not all(word.isdigit() for word in words):
        return None
    started, user, system, minor_faults = map(int, words)
    return ProcessTicks(started, user + system, minor_faults)


def switches(pid: int, proc: Path = Path("/proc")) -> dict[int, int] | None:
    """Return how often each thread of a process was put off its core; ``None`` if hidden."""
    counts = {}
    try:
        for thread in Path(f"{proc}/{pid}/task").iterdir():
            said = _read(f"{thread}/status").partition(_SWITCHES)[2].split()
            if said and said[0].isdigit():
                counts[int(thread.name)] = int(said[0])
    except OSError:
        return None
    return counts or None


def _read(path: str) -> bytes:
    """Return the beginning of a system file; empty where it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(file, _READ_BYTES)
    except OSError:
        return b""
    finally:
        os.close(file)


def _same(before: ProcessTicks | None, after: ProcessTicks | None) -> ProcessTicks | None:
    """Return ``after`` if it is of the same process."""
    if before is None or after is None or before.started != after.started:
        return None
    return after


def _more(before: Mapping[int, int] | None, after: Mapping[int, int] | None) -> int | None:
    """Return the sum of what each thread has gained; a new thread began at zero."""
    if before is None or after is None:
        return None
    return sum(max(0, count - before.get(thread, 0)) for thread, count in after.items())
