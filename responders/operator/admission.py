"""Who is let in: by a session that began with the local token, by the token itself, or by a client certificate."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

import trio
from cryptography import x509

from responders.operator.attempts import Attempts

SESSION_SECONDS = 12 * 3_600
"""How long a session lasts. A guess: a shift."""

MOST_SESSIONS = 256
"""Sessions at a time; a new one ends the oldest. A guess: far more than operators."""

_IDENTIFIER_OCTETS = 32  # 256 bits, as the token

BY_TOKEN = "the local token"  # noqa: S105 - how it is called in the log


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who was let in.

    Attributes:
        name: by what, for the audit log.
        act_token: what a page of his sends along with every act: no page of another origin knows it.
    """

    name: str
    act_token: str


class Admission:
    """Knows the sessions and their ends. Nothing of it outlives the process.

    Args:
        token: the local token.
    """

    def __init__(self, token: str) -> None:
        self._logins, self._bearers = Attempts(token), Attempts(token)
        self._secret = secrets.token_bytes(_IDENTIFIER_OCTETS)
        self._sessions: dict[str, float] = {}

    async def begin(self, shown: str) -> str | None:
        """Begin a session for whoever shows the token; return its identifier, for the cookie.

        Raises:
            Overloaded: too many attempts wait.
        """
        if not await self._logins.is_right(shown):
            return None
        if len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[min(self._sessions, key=lambda known: self._sessions[known])]
        identifier = secrets.token_urlsafe(_IDENTIFIER_OCTETS)
        self._sessions[self._key(identifier)] = trio.current_time() + SESSION_SECONDS
        return identifier

    def end(self, identifier: str) -> None:
        """End a session."""
        self._sessions.pop(self._key(identifier), None)

    def by_session(self, identifier: str) -> Visitor | None:
        """Return whose session it is; None where it has ended, or never was."""
        key = self._key(identifier)
        end = self._sessions.get(key)
        if end is None:
            return None
        if end <= trio.current_time():
            del self._sessions[key]
            return None
        return Visitor(BY_TOKEN, self._act_token(key))

    async def by_bearer(self, shown: str) -> Visitor | None:
        """Return who shows the token itself with a request, as a collector of metrics does.

        Raises:
            Overloaded: too many attempts wait.
        """
        if not await self._bearers.is_right(shown):
            return None
        return Visitor(BY_TOKEN, self._act_token("bearer"))

    def by_certificate(self, certificate: bytes) -> Visitor:
        """Return who showed a certificate (DER), which the TLS handshake has verified."""
        subject = x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
        key = hashlib.sha256(certificate).hexdigest()
        return Visitor(f"certificate {subject}", self._act_token(key))

    def _key(self, identifier: str) -> str:
        """Under which a session is kept: looking it up takes a time that tells nothing of the identifier."""
        return hmac.digest(self._secret, identifier.encode("utf-8", "surrogateescape"), "sha256").hex()

    def _act_token(self, key: str) -> str:
        return hmac.digest(self._secret, b"act " + key.encode(), "sha256").hex()
