"""The spool over HTTP: `GET /usage/v1/spool` lists its files, `…/spool/NAME?offset=N` gives what follows."""

from __future__ import annotations

from pathlib import Path

import orjson
import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from engine.errors import InputRejected
from engine.usage.collection import SpoolDirectory
from engine.usage.spool import month_of_file
from responders.web_connection import WebConnection

ROUTE = "/usage/v1/spool"

_UNCACHED = {"Cache-Control": "no-store"}


def make_app(spool: Path) -> QuartTrio:
    """Make the application.

    Args:
        spool: the directory; it need not be there before something was counted.
    """
    app = QuartTrio(__name__, static_folder=None)
    app.asgi_http_class = WebConnection
    app.config["MAX_CONTENT_LENGTH"] = 0

    @app.route(ROUTE, methods=["GET"], provide_automatic_options=False)
    async def files() -> Response:
        found = await trio.to_thread.run_sync(_files, spool)
        return Response(orjson.dumps(found), 200, _UNCACHED, content_type="application/json")

    @app.route(f"{ROUTE}/<name>", methods=["GET"], provide_automatic_options=False)
    async def content(name: str) -> Response:
        offset = request.args.get("offset", "0")
        if month_of_file(name) is None or not (offset.isascii() and offset.isdecimal() and len(offset) < 16):
            return _refusal(400, "a file of the spool, and an offset in octets")
        try:
            lines = await trio.to_thread.run_sync(lambda: SpoolDirectory(spool).read(name, int(offset)))
        except InputRejected:
            return _refusal(404, "there is no such file")
        return Response(lines, 200, _UNCACHED, content_type="application/octet-stream")

    @app.errorhandler(HTTPException)
    async def wrong(error: HTTPException) -> Response:
        return _refusal(error.code or 500, error.name)

    return app


def _files(spool: Path) -> list[dict[str, object]]:
    if not spool.is_dir():
        return []
    return [file._asdict() for file in SpoolDirectory(spool).files()]


def _refusal(status: int, why: str) -> Response:
    return Response(orjson.dumps({"error": why}), status, _UNCACHED, content_type="application/json")
