"""The pages by the tools of the trade: axe-core on every page, Lighthouse on the leaderboard.

The site of the published records is built and served on loopback. axe-core (its rules and its best
practices) looks at every page in light and dark, on a desktop and on a phone; of the run pages, at
one of each kind: those with the same sections and tables are alike. Lighthouse scores the
leaderboard as a desktop and as a phone with a slow network, each the median of three.

axe-core comes with a package of the `dev` extra; Lighthouse is fetched with npm, in the version
below, into `build/`, and needs Node.

    python -m benchmarks.site_quality                  both, a few minutes
    python -m benchmarks.site_quality --every-run      axe-core on every run page
    python -m benchmarks.site_quality --only axe
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks.browsing import chromium, headless, served
from benchmarks.report import REPORTS, Line, write
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.texts import Texts
from leanboard.results.finding import load_findings
from leanboard.results.published import findings_root, load_for_board
from leanboard.runners.technique_texts import technique_texts
from tests.support.accessibility import violations

LIGHTHOUSE = "lighthouse@12.8.2"
LEAST_SCORE = 95
CATEGORIES = ("performance", "accessibility", "best-practices")
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
VIEWS = tuple((width, scheme) for width in (1280, 390) for scheme in SCHEMES)
_TOOLS = Path("build/tools")
_TIMES = 3
_PARTS = re.compile(r"<(?:h2|h3|th|details|figure)\b[^>]*>")


def pages_to_see(site: Path, pages: Sequence[str], *, every_run: bool) -> list[str]:
    """Return the pages of a site that axe-core looks at."""
    seen, chosen = set(), []
    for name in pages:
        run = name.startswith("runs/")
        kind = frozenset(_PARTS.findall((site / name).read_text(encoding="utf-8")))
        if every_run or not run or kind not in seen:
            chosen.append(name)
        if run:
            seen.add(kind)
    return chosen


def look(address: str, pages: Sequence[str]) -> dict[str, list[str]]:
    """Return what axe-core finds, by page and view; only what is not clean."""
    found: dict[str, list[str]] = {}
    with headless() as browser:
        for width, scheme in VIEWS:
            context = browser.new_context(
                viewport={"width": width, "height": 860}, color_scheme=scheme
            )
            page = context.new_page()
            for name in pages:
                page.goto(address + name)
                page.locator("main[aria-busy]").wait_for(state="detached")
                wrong = violations(page)
                if wrong:
                    found[f"{name}, {width} px, {scheme}"] = wrong
            context.close()
    return found


def fetch_lighthouse() -> Path:
    """Install Lighthouse into `build/` where it is not there yet; return its program."""
    program = _TOOLS / "node_modules/lighthouse/cli/index.js"
    wanted = _TOOLS / f"{LIGHTHOUSE}.installed"
    if not wanted.is_file():
        shutil.rmtree(_TOOLS, ignore_errors=True)
        _TOOLS.mkdir(parents=True)
        command = ["npm", "install", "--prefix", str(_TOOLS), "--no-audit", "--no-fund", LIGHTHOUSE]
        subprocess.run(command, check=True)
        wanted.touch()
    return program


def lighthouse(program: Path, address: str, form: str) -> dict[str, Any]:
    """Return the scores (0 to 100) of a page by category, and the audits that lost points."""
    command = ["node", str(program), address, "--quiet", "--output=json", "--output-path=stdout"]
    command += [f"--only-categories={','.join(CATEGORIES)}"]
    command += ["--chrome-flags=--headless=new --no-sandbox --disable-gpu"]
    command += ["--preset=desktop"] if form == "desktop" else []
    around = {**os.environ, "CHROME_PATH": chromium()}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=around)
    report = json.loads(done.stdout)
    scores = {name: 100 * report["categories"][name]["score"] for name in CATEGORIES}
    lost = [
        f"{audit['title']}: {audit.get('displayValue', audit['score'])}"
        for audit in report["audits"].values()
        if audit["score"] is not None and audit["score"] < 0.9
    ]
    return {"scores": scores, "lost": lost, "version": report["lighthouseVersion"]}


def axe_lines(pages: Sequence[str], found: Mapping[str, Sequence[str]]) -> Iterator[Line]:
    """Yield the claim that no page has a violation."""
    count = sum(map(len, found.values()))
    figure = f"{count} violations, {len(pages)} pages, {len(VIEWS)} views"
    yield Line("axe-core: no violation on any page", figure, count == 0)


def lighthouse_lines(form: str, runs: Sequence[Mapping[str, Any]]) -> Iterator[Line]:
    """Yield the score of each category."""
    for name in CATEGORIES:
        score = statistics.median(run["scores"][name] for run in runs)
        yield Line(f"Lighthouse, {form}: {name}", f"{score:.0f}", score >= LEAST_SCORE)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--every-run", action="store_true", help="axe-core on every run page")
    parser.add_argument("--only", choices=("axe", "lighthouse"), help="default: both")
    asked = parser.parse_args(arguments)
    texts = Texts(technique_texts(), load_findings(findings_root()))
    published = load_for_board(Path("build/none"))
    report = build_site(published, REPORTS / "site_quality", texts=texts)
    found: list[Line] = []
    data: dict[str, Any] = {}
    with served(report.folder) as address:
        if asked.only != "lighthouse":
            pages = pages_to_see(report.folder, report.pages, every_run=asked.every_run)
            data["axe"] = look(address, pages)
            found += axe_lines(pages, data["axe"])
        if asked.only != "axe":
            program = fetch_lighthouse()
            for form in ("desktop", "phone"):
                runs = [lighthouse(program, address, form) for _ in range(_TIMES)]
                data[form] = runs
                found += lighthouse_lines(form, runs)
    for view, wrong in data.get("axe", {}).items():
        print(f"{view}: {'; '.join(wrong)}")
    return write("site_quality", found, data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
