"""What the live signer counts: its answers with their time, what it refused at once, and why others got tryLater."""

from __future__ import annotations

from enum import Enum
from time import perf_counter

from engine.metrics.catalogue import (
    LIVE_ANSWER_DURATION,
    LIVE_REFUSAL_DURATION,
    LIVE_TRY_LATER,
    LIVE_WAITING,
    LIVE_WAITING_LIMIT,
)
from engine.metrics.registry import Metrics
from engine.x509.ocsp_response import ResponseStatus
from responders.live_signing.signing_queue import SigningQueue


class WhyLater(Enum):
    """Why an answer is tryLater."""

    FULL = "as many wait already as may"
    JOURNAL = "what is signed could not be accounted for"
    STATUS = "the status store is not current, or no responder is in charge"
    LATE = "the token took too long"
    TOKEN = "the token is away, or refused"  # noqa: S105 - no password
    OVERTAKEN = "the status changed while it was being signed"

    @property
    def label(self) -> str:
        """The name in metrics."""
        return self.name.lower()


class LiveCounts:
    """Counts answers.

    Args:
        metrics: of the process.
        queue: where they wait.
    """

    def __init__(self, metrics: Metrics, queue: SigningQueue) -> None:
        self._answers = {
            status: metrics.histogram(LIVE_ANSWER_DURATION, outcome=status.label) for status in ResponseStatus
        }
        self._later = {why: metrics.counter(LIVE_TRY_LATER, reason=why.label) for why in WhyLater}
        self._refusals = metrics.histogram(LIVE_REFUSAL_DURATION)
        waiting = metrics.gauge(LIVE_WAITING)
        metrics.gauge(LIVE_WAITING_LIMIT).set(queue.most_waiting)
        metrics.before_reading(lambda: waiting.set(queue.on_their_way))

    def later(self, why: WhyLater) -> ResponseStatus:
        """Count the reason of a tryLater, and return that."""
        self._later[why].add()
        return ResponseStatus.TRY_LATER

    def answered(self, status: ResponseStatus, began: float) -> None:
        """Count an answer.

        Args:
            status: what it says.
            began: when the question had come, by `perf_counter`.
        """
        self._answers[status].observe(perf_counter() - began)

    def refused(self, began: float) -> None:
        """Count how long a refusal took, besides `answered`."""
        self._refusals.observe(perf_counter() - began)
