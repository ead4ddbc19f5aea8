"""A new OCSP responder in time: before the certificate of the one in charge ends, a new key and certificate take over.

Answers signed by the old one stay good: each names the certificate it needs, and the status store keeps both. The new
key is made in the token; the CA certifies it as it did the first one (RFC 6960 section 4.2.2.2).
"""

from __future__ import annotations

from datetime import timedelta

import trio

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.authority_issuance import AuthorityIssuance
from engine.authority.context import AuthorityContext
from engine.authority.ocsp_responders import OCSP_ROLE, ocsp_responders, responder_in_charge
from engine.errors import KeyMismatch
from engine.pkcs11.keys import KeyReference, KeyType, generate_key_pair, public_key_info
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import Token


def renewal_is_due(context: AuthorityContext) -> bool:
    """Return whether the responder in charge ends soon, or there is none that is valid.

    A responder cannot outlive its CA: where the newest one ends with the CA certificate already, nothing is due.
    """
    now = context.clock.now()
    with context.store.read() as connection:
        responders = ocsp_responders(connection, context.authority.issuer.algorithm)
    in_charge = responder_in_charge(responders, now)
    if in_charge is None:
        return now < context.authority.issuer.not_after
    ahead = timedelta(days=context.configuration.ocsp.certificate_renewal_days)
    return in_charge.not_after - now < ahead and in_charge.not_after < context.authority.issuer.not_after


async def renew_responder(context: AuthorityContext, token: Token, pin: Pin) -> str:
    """Make a new OCSP key in the token and certify it; return the new role.

    Args:
        context: the home.
        token: the open token.
        pin: its PIN.

    Raises:
        TokenError: the token refused.
        StoreError: the store did.

    Cancelled or killed at any point, it is finished by calling it again: a key that was made is taken.
    """
    with context.store.read() as connection:
        issued = ocsp_responders(connection, context.authority.issuer.algorithm)
    role = f"{OCSP_ROLE}-{len(issued) + 1}"
    await trio.to_thread.run_sync(_make_key, context, token, pin, role)
    issuance = AuthorityIssuance(
        context.home,
        context.configuration,
        context.store,
        context.clock,
        token,
        pin,
        context.actor,
        lambda step: None,
    )
    await issuance.issue_ocsp_responder(role)
    return role


def _make_key(context: AuthorityContext, token: Token, pin: Pin, label: str) -> None:
    try:
        public_key_info(token, pin, KeyReference(label))
    except KeyMismatch:
        public_key = generate_key_pair(token, pin, KeyReference(label), KeyType.RSA_2048)  # CPS 6.3.2.1
        with context.store.write() as connection:
            append_record(
                connection,
                context.clock,
                Event.KEY_GENERATED,
                actor=context.actor,
                body={"label": label, "type": "rsa-2048", "public_key": public_key.hex()},
            )
