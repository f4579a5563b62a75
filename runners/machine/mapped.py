"""The pages of files that a process has mapped, given back to a copy of it.

A forked process has the memory of its parent but not its page tables of files: what the parent had
read of its libraries counts as resident again only as the copy reads it. Importing torch alone
leaves some 80 MB of that. Read anew at once, the memory of a copy is that of a process which had
imported the libraries itself.

Sources: proc_pid_maps(5), proc_pid_pagemap(5), madvise(2).
"""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Iterator
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PRESENT = 1 << 63
_ENTRY_BYTES = 8
_MADV_POPULATE_READ = 22


def mapped_pages(proc: Path = Path("/proc/self")) -> list[tuple[int, int]]:
    """Return start and length in bytes of what is resident of mapped files; nothing if hidden."""
    found: list[tuple[int, int]] = []
    try:
        with (proc / "pagemap").open("rb", buffering=0) as pagemap:
            for start, end in _file_mappings((proc / "maps").read_text()):
                pagemap.seek(start // _PAGE_BYTES * _ENTRY_BYTES)
                entries = array("Q", pagemap.read((end - start) // _PAGE_BYTES * _ENTRY_BYTES))
                found += _runs(start, entries)
    except OSError:
        return []
    return found


def touch(pages: list[tuple[int, int]]) -> None:
    """Map these pages for reading; a kernel before Linux 5.14 leaves them out."""
    advise = getattr(ctypes.CDLL(None), "madvise", None)
    if advise is not None:
        for start, length in pages:
            advise(ctypes.c_void_p(start), ctypes.c_size_t(length), _MADV_POPULATE_READ)


def _file_mappings(maps: str) -> Iterator[tuple[int, int]]:
    """Yield first and last address of each mapping that a file backs and that may be read."""
    for line in maps.splitlines():
        words = line.split(maxsplit=5)
        if len(words) == 6 and words[4] != "0" and words[1].startswith("r"):
            start, end = words[0].split("-")
            yield int(start, 16), int(end, 16)


def _runs(start: int, entries: array[int]) -> Iterator[tuple[int, int]]:
    """Yield the runs of pages that are present."""
    first: int | None = None
    for place, entry in enumerate([*entries, 0]):
        if entry & _PRESENT:
            first = place if first is None else first
        elif first is not None:
            yield start + first * _PAGE_BYTES, (place - first) * _PAGE_BYTES
            first = None
