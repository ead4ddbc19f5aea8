"""How long the web application takes for a request, by page and status."""

from __future__ import annotations

from time import perf_counter

from quart import Response, g, request
from quart_trio import QuartTrio

from engine.metrics.catalogue import WEB_REQUEST_DURATION
from engine.metrics.registry import Metrics


def count_requests(app: QuartTrio, metrics: Metrics) -> None:
    """Count the requests of an application.

    A page is called by its endpoint, of which there are as many as routes: clients cannot make new labels.

    Args:
        app: the application, before its first request.
        metrics: of the process.
    """
    metrics.declare(WEB_REQUEST_DURATION)

    @app.before_request
    async def begin() -> None:
        g.began = perf_counter()

    @app.after_request
    async def count(response: Response) -> Response:
        page, status = request.endpoint or "none", str(response.status_code)
        metrics.histogram(WEB_REQUEST_DURATION, page=page, status=status).observe(perf_counter() - g.began)
        return response
