"""What stands in a record about the machine and the software around a run."""

from __future__ import annotations

from pydantic import Field

from leanboard.results.frozen import Bytes, Frozen, Open, Real, Whole


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
    memory_bytes: Bytes
    driver: str
    cuda: str | None = None
    power_limit_w: Real | None = None
    sm_clock_hz: Real | None = None
    persistence: bool | None = None
    power_limit_default_w: Real | None = None
    power_limit_enforced_w: Real | None = None
    sm_clock_now_hz: Real | None = None
    sm_clock_application_hz: Real | None = None
    memory_clock_hz: Real | None = None
    memory_clock_now_hz: Real | None = None
    memory_clock_application_hz: Real | None = None
    compute_capability: str | None = None
    compute_mode: str | None = None
    ecc: bool | None = None
    mig: bool | None = None
    pcie_generation: Whole | None = None
    pcie_width: Whole | None = None
    temperature_c: Real | None = None
    throttle: tuple[str, ...] | None = None
    processes: Whole | None = None


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
    logical_cores: Whole
    physical_cores: Whole | None = None
    frequency_hz: Real | None = None
    governor: str | None = None
    flags: tuple[str, ...] = ()
    microcode: str | None = None
    sockets: Whole | None = None
    threads_per_core: Whole | None = None
    smt: bool | None = None
    online_cores: Whole | None = None
    isolated_cores: Whole | None = None
    cache_bytes: dict[str, Bytes] = Field(default_factory=dict)
    min_frequency_hz: Real | None = None
    frequency_cap_hz: Real | None = None
    clock_hz: Real | None = None
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
    memory_bytes: Bytes
    memory_limit_bytes: Bytes | None = None
    cpu_limit: Real | None = None
    os: str
    kernel: str
    libc: str
    python: str
    packages: dict[str, str]
    threads: dict[str, Whole]
    git_sha: str | None = None
    git_dirty: bool | None = None
    power_source: str
    load_average: Real | None = None
    steal_share: Real | None = None
    virtualised: str | None = None
    settings: Open = Field(default_factory=dict)
    container: str | None = None
    cpuset_cores: Whole | None = None
    swap_bytes: Bytes | None = None
    swap_used_bytes: Bytes | None = None
    pressure: dict[str, Real] = Field(default_factory=dict)
    libraries: dict[str, str] = Field(default_factory=dict)
    variables: Open = Field(default_factory=dict)
