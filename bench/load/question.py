"""One request of the load, and how what comes back is judged. Nothing here sends anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back.

    Attributes:
        status: of HTTP.
        headers: names in lower case.
        body: without any transfer coding.
        asked_at: when the question was sent, seconds since the epoch.
        came_at: when the answer was there, seconds since the epoch.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    asked_at: float
    came_at: float


@dataclass(frozen=True, slots=True)
class Question:
    """A request.

    Attributes:
        url: absolute.
        judge: called with the answer and whether to verify it; returns whether it was verified.
            Raises NoAnswer or WrongAnswer.
        body: of a POST; None = GET.
        headers: beside those that every request has.
    """

    url: str
    judge: Callable[[HttpAnswer, bool], bool]
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Asking(Protocol):
    """A kind of question."""

    def question(self, draw: float, now: float) -> Question | None:
        """Return the next question; None where a cache of the load's own has the answer.

        Args:
            draw: a number in [0, 1) that picks whom it is about.
            now: seconds since the epoch.
        """
        ...
