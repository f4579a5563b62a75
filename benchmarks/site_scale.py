"""The site of many records: how long it takes to build, in what memory, and how fast it is to use.

The records are copies of the published ones (`benchmarks/records.py`), so many that the site has
the number asked for; they have no trace files, so no run page draws samples. The site is built by
`leanboard site` in a process of its own; its memory is the proportional share (PSS) of that process
and those that it forks, added up every 2 s. Interactive means that filters and sorting answer and
the first frame is drawn. A filter or sort takes from the event to the frame after it, in which the
window is full, the median of five times there and back; the slowest counts, and how long it takes
until the page has all of its rows stands beside it. The first load is everything that the
leaderboard asks for, compressed by gzip.

    python -m benchmarks.site_scale                         10,000 records
    python -m benchmarks.site_scale --timed                 10,000 timed runs: nearly as many rows
    python -m benchmarks.site_scale --records 100000        ten times as many
"""

from __future__ import annotations

import argparse
import gzip
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.browsing import headless, served
from benchmarks.records import write_records
from benchmarks.report import REPORTS, Line, write
from leanboard.results.published import published_root
from leanboard.results.store import find_records

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Response

FEW, BUILD_S, MANY_BUILD_S, MEMORY_GIB = 10_000, 30.0, 300.0, 4.0
INTERACTIVE_S, ACTION_S, FIRST_LOAD_BYTES = 1.5, 0.1, 1e6
_LOADS, _REPEATS = 5, 5
_LOOK_S = 2.0
"""Reading the memory of a large process takes the kernel a good part of a second."""

_INTERACTIVE = """
addEventListener("DOMContentLoaded", () => requestAnimationFrame(() => setTimeout(() => {
  globalThis.interactiveAt = performance.now();
})));
"""
_ACT = """
async ([selector, value]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  await frame();
  const control = document.querySelector(selector);
  const started = performance.now();
  if (value === null) control.click();
  else {
    control.value = value;
    control.dispatchEvent(new Event("input", { bubbles: true }));
  }
  do await frame(); while (document.querySelector("main[aria-busy]"));
  const shown = performance.now();
  do await frame(); while (document.querySelector("[aria-busy]"));
  return [shown, performance.now()].map((end) => (end - started) / 1000);
}
"""


def build(records: Path, site: Path) -> dict[str, float]:
    """Build the site in a process of its own; return seconds and bytes of memory."""
    command = [sys.executable, "-m", "leanboard.runners.cli", "site"]
    started_s = time.perf_counter()
    peak = 0
    with subprocess.Popen([*command, "--records", str(records), "--out", str(site)]) as process:
        while process.poll() is None:
            peak = max(peak, _memory_bytes(process.pid))
            time.sleep(_LOOK_S)
    if process.returncode != 0:
        raise RuntimeError(f"leanboard site ended with status {process.returncode}")
    return {"build_s": time.perf_counter() - started_s, "peak_bytes": float(peak)}


def _memory_bytes(pid: int) -> int:
    """Return the proportional memory of a process and its children; 0 if it has ended."""
    total = 0
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
    return total


def load(browser: Browser, address: str) -> dict[str, float]:
    """Open the leaderboard with an empty cache; return seconds and compressed bytes."""
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108
    page.add_init_script(_INTERACTIVE)
    page.goto(address)
    _settle(page)
    seconds = page.evaluate("interactiveAt") / 1000
    sizes = {answer.url: len(gzip.compress(answer.body(), mtime=0)) for answer in answers}
    rows = page.evaluate("LEANBOARD.rows")
    page.close()
    return {"interactive_s": seconds, "first_load_bytes": float(sum(sizes.values())), "rows": rows}


def actions(page: Page) -> Iterator[tuple[str, Sequence[tuple[str, str | None]]]]:
    """Yield what a reader does, with each control and its value: some way, and back."""
    for name in (*page.evaluate("LEANBOARD.filters"), "status", "gate"):
        selector = f"#filters [name={name}]"
        offered = page.locator(f"{selector} option").nth(1)
        if offered.count():
            yield f"filter by {name}", ((selector, offered.get_attribute("value")), (selector, ""))
    search = "#filters [name=q]"
    yield "search", ((search, "int8 chat"), (search, ""))
    heads = page.locator("#board thead button")
    for name in heads.evaluate_all("all => all.map((one) => one.dataset.sort)"):
        button = f'#board thead button[data-sort="{name}"]'
        yield f"sort by {name}", ((button, None), (button, None))


def use(browser: Browser, address: str) -> dict[str, tuple[float, float]]:
    """Filter and sort; return the median seconds of every action: to a full window, to all rows."""
    page = browser.new_page(viewport={"width": 1280, "height": 860})
    page.goto(address)
    _settle(page)
    taken: dict[str, tuple[float, float]] = {}
    for name, steps in list(actions(page)):
        seconds = [page.evaluate(_ACT, step) for _ in range(_REPEATS) for step in steps]
        shown, whole = map(statistics.median, zip(*seconds, strict=True))
        taken[name] = shown, whole
        page.evaluate("document.querySelector('#filters button[type=reset]').click()")
        _settle(page)
    page.close()
    return taken


def _settle(page: Page) -> None:
    page.locator("[aria-busy]").first.wait_for(state="detached")


def lines(title: str, records: int, found: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the claims; the bounds of use hold for up to ten thousand records."""
    few = records <= FEW
    most_s = BUILD_S if few else MANY_BUILD_S
    yield Line(f"{title}: build", f"{found['build_s']:.1f} s", found["build_s"] <= most_s)
    memory = found["peak_bytes"] / 2**30
    yield Line(f"{title}: memory", f"{memory:.2f} GiB", memory <= MEMORY_GIB)
    loads = found["loads"]
    interactive = statistics.median(one["interactive_s"] for one in loads)
    figure = f"{interactive:.2f} s, {loads[0]['rows']:,} rows"
    yield Line(f"{title}: interactive", figure, interactive <= INTERACTIVE_S if few else None)
    first = loads[0]["first_load_bytes"]
    held = first <= FIRST_LOAD_BYTES if few else None
    yield Line(f"{title}: first load, compressed", f"{first / 1e6:.2f} MB", held)
    for kind in ("filter", "search", "sort"):
        of_kind = {name: s for name, s in found["actions"].items() if name.startswith(kind)}
        slowest = max(of_kind, key=lambda name: of_kind[name])
        shown, whole = of_kind[slowest]
        figure = f"{shown * 1e3:.0f} ms, all rows {whole * 1e3:.0f} ms ({slowest})"
        yield Line(f"{title}: slowest {kind}", figure, shown <= ACTION_S if few else None)


def measure(folder: Path, count: int, *, timed: bool) -> dict[str, Any]:
    """Make the records, build the site and use it; return every figure."""
    shutil.rmtree(folder, ignore_errors=True)
    records, site = folder / "records", folder / "site"
    write_records(records, count - len(find_records(published_root())[0]), timed=timed)
    found: dict[str, Any] = build(records, site)
    with served(site) as address, headless() as browser:
        found["loads"] = [load(browser, address) for _ in range(_LOADS)]
        found["actions"] = use(browser, address)
    return found


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=FEW, help="records of the site")
    parser.add_argument("--timed", action="store_true", help="copy timed runs only")
    parser.add_argument("--keep", action="store_true", help="leave records and site in place")
    asked = parser.parse_args(arguments)
    name = f"site_scale_{asked.records}{'_timed' if asked.timed else ''}"
    folder = REPORTS / name
    found = measure(folder, asked.records, timed=asked.timed)
    if not asked.keep:
        shutil.rmtree(folder)
    title = f"{asked.records:,} {'timed runs' if asked.timed else 'records'}"
    return write(name, list(lines(title, asked.records, found)), found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
