"""Whether the token still has the authority's keys, and whether they sign.

The keys of its servants make a test signature: over a text that can be nothing else, with a nonce, its digest in a
journal before. The CA key makes none, for it signs certificates and CRLs and nothing else (CPS 6.1.9): it is looked up,
and its public part is held against the certificate (decision 0034).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from engine.algorithms import SignatureAlgorithm
from engine.audit.digest_journal import DigestJournal
from engine.authority.context import AuthorityContext
from engine.authority.ocsp_responders import ocsp_responders, responder_in_charge
from engine.authority.role_certificates import RoleCertificate
from engine.authority.signing import AUTHORITY_ALGORITHM
from engine.errors import TokenError
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from engine.x509.certificate import verifier

NONCE_OCTETS = 32


@dataclass(frozen=True, slots=True)
class WatchedKey:
    """A key that is looked at.

    Attributes:
        role: its certificate, and what it is called in the token.
        algorithm: with what it makes a test signature; None: it makes none.
    """

    role: RoleCertificate
    algorithm: SignatureAlgorithm | None

    @property
    def label(self) -> str:
        """What it is called in the token."""
        return self.role.key.label


@dataclass(frozen=True, slots=True)
class KeyHealth:
    """What was found when a key was last looked at.

    Attributes:
        key: its label.
        healthy: whether it was well.
        last_ok_at: when it last was; None: never since the watch began.
        latency_ms: of that look, in milliseconds, with the time its signature waited for a session.
        error: what was wrong, if anything.
    """

    key: str
    healthy: bool
    last_ok_at: datetime | None = None
    latency_ms: float | None = None
    error: str | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "key": self.key,
            "healthy": self.healthy,
            "last_ok_at": None if self.last_ok_at is None else self.last_ok_at.isoformat(),
            "latency_ms": None if self.latency_ms is None else round(self.latency_ms, 3),
            "error": self.error,
        }


class Signing(Protocol):
    """What a `SessionPool` does, as far as it is needed here."""

    async def sign_many(
        self, messages: Sequence[bytes], *, key: KeyReference, algorithm: SignatureAlgorithm, lane: Lane
    ) -> list[bytes | TokenError]:
        """Sign messages; one outcome each."""
        ...


def watched_keys(context: AuthorityContext) -> list[WatchedKey]:
    """Return the keys in use: the CA's, that of the OCSP responder in charge, of the audit log, and for operations.

    Raises:
        StoreError: the record cannot be read.
    """
    authority = context.authority
    with context.store.read() as connection:
        responders = ocsp_responders(connection, authority.issuer.algorithm)
    responder = responder_in_charge(responders, context.clock.now())
    return [
        WatchedKey(authority.ca, None),
        WatchedKey(authority.ocsp if responder is None else responder.role, authority.issuer.algorithm),
        WatchedKey(authority.audit, AUTHORITY_ALGORITHM),
        WatchedKey(authority.operations, AUTHORITY_ALGORITHM),
    ]


def message_to_test(key: str, now: datetime) -> bytes:
    """Return what a key signs to show that it can.

    It begins with a letter: no DER of ours does, so that it is neither a response, a CRL nor attributes of CMS.
    """
    lines = ("sealmint test signature", f"key {key}", f"time {now.astimezone(UTC).isoformat()}")
    return "\n".join((*lines, f"nonce {secrets.token_hex(NONCE_OCTETS)}\n")).encode()


async def prove_by_signature(
    key: WatchedKey, algorithm: SignatureAlgorithm, pool: Signing, journal: DigestJournal, now: datetime
) -> None:
    """Have a key make a test signature, and verify it with its certificate.

    Args:
        key: one that may.
        algorithm: how.
        pool: opened with the key.
        journal: accounts for the signature before it is made.
        now: the time.

    Raises:
        StoreError: it could not be accounted for, so it was not made.
        TokenError: the token did not make it.
        Overloaded: too much waits for the token.
        SignatureInvalid: it does not verify.
    """
    message = message_to_test(key.label, now)
    journal.add([hashlib.new(algorithm.hash_name, message).digest()])
    # With the few signatures that the authority makes for itself: before bulk work, after what somebody waits for.
    (outcome,) = await pool.sign_many([message], key=key.role.key, algorithm=algorithm, lane=Lane.CRL)
    if isinstance(outcome, TokenError):
        raise outcome
    verifier(key.role.public_key, algorithm)(message, outcome)
