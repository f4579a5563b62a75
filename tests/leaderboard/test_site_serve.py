"""The loopback server and the commands."""

from __future__ import annotations

import gzip
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest
from click.testing import CliRunner
from demo_store import Demo

from leanboard.leaderboard.commands import serve, site
from leanboard.leaderboard.serve import address, serve_until_interrupted, site_server
from leanboard.results.errors import LeanboardError


@pytest.fixture
def served(demo: Demo) -> Iterator[str]:
    with site_server(demo.folder, 0) as server:
        thread = threading.Thread(target=serve_until_interrupted, args=(server,))
        thread.start()
        yield address(server)
        server.shutdown()
        thread.join()


def fetch(url: str, encoding: str = "identity") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Accept-Encoding": encoding})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def content_of(url: str, encoding: str) -> tuple[bytes, Message]:
    request = urllib.request.Request(url, headers={"Accept-Encoding": encoding})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read(), answer.headers


def test_the_site_is_served_on_loopback_only(demo: Demo, served: str) -> None:
    assert served.startswith("http://127.0.0.1:")
    status, text = fetch(served)
    assert status == 200
    assert text == (demo.folder / "index.html").read_text(encoding="utf-8")
    with site_server(demo.folder, 0) as server:
        assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("name", ["", "index.html", "index.html?sort=x", "static/site.css"])
def test_text_is_compressed_for_a_client_that_can_read_it(
    demo: Demo, served: str, name: str
) -> None:
    plain, headers = content_of(served + name, encoding="identity")
    assert headers["Content-Encoding"] is None
    packed, headers = content_of(served + name, encoding="gzip, deflate")
    assert headers["Content-Encoding"] == "gzip"
    assert int(headers["Content-Length"]) == len(packed) < len(plain) / 2
    assert headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(packed) == plain


def test_what_is_compressed_already_is_sent_as_it_is(demo: Demo, served: str) -> None:
    name = next(demo.folder.rglob("*.parquet")).relative_to(demo.folder).as_posix()
    content, headers = content_of(served + name, encoding="gzip")
    assert headers["Content-Encoding"] is None
    assert content == (demo.folder / name).read_bytes()


def test_a_file_is_no_folder(served: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        content_of(served + "index.html/", encoding="gzip")


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("up", ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "static/../../"])
def test_nothing_outside_the_folder_is_served(
    demo: Demo, served: str, up: str, encoding: str
) -> None:
    root, record = demo.folder.parent, demo.loaded.entries[0].path
    page = root / "outside.html"
    page.write_text("<p>outside", encoding="utf-8")
    for outside in (record, page):
        name = outside.relative_to(root).as_posix()
        assert outside.is_file()
        assert fetch(f"{served}{up}{name}", encoding)[0] == 404


def test_a_folder_is_not_listed(demo: Demo, served: str) -> None:
    assert (demo.folder / "runs").is_dir()
    assert fetch(served + "runs/")[0] == 404


def test_a_busy_port_is_an_error_with_a_next_step(demo: Demo) -> None:
    with (
        site_server(demo.folder, 0) as server,
        pytest.raises(LeanboardError, match="choose another port"),
    ):
        site_server(demo.folder, server.server_port)


def test_a_folder_without_a_site_is_an_error_with_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(LeanboardError, match="leanboard site"):
        site_server(tmp_path, 0)
    result = CliRunner().invoke(serve, ["--folder", str(tmp_path), "--port", "0"])
    assert isinstance(result.exception, LeanboardError)


def test_the_site_command_builds_and_says_where_the_site_is(tmp_path: Path) -> None:
    out = tmp_path / "site"
    result = CliRunner().invoke(site, ["--records", str(tmp_path / "none"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert (out / "index.html").as_uri() in result.output
    assert f"or: leanboard serve --folder {out}" in result.output


def test_the_next_step_after_a_build_needs_no_active_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(site, ["--records", "none"])
    *_, first, second = result.output.splitlines()
    assert first == f"Open {(tmp_path / 'build/site/index.html').as_uri()}"
    assert second == "or: make serve (leanboard serve --folder build/site)"


def test_strict_ends_with_status_1_when_a_record_was_skipped(tmp_path: Path) -> None:
    records = tmp_path / "records"
    records.mkdir()
    (records / "bad.json").write_text("{", encoding="utf-8")
    arguments = ["--records", str(records), "--out", str(tmp_path / "site")]
    assert CliRunner().invoke(site, arguments).exit_code == 0
    strict = CliRunner().invoke(site, [*arguments, "--strict"])
    assert strict.exit_code == 1
    assert "bad.json" in strict.output
