"""The site below a path of a host: nothing that it asks for or links to lies outside."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag

import pytest
from boards import fullest_place
from browser_page import settled
from demo_store import Demo

from leanboard.leaderboard.board import run_place
from leanboard.leaderboard.build import build_site
from leanboard.leaderboard.compare import compare_href

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Response

pytestmark = pytest.mark.browser

BELOW = "some/sub/path"
LINKS = """links => links.map(
  (link) => new URL(link.getAttribute("href"), document.baseURI).href)"""
"""Whole addresses, also those of links in a picture."""


class Quiet(SimpleHTTPRequestHandler):
    """Static files without a log."""

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def folders(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The demo's site, and the same as a board whose runs share a page."""
    folder = tmp_path_factory.mktemp("large") / "site"
    large = build_site(demo.loaded, folder, most_run_pages=1)
    return {"board": demo.folder, "large": large.folder}


@pytest.fixture(scope="module")
def host(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A host that has the sites below a path, and nothing else."""
    root = tmp_path_factory.mktemp("host")
    (root / BELOW).mkdir(parents=True)
    for name, folder in folders.items():
        (root / BELOW / name).symlink_to(folder)
    handler = partial(Quiet, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{BELOW}"
        server.shutdown()
        thread.join()


class Heard:
    """What a page asks for, and what goes wrong."""

    def __init__(self, page: Page) -> None:
        """Listen to a page."""
        self.asked: list[str] = []
        self.wrong: list[str] = []
        page.on("console", lambda message: self.wrong.append(message.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _failed(self, request: Request) -> None:
        # The browser itself gives up what it still asks for (an icon) when a page is left.
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"{request.failure}: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.status}: {response.url}")


def outside(addresses: Iterable[str], site: str, folder: Path) -> list[str]:
    """Addresses that lead to no file of the site."""
    return [address for address in addresses if not _is_file(address, f"{site}/", folder)]


def _is_file(address: str, site: str, folder: Path) -> bool:
    if not address.startswith(site):
        return False
    name = unquote(urldefrag(address).url.removeprefix(site))
    return (folder / (name or "index.html")).is_file()


def test_every_page_and_link_works_below_a_path(
    folders: dict[str, Path], demo: Demo, host: str, page: Page
) -> None:
    site, heard = f"{host}/board", Heard(page)
    links: set[str] = set()
    for name in ["", *demo.kinds]:
        page.goto(f"{site}/{name}")
        links.update(settled(page).locator("a[href]").evaluate_all(LINKS))
    assert heard.wrong == []
    assert len(heard.asked) > 100
    assert outside(heard.asked, site, folders["board"]) == []
    assert len(links) > 100
    assert outside(sorted(links), site, folders["board"]) == []


def compared(demo: Demo) -> str:
    return compare_href(line.row.record for line in fullest_place(demo.board)[:2])


def one_run(demo: Demo) -> str:
    return f"run.html#run={run_place(demo.board.lines[0].row.record)}"


@pytest.mark.parametrize(
    ("name", "address", "shown"),
    [
        ("board", lambda _: "index.html#status=all&sort=ttft_s&cols=e2e_s", "#board .reason"),
        ("board", compared, "#plots svg"),
        ("board", lambda _: "pareto.html#x=ttft_s&y=tpot_s", "#plot .point"),
        ("board", lambda _: "budget.html#tpot_s=1", "#kept tbody tr"),
        ("large", one_run, "#measured td"),
        ("large", compared, "#plots svg"),
    ],
)
def test_data_that_a_choice_asks_for_is_found_below_a_path(
    folders: dict[str, Path],
    demo: Demo,
    host: str,
    page: Page,
    *,
    name: str,
    address: Callable[[Demo], str],
    shown: str,
) -> None:
    site, heard = f"{host}/{name}", Heard(page)
    page.goto(f"{site}/{address(demo)}")
    settled(page).locator(shown).first.wait_for()
    assert heard.wrong == []
    data = [url for url in heard.asked if url.startswith(f"{site}/data/")]
    assert len(data) > 1
    assert outside(heard.asked, site, folders[name]) == []
