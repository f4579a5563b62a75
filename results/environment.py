"""What stands in a record about the machine and the software around a run."""

from __future__ import annotations

from pydantic import Field, JsonValue

from leanboard.results.frozen import Frozen


class Gpu(Frozen):
    """One accelerator. What the driver does not say is ``None``.

    Attributes:
        power_limit_w: the cap that was set; ``power_limit_default_w`` is that of the factory, and
            ``power_limit_enforced_w`` what the driver holds to.
        sm_clock_hz: highest clock of the streaming multiprocessors; ``sm_clock_now_hz`` is that of
            the snapshot, ``sm_clock_application_hz`` the one that was asked for.
        pcie_generation: highest that device and slot can do together; idle links run slower.
        throttle: reasons for which the clock was held down at the snapshot, idleness included.
        processes: processes that computed on the device at the snapshot.
    """

    name: str
    memory_bytes: int
    driver: str
    cuda: str | None = None
    power_limit_w: float | None = None
    sm_clock_hz: float | None = None
    persistence: bool | None = None
    power_limit_default_w: float | None = None
    power_limit_enforced_w: float | None = None
    sm_clock_now_hz: float | None = None
    sm_clock_application_hz: float | None = None
    memory_clock_hz: float | None = None
    memory_clock_now_hz: float | None = None
    memory_clock_application_hz: float | None = None
    compute_capability: str | None = None
    compute_mode: str | None = None
    ecc: bool | None = None
    mig: bool | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    temperature_c: float | None = None
    throttle: tuple[str, ...] | None = None
    processes: int | None = None


class Cpu(Frozen):
    """The processor, as the operating system shows it.

    Attributes:
        logical_cores: cores that the process may run on (its affinity mask).
        online_cores: cores that the system runs; ``isolated_cores`` of them take no other work.
        frequency_hz: highest clock of the processor; ``frequency_cap_hz`` is the highest that the
            system allows it now.
        clock_hz: mean clock at the snapshot; in most virtual machines the nominal one.
        smt: whether two threads share a core.
        cache_bytes: size of one cache of each kind (``L1d``, ``L2`` ...).
        energy_preference: what the processor was told to weigh, speed or power.
        vulnerabilities: flaws that this processor has, and what the kernel does against each.
    """

    name: str
    architecture: str
    logical_cores: int
    physical_cores: int | None = None
    frequency_hz: float | None = None
    governor: str | None = None
    flags: tuple[str, ...] = ()
    microcode: str | None = None
    sockets: int | None = None
    threads_per_core: int | None = None
    smt: bool | None = None
    online_cores: int | None = None
    isolated_cores: int | None = None
    cache_bytes: dict[str, int] = Field(default_factory=dict)
    min_frequency_hz: float | None = None
    frequency_cap_hz: float | None = None
    clock_hz: float | None = None
    frequency_driver: str | None = None
    energy_preference: str | None = None
    vulnerabilities: dict[str, str] = Field(default_factory=dict)


class Environment(Frozen):
    """Everything around a run that can change a number. No host name, user or absolute path.

    Attributes:
        cpu_limit: CPU time that the control groups grant, in cores.
        cpuset_cores: cores that the control group may use.
        threads: ``usable`` cores, and the size of each thread pool of the worker.
        libraries: how the worker's libraries were built, and what they chose (BLAS, instruction
            set).
        variables: environment variables that change thread pools, allocators or kernels; of one
            whose value could name a place or a person only that it is set.
        steal_share: share of CPU time since boot that the hypervisor gave to others.
        pressure: share of the last ten seconds in which some task waited for ``cpu``, ``io`` or
            ``memory``.
        virtualised: the hypervisor, ``None`` without one.
        container: the kind of container, ``None`` outside of one.
        settings: settings of the operating system.
    """

    cpu: Cpu
    gpus: tuple[Gpu, ...] = ()
    memory_bytes: int
    memory_limit_bytes: int | None = None
    cpu_limit: float | None = None
    os: str
    kernel: str
    libc: str
    python: str
    packages: dict[str, str]
    threads: dict[str, int]
    git_sha: str | None = None
    git_dirty: bool | None = None
    power_source: str
    load_average: float | None = None
    steal_share: float | None = None
    virtualised: str | None = None
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    container: str | None = None
    cpuset_cores: int | None = None
    swap_bytes: int | None = None
    swap_used_bytes: int | None = None
    pressure: dict[str, float] = Field(default_factory=dict)
    libraries: dict[str, str] = Field(default_factory=dict)
    variables: dict[str, JsonValue] = Field(default_factory=dict)
