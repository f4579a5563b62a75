"""Show a built site on this machine only."""

from __future__ import annotations

import gzip
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from leanboard.results.errors import LeanboardError

LOOPBACK = "127.0.0.1"
_COMPRESSED = (".html", ".css", ".js", ".svg")


class _Handler(SimpleHTTPRequestHandler):
    """Static files, quietly, text compressed as hosts do, without listings of folders."""

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the reader is in a browser."""

    def send_head(self) -> BytesIO | BinaryIO | None:
        """Send the headers and return the content: compressed if it is text and the client can."""
        name = self.translate_path(self.path)
        path = Path(f"{name}index.html" if name.endswith("/") else name)
        accepted = "gzip" in self.headers.get("Accept-Encoding", "")
        if not (accepted and path.suffix in _COMPRESSED and path.is_file()):
            return super().send_head()
        content = gzip.compress(path.read_bytes(), compresslevel=6)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Vary", "Accept-Encoding")
        self.end_headers()
        return BytesIO(content)

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
