"""A machine of files: the parts of /proc and /sys that are read, as a test wants them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CPUINFO = """processor\t: {number}
model name\t: Some CPU @ 2.00GHz
microcode\t: 0xb000040
cpu MHz\t\t: {mhz}
physical id\t: 0
siblings\t: 2
core id\t\t: {number}
cpu cores\t: 2
flags\t\t: fpu avx2 {flags}
"""


@dataclass(frozen=True, slots=True)
class FakeMachine:
    """The two roots, and the means to fill them.

    Args:
        proc: stands for /proc.
        sys: stands for /sys.
    """

    proc: Path
    sys: Path

    @property
    def cpus(self) -> Path:
        """Folder of the processor's devices."""
        return self.sys / "devices" / "system" / "cpu"

    def put(self, root: Path, texts: dict[str, str]) -> None:
        """Write files under a root."""
        for name, text in texts.items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{text}\n")

    def clocks(self, *mhz: float, flags: str = "") -> None:
        """Show these clocks, one a processor, in cpuinfo."""
        blocks = [
            CPUINFO.format(number=number, mhz=clock, flags=flags)
            for number, clock in enumerate(mhz)
        ]
        self.put(self.proc, {"cpuinfo": "\n".join(blocks)})

    def machine(self, busy: int = 0, idle: int = 0, stolen: int = 0) -> None:
        """Set the machine's clock ticks; busy ones are of user, system and interrupts."""
        soft = min(busy, 1)
        ticks = f"cpu  {busy - soft} 0 0 {idle} 0 0 {soft} {stolen} 0 0"
        self.put(self.proc, {"stat": f"{ticks}\ncpu0 1 2 3"})

    def process(
        self, pid: int, user: int = 0, system: int = 0, faults: int = 0, started: int = 100
    ) -> None:
        """Set the counters of a process whose name tries to be read as fields."""
        fields = ["S", *["0"] * 6, str(faults), *["0"] * 3, str(user), str(system)]
        fields += [*["0"] * 6, str(started), *["0"] * 30]
        self.put(
            self.proc,
            {f"{pid}/stat": f"{pid} (a) R (b 1 2) {' '.join(fields)}", f"{pid}/comm": "spinner"},
        )

    def thread(self, pid: int, number: int, switches: int) -> None:
        """Set how often a thread was put off its core."""
        text = f"Name:\tx\nvoluntary_ctxt_switches:\t9\nnonvoluntary_ctxt_switches:\t{switches}"
        self.put(self.proc, {f"{pid}/task/{number}/status": text})


def whole_machine(root: Path) -> FakeMachine:
    """Return a machine that shows everything: 2 cores, cpufreq, caches, a container's limits."""
    fake = FakeMachine(root / "proc", root / "sys")
    fake.clocks(1900.0, 2100.0, flags="aperfmperf")
    fake.machine(busy=100, idle=890, stolen=10)
    gib = 2**20
    fake.put(
        fake.proc,
        {
            "self/cgroup": "0::/",
            "loadavg": "0.50 0.40 0.30 1/100 4711",
            "pressure/cpu": "some avg10=12.50 avg60=1.00 avg300=0.50 total=99\nfull avg10=0.00",
            "pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0",
            "meminfo": f"MemTotal: {8 * gib} kB\nMemAvailable: {6 * gib} kB\n"
            f"SwapTotal: {2 * gib} kB\nSwapFree: {1 * gib} kB",
            "sys/kernel/numa_balancing": "1",
            "sys/kernel/randomize_va_space": "2",
            "sys/vm/overcommit_memory": "0",
            "sys/vm/swappiness": "60",
        },
    )
    fake.put(
        fake.cpus,
        {
            "online": "0-3",
            "isolated": "3",
            "smt/active": "1",
            "intel_pstate/no_turbo": "0",
            "cpu0/topology/thread_siblings_list": "0,2",
            "cpu0/cpufreq/scaling_cur_freq": "3000000",
            "cpu0/cpufreq/scaling_governor": "powersave",
            "cpu0/cpufreq/scaling_driver": "intel_pstate",
            "cpu0/cpufreq/scaling_max_freq": "3200000",
            "cpu0/cpufreq/cpuinfo_max_freq": "3500000",
            "cpu0/cpufreq/cpuinfo_min_freq": "800000",
            "cpu0/cpufreq/energy_performance_preference": "balance_power",
            "cpu0/cache/index0/level": "1",
            "cpu0/cache/index0/type": "Data",
            "cpu0/cache/index0/size": "48K",
            "cpu0/cache/index3/level": "3",
            "cpu0/cache/index3/type": "Unified",
            "cpu0/cache/index3/size": "32768K",
            "vulnerabilities/meltdown": "Not affected",
            "vulnerabilities/spectre_v1": "Mitigation: usercopy/swapgs barriers",
        },
    )
    fake.put(
        fake.sys,
        {
            "kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
            "kernel/mm/transparent_hugepage/defrag": "always defer [never]",
            "kernel/mm/damon/admin/kdamonds/0/state": "on",
            "kernel/mm/damon/admin/kdamonds/0/contexts/0/schemes/0/action": "pageout",
            "kernel/mm/damon/admin/kdamonds/1/state": "off",
            "kernel/mm/damon/admin/kdamonds/1/contexts/0/schemes/0/action": "cold",
            "devices/system/node/node0/cpulist": "0-3",
            "devices/system/clocksource/clocksource0/current_clocksource": "tsc",
            "fs/cgroup/cpu.max": "150000 100000",
            "fs/cgroup/cpu.stat": "usage_usec 5\nnr_periods 200\nnr_throttled 50",
            "fs/cgroup/cpuset.cpus.effective": "0-1",
            "fs/cgroup/memory.max": str(4 * 2**30),
        },
    )
    return fake
