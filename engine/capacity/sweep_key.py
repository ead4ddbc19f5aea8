"""The key of a sweep: made in the token for it, destroyed after it, and every signature of it accounted for.

The audit record has the key's making, before each slice the words and the number of messages that may be signed, after
it how many were, and the key's destruction. A sweep that was killed leaves its key; the next one destroys it, if this
home's record names it: the sweep of another host on the same token keeps its own.

What is signed begins with the letter s, so it is no DER structure: no certificate, no CRL, no answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from sqlalchemy import select

from engine.algorithms import SignatureAlgorithm
from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.context import AuthorityContext
from engine.authority.signing import AUTHORITY_ALGORITHM
from engine.capacity.points import Shape
from engine.errors import ConfigurationInvalid
from engine.pkcs11.key_destruction import destroy_key_pairs, key_labels
from engine.pkcs11.keys import KeyReference, KeyType, generate_key_pair
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token
from engine.store.schema import audit_record

LABEL_PREFIX = "sealmint-sweep-"
"""What the labels of these keys begin with; nobody else may name a key so."""

CA_KEY_RULE = "the CA key signs certificates and CRLs, nothing else (CPS 6.1.9)"


@dataclass(frozen=True, slots=True)
class SweepKey:
    """With what a sweep signs.

    Attributes:
        label: the key's label in the token.
        algorithm: the signature algorithm.
        nonce: what the sweep is called in the audit record; in every message that it signs.
        own: whether the key was made for the sweep.
    """

    label: str
    algorithm: SignatureAlgorithm
    nonce: str
    own: bool

    def text(self, number: int, worker: int) -> str:
        """Return what the messages of one process in one slice begin with."""
        return f"sealmint token sweep {self.nonce} slice {number} process {worker} message"


@contextmanager
def sweep_key(
    context: AuthorityContext, token: Token, pin: Pin, label: str | None, *, even_the_ca_key: bool
) -> Iterator[SweepKey]:
    """Give a sweep its key; one that was made for it is destroyed when the block ends, however it ends.

    Args:
        context: the home and its parts.
        token: the open token.
        pin: its PIN.
        label: a key that is there; None makes an RSA key pair of the CA key's size.
        even_the_ca_key: whether the CA key may be the one.

    Raises:
        ConfigurationInvalid: it is the CA key, and that was not allowed.
        TokenError: the token did not make the key, or did not destroy it.
        AuditFailed: it could not be recorded; nothing was made.
    """
    destroy_leftovers(context, token, pin)
    nonce = secrets.token_hex(8)
    if label is not None:
        key = _existing(context, label, nonce, even_the_ca_key=even_the_ca_key)
        _record(
            context, Event.TOKEN_SWEPT, {"nonce": nonce, "key": label, "even_the_ca_key": even_the_ca_key}
        )
        yield key
        return
    key = SweepKey(f"{LABEL_PREFIX}{nonce}", AUTHORITY_ALGORITHM, nonce, own=True)
    # Before the key is made: whoever finds it in the token knows from the record that it may go.
    _record(context, Event.TOKEN_SWEPT, {"nonce": nonce, "key": key.label, "own": True})
    try:
        _make(context, token, pin, key.label)
        yield key
    finally:
        _destroy(context, token, pin, key.label)


def _make(context: AuthorityContext, token: Token, pin: Pin, label: str) -> None:
    ca = load_der_public_key(context.authority.ca.public_key)
    # A CA key on a curve is not in the CPS (6.1.5); what a sweep says is then for RSA-2048.
    key_type = KeyType(f"rsa-{ca.key_size}") if isinstance(ca, RSAPublicKey) else KeyType.RSA_2048
    public_key = generate_key_pair(token, pin, KeyReference(label), key_type)
    body = {"label": label, "type": key_type.value, "public_key": public_key.hex(), "purpose": "token sweep"}
    _record(context, Event.KEY_GENERATED, body)


def destroy_leftovers(context: AuthorityContext, token: Token, pin: Pin) -> list[str]:
    """Destroy the keys of this home's sweeps that were killed, and return their labels.

    Raises:
        TokenError: the token did not do it.
    """
    labels = [label for label in key_labels(token, pin, LABEL_PREFIX) if _is_ours(context, label)]
    for label in labels:
        _destroy(context, token, pin, label)
    return labels


def announce(context: AuthorityContext, key: SweepKey, number: int, shape: Shape, each: int) -> None:
    """Record what a slice may sign, before it does: so many messages of every process.

    Raises:
        AuditFailed: it could not be recorded; then nothing may be signed.
    """
    _record(
        context,
        Event.TOKEN_SWEPT,
        {
            "nonce": key.nonce,
            "key": key.label,
            "slice": number,
            "workers": shape.workers,
            "sessions": shape.sessions,
            "batch": shape.batch,
            "announced_each": each,
        },
    )


def account(context: AuthorityContext, key: SweepKey, number: int, signed: list[int | None]) -> None:
    """Record what a slice signed: the messages of each process; None where it ended without a word.

    Raises:
        AuditFailed: it could not be recorded.
    """
    _record(context, Event.TOKEN_SWEPT, {"nonce": key.nonce, "slice": number, "signed": signed})


def _existing(context: AuthorityContext, label: str, nonce: str, *, even_the_ca_key: bool) -> SweepKey:
    keys = context.configuration.keys
    is_ca = label in (keys.ca, context.authority.ca.key.label)
    if is_ca and not even_the_ca_key:
        raise ConfigurationInvalid("the sweep does not sign with the CA key", value=label, rule=CA_KEY_RULE)
    algorithm = context.configuration.x509.signature_algorithm if is_ca else AUTHORITY_ALGORITHM
    return SweepKey(label, algorithm, nonce, own=False)


def _destroy(context: AuthorityContext, token: Token, pin: Pin, label: str) -> None:
    destroy_key_pairs(token, pin, [label])
    _record(context, Event.KEY_DESTROYED, {"label": label, "purpose": "token sweep"})


def _is_ours(context: AuthorityContext, label: str) -> bool:
    named = select(audit_record.c.sequence).where(
        audit_record.c.event == Event.TOKEN_SWEPT.record_name, audit_record.c.body.contains(label)
    )
    with context.store.read() as connection:
        return connection.execute(named.limit(1)).first() is not None


def _record(context: AuthorityContext, event: Event, body: Mapping[str, object]) -> None:
    with context.store.write() as connection:
        append_record(connection, context.clock, event, actor=context.actor, body=body)
