"""How long requests took inside the server, by method and by what came of them: for all fronts that answer OCSP.

Counting is on the hot path of the fast listener, so it is one look into a dictionary and one bisection
(bench.metrics has what that costs).
"""

from __future__ import annotations

from bisect import bisect_left
from time import perf_counter

from engine.metrics.catalogue import DURATIONS, OCSP_REQUEST_DURATION
from engine.metrics.registry import Histogram, Metrics
from engine.x509.ocsp_response import ResponseStatus
from responders.ocsp_http import ERROR_OCTETS, HttpAnswer

_METHODS = {b"GET": "GET", b"POST": "POST"}
_STATUS_PLACE = ERROR_OCTETS - 1  # of OCSPResponseStatus in an OCSPResponse without responseBytes


class RequestDurations:
    """Counts requests.

    Args:
        metrics: of the process.
    """

    __slots__ = ("_known", "_metrics", "_successful")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._known: dict[tuple[bytes, int, int], Histogram] = {}
        self._successful: dict[
            bytes, Histogram
        ] = {}  # nearly all there are, found without a key of three parts
        for method in _METHODS:  # there from the beginning, so that a rate has a beginning
            self._successful[method] = self._new(method, 200, 0)

    def count(self, method: bytes, answer: HttpAnswer, began: float) -> None:
        """Count a request that is answered now.

        Args:
            method: as sent; what it is not known by is "other", so that clients cannot make new labels.
            answer: what it was answered.
            began: when it was there to be answered, by `perf_counter`.
        """
        seconds = perf_counter() - began
        status, _, body = answer
        histogram = None
        if status == 200 and len(body) != ERROR_OCTETS:
            histogram = self._successful.get(method)
        if histogram is None:
            key = method, status, body[_STATUS_PLACE] if len(body) == ERROR_OCTETS else 0
            histogram = self._known.get(key) or self._new(*key)
        histogram.counts[bisect_left(DURATIONS, seconds)] += (
            1  # as `Histogram.observe` does, without the call
        )
        histogram.sum += seconds

    def _new(self, method: bytes, status: int, ocsp_status: int) -> Histogram:
        histogram = self._metrics.histogram(
            OCSP_REQUEST_DURATION, method=_METHODS.get(method, "other"), outcome=_outcome(status, ocsp_status)
        )
        if method in _METHODS:
            self._known[method, status, ocsp_status] = histogram
        return histogram


def _outcome(status: int, ocsp_status: int) -> str:
    if status == 200:
        return ResponseStatus(ocsp_status).label
    return "not-modified" if status == 304 else f"http-{status}"
