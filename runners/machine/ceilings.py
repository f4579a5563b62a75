"""The process that measures what this machine can do at best. Nothing else runs in it.

Started by ``calibration`` as ``python -m leanboard.runners.machine.ceilings PARENT_PID DEVICE
THREADS``. It writes JSON, one object a line: ``{"doing": ...}``, at last ``{"found": ...}``.
Whatever libraries print goes to standard error.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from leanboard.runners import wire
from leanboard.runners.child import die_with_parent, private_stdout
from leanboard.runners.machine import memory
from leanboard.runners.machine.allocator import keep_freed_memory
from leanboard.runners.machine.conditions import Watch, watch_for
from leanboard.runners.machine.cpu import read_text
from leanboard.runners.machine.disturbance import disturbance

if TYPE_CHECKING:
    import torch

Clock = Callable[[], float]

# Square matrices of these sizes; larger ones are left out once a product takes too long.
SIZES = {"cpu": (512, 1024, 2048, 4096), "cuda": (2048, 4096, 8192)}
DTYPES = {
    "cpu": ("float32", "bfloat16", "float16", "int8"),
    "cuda": ("float32", "tfloat32", "bfloat16", "float16", "int8"),
}
_LONGEST_CALL_S = 0.6
_KERNEL_S = 0.8
_MIN_REPEATS, _MAX_REPEATS = 5, 400
_MIB = 2**20
# A cache still holds a tenth of arrays ten times its size, and the rate is a tenth too high.
_CACHES = (16, 32)
_SMALLEST_BYTES, _LARGEST_BYTES = 256 * _MIB, 1024 * _MIB
_CUDA_BYTES = 1024 * _MIB
_MEMORY_SHARE = 0.125


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kind of work that is repeated.

    Args:
        name: what is done and how large (``mm 1024``).
        work: FLOPs or bytes of one call.
        call: does it once, and waits until it is done.
    """

    name: str
    work: float
    call: Callable[[], object]


def rates(kernel: Kernel, clock: Clock, seconds: float = _KERNEL_S) -> list[float]:
    """Repeat a kernel after one warm-up call and return the rate of each repeat, in 1/s.

    It ends after ``seconds``, but not before five repeats unless they take four times as long.
    """
    kernel.call()
    found: list[float] = []
    started_s = clock()
    for _ in range(_MAX_REPEATS):
        before_s = clock()
        kernel.call()
        after_s = clock()
        # A clock that shows no time would give a rate without bounds.
        if after_s > before_s:
            found.append(kernel.work / (after_s - before_s))
        spent_s = after_s - started_s
        if spent_s >= 4 * seconds or (spent_s >= seconds and len(found) >= _MIN_REPEATS):
            break
    return found


def best(kernels: Iterable[Kernel], clock: Clock, *, grows: bool = False) -> dict[str, Any] | None:
    """Return the highest rate of any kernel, with the median and spread of that kernel's repeats.

    Args:
        kernels: each is made only when its turn comes.
        clock: seconds.
        grows: stop before a kernel whose call, at the rate seen last, would take too long.
    """
    found: dict[str, Any] | None = None
    last: float | None = None
    for kernel in kernels:
        if grows and last is not None and kernel.work / last > _LONGEST_CALL_S:
            break
        seen = rates(kernel, clock)
        if not seen:
            continue
        last = median(seen)
        if found is None or max(seen) > found["per_s"]:
            found = _described(kernel.name, seen)
    return found


def _described(name: str, seen: list[float]) -> dict[str, Any]:
    low, _, high = quantiles(seen, n=4) if len(seen) > 1 else seen * 3
    middle = median(seen)
    return {
        "per_s": max(seen),
        "median_per_s": middle,
        "spread": (high - low) / middle,
        "repeats": len(seen),
        "kernel": name,
    }


def matmuls(device: str, dtype: str) -> Iterator[Kernel]:
    """Yield products of square matrices, smallest first; 2 n^3 FLOPs each.

    Raises:
        RuntimeError: if this torch or this device has no such product.
    """
    import torch

    for size in SIZES[device]:
        shape = (size, size)
        if dtype == "int8":
            if not hasattr(torch, "_int_mm"):
                raise RuntimeError("this torch has no int8 product")
            a, b = (torch.randint(-8, 8, shape, dtype=torch.int8, device=device) for _ in "ab")
            # cuBLAS wants the second matrix by columns.
            product = partial(torch._int_mm, a, b.t() if device == "cuda" else b)
        else:
            kind = torch.float32 if dtype == "tfloat32" else getattr(torch, dtype)
            a, b = (torch.randn(shape, device=device).to(kind) for _ in "ab")
            product = partial(torch.mm, a, b, out=torch.empty(shape, dtype=kind, device=device))
        work = 2.0 * size**3
        yield Kernel(f"mm {size}", work, _waiting(product, device))
        packed = _packed(a, b) if device == "cpu" and dtype != "int8" else None
        if packed is not None:
            yield Kernel(f"oneDNN {size}", work, packed)


def _packed(a: torch.Tensor, b: torch.Tensor) -> Callable[[], object] | None:
    """Return oneDNN's product by a matrix that is laid out for it before; ``None`` if it has none.

    Torch takes MKL for float32, which on processors of AMD leaves AVX-512 unused: half the rate.
    """
    import torch

    operations = torch.ops.mkldnn
    try:
        weight = operations._reorder_linear_weight(b.t().contiguous(), len(a))
        product = partial(operations._linear_pointwise, a, weight, None, "none", [], "")
        product()
    except (RuntimeError, AttributeError):
        return None
    return product


def streams(device: str, count: int) -> Iterator[Kernel]:
    """Yield copy, triad and dot on arrays of ``count`` float32; bytes read and written count."""
    import torch

    x, y, z = (torch.full((count,), float(k), device=device) for k in range(3))
    size = 4.0 * count
    at = f"{4 * count // _MIB} MiB"
    yield Kernel(f"copy {at}", 2 * size, _waiting(partial(x.copy_, y), device))
    triad = partial(torch.add, y, z, alpha=3.0, out=x)
    yield Kernel(f"triad {at}", 3 * size, _waiting(triad, device))
    yield Kernel(f"dot {at}", 2 * size, _waiting(partial(torch.dot, y, z), device))


def numpy_copies(threads: int, count: int) -> Iterator[Kernel]:
    """Yield a copy by numpy, each thread its slice; for where torch is not installed."""
    import numpy as np

    x, y = np.zeros(count, np.float32), np.ones(count, np.float32)
    parts = list(zip(np.array_split(x, threads), np.array_split(y, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            list(pool.map(lambda part: np.copyto(*part), parts))

        yield Kernel(f"numpy copy {4 * count // _MIB} MiB", 8.0 * count, copy)


def _waiting(call: Callable[[], object], device: str) -> Callable[[], object]:
    """Return the call with the wait for an accelerator to have done it."""
    if device == "cpu":
        return call
    import torch

    def both() -> None:
        call()
        torch.cuda.synchronize()

    return both


def last_level_bytes(sys_folder: Path = Path("/sys")) -> int | None:
    """Return the size of the largest cache of the first core; ``None`` if it is not shown."""
    folder = sys_folder / "devices" / "system" / "cpu" / "cpu0" / "cache"
    found = [read_text(path).strip() for path in folder.glob("index*/size")]
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    sizes = [int(t[:-1]) * units[t[-1]] for t in found if t[:-1].isdigit() and t[-1] in units]
    return max(sizes, default=None)


def array_counts(cache_bytes: int | None, available_bytes: float | None) -> list[int]:
    """Return how many float32 the arrays hold: well beyond the cache, well within memory."""
    cap = _LARGEST_BYTES
    if available_bytes is not None:
        cap = min(cap, int(available_bytes * _MEMORY_SHARE))
    wanted = [times * (cache_bytes or 32 * _MIB) for times in _CACHES]
    return sorted({min(max(size, _SMALLEST_BYTES), cap) // 4 for size in wanted})


def measure(
    device: str, threads: int, say: Callable[[str], None], clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Return what was found.

    Returns:
        ``flops_per_s`` by dtype, ``missing`` (why there is none, by dtype), ``bytes_per_s``, and
        ``torch``: its version, ``None`` if it is not installed.
    """
    try:
        import torch
    except ImportError:
        say("memory bandwidth, by numpy")
        return _without_torch(threads, clock)
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    flops: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for dtype in DTYPES[device]:
        say(f"{dtype} products")
        try:
            with torch.inference_mode(), _precision(dtype):
                found = best(matmuls(device, dtype), clock, grows=True)
        except (RuntimeError, AttributeError) as error:
            missing[dtype] = str(error).splitlines()[0]
            continue
        if found is None:
            missing[dtype] = "the clock showed no time"
        else:
            flops[dtype] = found
    say("memory bandwidth")
    with torch.inference_mode():
        bandwidth = best(_all_streams(device), clock)
    return {
        "flops_per_s": flops,
        "missing": missing,
        "bytes_per_s": bandwidth,
        "torch": torch.__version__,
    }


@contextmanager
def _precision(dtype: str) -> Iterator[None]:
    """Let float32 products go through TF32 for that dtype alone."""
    import torch

    before = torch.get_float32_matmul_precision()
    if dtype == "tfloat32":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _all_streams(device: str) -> Iterator[Kernel]:
    counts = (
        [_CUDA_BYTES // 4]
        if device == "cuda"
        else array_counts(last_level_bytes(), memory.available_bytes())
    )
    for count in counts:
        yield from streams(device, count)


def _without_torch(threads: int, clock: Clock) -> dict[str, Any]:
    counts = array_counts(last_level_bytes(), memory.available_bytes())
    kernels = (kernel for count in counts for kernel in numpy_copies(threads, count))
    reason = "torch is not installed: pip install 'leanboard[transformers]'"
    return {
        "flops_per_s": {},
        "missing": dict.fromkeys(DTYPES["cpu"], reason),
        "bytes_per_s": best(kernels, clock),
        "torch": None,
    }


def watched(
    device: str,
    threads: int,
    say: Callable[[str], None],
    watch: Watch,
    clock: Clock = time.perf_counter,
) -> dict[str, Any]:
    """Return what ``measure`` does, and ``disturbance``: what else went on meanwhile.

    Who is on a GPU is looked up before each kind of work, since a process that has gone by the end
    is not listed then.
    """
    pid, looks = os.getpid(), []

    def look_and_say(doing: str) -> None:
        looks.append(watch.gpu_others([pid]))
        say(doing)

    mark, started_s = watch.start(pid), clock()
    found = measure(device, threads, look_and_say)
    around, seconds = watch.stop(mark), clock() - started_s
    return {**found, "disturbance": disturbance(around, seconds, looks).model_dump()}


def main(argv: list[str]) -> None:
    """Measure, and write what was found to what was standard output."""
    die_with_parent(int(argv[1]))
    keep_freed_memory()
    with private_stdout() as channel:

        def write(message: dict[str, Any]) -> None:
            channel.write(wire.encode(message))
            channel.flush()

        device, threads = argv[2], int(argv[3])
        found = watched(device, threads, lambda doing: write({"doing": doing}), watch_for(device))
        write({"found": found})


if __name__ == "__main__":
    main(sys.argv)
