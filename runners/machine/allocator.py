"""The C allocator of an arm's process: settled once, so that processes of one arm are alike.

By default glibc decides by what a process happens to have freed before, and the kernel by where
its pages happen to lie: the same work then differs between two processes of the same arm.
"""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Mapping

_TUNABLES = "GLIBC_TUNABLES"
# Of glibc's malloc.h; 32 MiB is the largest threshold that it takes.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD, _NEVER = 32 * 2**20, 2**31 - 1
_HUGE_PAGES = "glibc.malloc.hugetlb"
_ADVISE = "1"


def with_huge_pages(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a process whose allocator asks for huge pages.

    Weights that a process holds itself lie in pages of 4 KiB otherwise, wherever those are free;
    weights that are mapped from a file lie in larger ones. What the caller's own tunables say of
    huge pages is kept. An allocator or a kernel that knows none of it changes nothing.
    """
    asked = environ.get(_TUNABLES, "")
    if _HUGE_PAGES in asked:
        return dict(environ)
    tunables = [*filter(None, asked.split(":")), f"{_HUGE_PAGES}={_ADVISE}"]
    return {**environ, _TUNABLES: ":".join(tunables)}


def asks_for_huge_pages(environ: Mapping[str, str]) -> bool:
    """Whether the allocator of a process with this environment advises or takes huge pages."""
    return re.search(rf"{re.escape(_HUGE_PAGES)}=[12]\b", environ.get(_TUNABLES, "")) is not None


def keep_freed_memory() -> None:
    """Let the C allocator keep what is freed, from the first allocation on.

    By default glibc moves its thresholds with what a process happens to free: the temporary
    tensors of a forward pass are then mapped anew each time in one process, a page fault a page,
    and reused in the next, and the same work differs by a factor of two between processes.
    """
    option = getattr(ctypes.CDLL(None), "mallopt", None)
    if option is not None:
        option(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        option(_M_TRIM_THRESHOLD, _NEVER)


def release_free_memory() -> None:
    """Hand memory that loading has freed back to the system, so that it is not counted as used.

    A technique that converts weights frees the originals; the allocator would keep them resident.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
