"""The page `/metrics`, in the exposition format that whoever asks understands."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from quart import Response, request
from quart_trio import QuartTrio

from responders.operator.collector import Collector
from responders.operator.gate import METRICS_PATH


class _Collected(CollectorRegistry):
    """What was collected for one page, as the encoders want it."""

    def __init__(self, found: Iterable[Metric]) -> None:
        super().__init__()
        self._found = found

    def collect(self) -> Iterable[Metric]:
        """Return it."""
        return self._found


def add_metrics_page(app: QuartTrio, collector: Collector) -> None:
    """Serve the metrics of all processes.

    Args:
        app: the application, which sees to it who may read them.
        collector: makes them.
    """

    @app.get(METRICS_PATH, provide_automatic_options=False)
    async def metrics() -> Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return Response(encode(_Collected(await collector.collect())), 200, content_type=content_type)
