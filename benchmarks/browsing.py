"""A built site in a headless browser, served on loopback as `leanboard serve` does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from leanboard.leaderboard.serve import address, site_server
from tests.support.chromium import HOW_TO_INSTALL, find_chromium

_ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def chromium() -> str:
    """Return the path of the browser.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = find_chromium()
    if path is None:
        raise FileNotFoundError(HOW_TO_INSTALL)
    return path


@contextmanager
def headless() -> Iterator[Browser]:
    """Give a browser without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(_ARGUMENTS))
        yield browser
        browser.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Give the address of a site that is served until the end."""
    with site_server(folder, 0) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield address(server)
        server.shutdown()
        serving.join()
