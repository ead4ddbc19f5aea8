"""A small HTTP server on loopback that gives out what a test puts into it, by path."""

from __future__ import annotations

import base64
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[bytes], bytes]
"""What an OCSP path does: request to response."""


class ToyServer(ThreadingHTTPServer):
    """Files and OCSP responders by path: `files["/a.crl"] = …`, `responders["/ocsp/x"] = answer`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.responders: dict[str, Answer] = {}

    @property
    def address(self) -> str:
        """The beginning of every URL of it."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ToyServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.server.responders[self.path](body), "application/ocsp-response")

    def do_GET(self) -> None:
        if self.path in self.server.files:
            self._answer(self.server.files[self.path], "application/pkix-crl")
            return
        for path, answer in self.server.responders.items():
            if self.path.startswith(path + "/"):  # RFC 6960 appendix A.1.1
                request = base64.b64decode(urllib.parse.unquote(self.path.removeprefix(path + "/")))
                self._answer(answer(request), "application/ocsp-response")
                return
        self.send_error(404)

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the tests' output is for failures."""


@contextmanager
def serving() -> Iterator[ToyServer]:
    """Run a server in a thread."""
    with ToyServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
