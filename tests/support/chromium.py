"""Which Chromium the browser tests use. As a program: print its path, or exit with 1."""

from __future__ import annotations

import shutil
import sys

_NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome-headless-shell",
)
HOW_TO_INSTALL = "no Chromium on the PATH (Debian and Ubuntu: sudo apt install chromium)"


def find_chromium() -> str | None:
    """Return the path of the first Chromium on the PATH; ``None`` if there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


if __name__ == "__main__":
    found = find_chromium()
    sys.exit(1 if found is None else print(found))
