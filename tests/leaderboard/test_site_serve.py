"""The loopback server and the commands."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
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


def fetch(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


def test_the_site_is_served_on_loopback_only(demo: Demo, served: str) -> None:
    assert served.startswith("http://127.0.0.1:")
    status, text = fetch(served)
    assert status == 200
    assert text == (demo.folder / "index.html").read_text(encoding="utf-8")


def test_nothing_outside_the_folder_is_served(served: str) -> None:
    assert fetch(served + "..%2f..%2frecords/")[0] == 404
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
