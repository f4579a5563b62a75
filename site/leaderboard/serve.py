"""Show a built site on this machine only."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

from leanboard.results.errors import LeanboardError

LOOPBACK = "127.0.0.1"


class _Handler(SimpleHTTPRequestHandler):
    """Static files, quietly, without listings of folders."""

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the reader is in a browser."""

    def list_directory(self, path: object) -> BytesIO | None:  # noqa: ARG002
        """Answer 404 where a folder has no index."""
        self.send_error(404, "no such page")
        return None


def site_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the folder that is bound to loopback; port 0 takes a free one.

    Raises:
        LeanboardError: if there is no site in the folder, or the port cannot be had.
    """
    if not (folder / "index.html").is_file():
        message = f"there is no site in {folder}: build it with `leanboard site`"
        raise LeanboardError(message)
    try:
        return ThreadingHTTPServer((LOOPBACK, port), partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"port {port} cannot be used ({reason}): stop what uses it or choose another port"
        raise LeanboardError(message) from error


def address(server: ThreadingHTTPServer) -> str:
    """Return where a browser finds the site."""
    return f"http://{LOOPBACK}:{server.server_port}/"


def serve_until_interrupted(server: ThreadingHTTPServer) -> None:
    """Answer requests until Ctrl-C, which ends it without an error."""
    with suppress(KeyboardInterrupt):
        server.serve_forever()
