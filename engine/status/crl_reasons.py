"""CRLReason (RFC 5280 section 5.3.1): why a certificate is revoked or held."""

from __future__ import annotations

from enum import IntEnum

from engine.errors import InputRejected


class CrlReason(IntEnum):
    """The reasons, with their numbers and in the RFC's spelling; 7 is not used."""

    unspecified = 0
    keyCompromise = 1
    cACompromise = 2
    affiliationChanged = 3
    superseded = 4
    cessationOfOperation = 5
    certificateHold = 6
    removeFromCRL = 8
    privilegeWithdrawn = 9
    aACompromise = 10


REVOKING = tuple(
    reason for reason in CrlReason if reason not in (CrlReason.certificateHold, CrlReason.removeFromCRL)
)
"""What a revocation may be stated under: a hold is no revocation, and removeFromCRL stands only in delta CRLs.
`unspecified` is written as no reason at all, as section 5.3.1 asks."""


def reason_named(name: str) -> CrlReason:
    """Return the reason of a name as RFC 5280 spells it.

    Raises:
        InputRejected: there is none of that name, or no revocation may have it.
    """
    for reason in REVOKING:
        if reason.name == name:
            return reason
    raise InputRejected(
        "no reason that a revocation may have",
        place="reason",
        value=name,
        rule="RFC 5280 section 5.3.1: " + ", ".join(reason.name for reason in REVOKING),
    )
