"""What every answer is held to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.fuzz.client import answers_in
from tests.fuzz.known_things import Unaccepted
from tests.fuzz.raw_requests import Sent

NOT_IMPLEMENTED = 501
"""A transfer coding, or a change of protocol, that the server does not know (RFC 9112 section 6.1)."""

MOST_FINDINGS = 20
"""Kept of a group; more say nothing new."""


@dataclass
class Findings:
    """What a group of routes answered, and what it should not have.

    Attributes:
        statuses: how often each class of HTTP status; `none` for connections that ended without an answer.
        wrong: what is wrong, with the request.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, what: str, asked: bytes) -> None:
        if len(self.wrong) < MOST_FINDINGS:
            self.wrong.append(f"{what}: {asked[:1_500]!r}")


class Judge:
    """Judges answers.

    Args:
        unaccepted: what must not be told.
        about_status: whether all that this front tells is status: its answers may name serial numbers.
    """

    def __init__(self, unaccepted: Unaccepted, *, about_status: bool = False) -> None:
        self._unaccepted = unaccepted
        self._about_status = about_status
        self.findings = Findings()

    def judge(self, sent: Sent, told: bytes) -> None:
        """Judge what came back for what was sent."""
        answers = answers_in(told)
        if not answers:
            self.findings.statuses["none"] += 1
        if sent.is_good and not answers:
            self.findings.add("a good request has no answer", sent.octets)
        if told and not told.startswith(b"HTTP/1.1 "):
            self.findings.add(f"no HTTP comes back, but {told[:60]!r}", sent.octets)
        for status, fields in answers:
            self.status(status, fields, sent.octets)
        self.content(told, sent.octets)

    def status(self, status: int, fields: bytes, asked: bytes) -> None:
        """Judge a status: no server error but "come again" and "never heard of"."""
        self.findings.statuses[f"{status // 100}xx"] += 1
        if status >= 500 and status != NOT_IMPLEMENTED:
            self.findings.statuses[str(status)] += 1
            if status != 503 or b"retry-after:" not in fields.lower():
                self.findings.add(f"HTTP status {status}", asked)

    def content(self, told: bytes, asked: bytes) -> None:
        """Look for unaccepted certificates."""
        found = self._unaccepted.found_in(told, asked, about_status=self._about_status)
        if found is not None:
            self.findings.add(f"{found} is told", asked)
