"""Who asks for what: the acts, on whose behalf they are done, and what each of those may name (choice 10)."""

from __future__ import annotations

from enum import Enum


class Verb(Enum):
    """What is done; the value is the command's word and what the store keeps."""

    ACCEPT = "accept"
    SUSPEND = "suspend"
    RESUME = "resume"
    REVOKE = "revoke"


class Origin(Enum):
    """On whose behalf it is done (choice 10); the value is what the store keeps."""

    SUBSCRIBER = "subscriber"  # online, or on paper for a revocation
    COUNTER = "counter"  # an emergency at a registration counter (CPS 4.4.7)
    AUTHORITY = "authority"  # registering or competent authority, triggered by the register systems
    JUDICIAL = "judicial"  # judicial, control (監察) or law-enforcement body
    NON_ACCEPTANCE = "non-acceptance"  # the 18 months of CPS 4.4.5(4), (5)
    CA = "ca"  # the CA by itself (CPS 4.4.1); it revokes and never holds


class Scope(Enum):
    """What an act names, and so what it touches; the value is what the store keeps."""

    CERTIFICATE = "certificate"
    CARD = "card"
    ENTITY = "entity"  # all unexpired certificates of everyone with this 統一編號


SCOPES: dict[Origin, tuple[tuple[Scope, ...], str]] = {
    Origin.SUBSCRIBER: (
        (Scope.CERTIFICATE, Scope.CARD),
        "CPS 4.4.3, 4.4.7: a subscriber's act leaves his other certificates alone",
    ),
    Origin.COUNTER: (
        (Scope.CERTIFICATE, Scope.CARD),
        "CPS 4.4.7: a counter acts for the cardholder, on that card",
    ),
    Origin.AUTHORITY: (
        (Scope.ENTITY,),
        "CPS 4.4.2(2), 4.4.3, 4.4.6(2), 4.4.7: an authority's act touches all unexpired certificates of the entity",
    ),
    Origin.JUDICIAL: (tuple(Scope), "CPS 4.4.1(8), 4.4.5(3)"),
    Origin.NON_ACCEPTANCE: (
        (Scope.CERTIFICATE, Scope.CARD),
        "CPS 4.4.9: the application names the card or the certificate",
    ),
    Origin.CA: (tuple(Scope), "CPS 4.4.1"),
}
"""What each origin may name, and the clause that says so."""

NAMES_ITS_BODY = frozenset({Origin.AUTHORITY, Origin.JUDICIAL})
"""Origins that are many bodies: each lifts only its own hold, and each asks by an official document."""
