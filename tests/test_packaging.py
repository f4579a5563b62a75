"""What a user of the wheel or the sdist receives."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Where a source file of the checkout lands in the package.
HOMES = {
    "metrics/": "leanboard/metrics/",
    "results/": "leanboard/results/",
    "runners/": "leanboard/runners/",
    "suites/": "leanboard/suites/",
    "site/leaderboard/": "leanboard/leaderboard/",
}
SHIPPED = {".py", ".yaml"}


@pytest.fixture(scope="module")
def sources() -> list[str]:
    """Return the paths that git tracks or would track."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return sorted(name for name in listing.split("\0") if name and (ROOT / name).is_file())


@pytest.fixture(scope="module")
def distributions(sources: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist from a copy of the sources, and the wheel from the sdist."""
    copy = tmp_path_factory.mktemp("copy")
    for name in sources:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def shipped_from(sources: list[str]) -> set[str]:
    """Name what the wheel must hold: every module, menu entry, template and static file."""
    wanted = set()
    for name in sources:
        for folder, home in HOMES.items():
            inside = name.removeprefix(folder)
            if not name.startswith(folder) or inside.startswith("records/"):
                continue
            asset = inside.startswith(("templates/", "static/"))
            if asset or Path(name).suffix in SHIPPED:
                wanted.add(home + inside)
    return wanted


def test_the_wheel_holds_the_package_and_nothing_else(
    distributions: Path, sources: list[str]
) -> None:
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == shipped_from(sources)


def test_the_wheel_brings_its_licence_and_its_command(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
        licence = archive.read(inside["LICENSE"]).decode()
        commands = archive.read(inside["entry_points.txt"]).decode()
    assert "Apache License" in licence
    assert "leanboard = leanboard.runners.cli:main" in commands


def test_both_bring_the_citation_file_that_the_site_offers(distributions: Path) -> None:
    cited = (ROOT / "CITATION.cff").read_bytes()
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith("dist-info/licenses/CITATION.cff"))
        assert archive.read(name) == cited
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert "CITATION.cff" in {name.partition("/")[2] for name in archive.getnames()}


def test_the_core_of_the_wheel_asks_for_no_heavy_package(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    core = " ".join(line for line in required if "extra ==" not in line)
    assert "pydantic" in core
    assert not any(heavy in core for heavy in ("torch", "transformers", "lm-eval", "xllamacpp"))


def test_the_sdist_can_be_built_again_from_what_it_holds(
    distributions: Path, sources: list[str]
) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    modules = {name for name in sources if name.startswith(tuple(HOMES)) and name.endswith(".py")}
    assert {*modules, "pyproject.toml", "README.md", "LICENSE"} <= held
