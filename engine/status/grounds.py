"""Grounds: on what, and on whose behalf, a certificate is accepted, held, resumed or revoked (CPS 4.3, 4.4).

The lists of CPS 4.4.1 and 4.4.5 as data, and the two ways in which 4.4.9 and choice 10 lift a hold.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.errors import InputRejected
from engine.kinds import Kind
from engine.status.crl_reasons import CrlReason
from engine.status.origins import Origin, Verb


@dataclass(frozen=True, slots=True)
class Ground:
    """Why an act is done.

    Attributes:
        verb: the act it is a ground for.
        name: what commands and files call it.
        clause: where the CPS has it.
        origins: who may use it; the first is meant where nobody is named.
        meaning: for help and documents.
        reason: the CRLReason it maps to where the act states no other; None where nothing is revoked.
        kinds: the kinds of certificate it is for; None for all.
    """

    verb: Verb
    name: str
    clause: str
    origins: tuple[Origin, ...]
    meaning: str
    reason: CrlReason | None = None
    kinds: frozenset[Kind] | None = None


_ACCEPTANCE = (
    Ground(
        Verb.ACCEPT,
        "content-confirmed",
        "4.3.1, 4.3.2",
        (Origin.SUBSCRIBER,),
        "the subscriber looked at the content, and gave (direct issuance: changed) his user code",
    ),
)

_SUSPENSION = (
    Ground(
        Verb.SUSPEND,
        "token-lost",
        "4.4.5 subscriber (1)",
        (Origin.SUBSCRIBER, Origin.COUNTER),
        "the token is lost, or its misuse suspected",
    ),
    Ground(
        Verb.SUSPEND,
        "own-judgement",
        "4.4.5 subscriber (2)",
        (Origin.SUBSCRIBER, Origin.COUNTER),
        "the subscriber finds it necessary",
    ),
    Ground(
        Verb.SUSPEND,
        "business-suspended",
        "4.4.5(1)",
        (Origin.AUTHORITY,),
        "the entity has suspended business (停業)",
    ),
    Ground(
        Verb.SUSPEND,
        "authority-notice",
        "4.4.5(2)",
        (Origin.AUTHORITY,),
        "notice of the registering or competent authority",
    ),
    Ground(
        Verb.SUSPEND,
        "judicial-notice",
        "4.4.5(3)",
        (Origin.JUDICIAL,),
        "notice of a judicial, control or law-enforcement body",
    ),
    Ground(
        Verb.SUSPEND,
        "not-accepted",
        "4.4.5(4), (5)",
        (Origin.NON_ACCEPTANCE,),
        "not accepted within 18 months; placed by the rule itself, never by hand",
    ),
)

_RESUMPTION = (
    Ground(
        Verb.RESUME,
        "subscriber-request",
        "4.4.9",
        (Origin.SUBSCRIBER,),
        "the subscriber takes back what he suspended online",
    ),
    Ground(
        Verb.RESUME,
        "counter-application",
        "choice 10",
        (Origin.COUNTER,),
        "an application at the counter, signed by its officer, lifts what a counter placed",
    ),
    Ground(
        Verb.RESUME,
        "cause-gone",
        "4.4.9",
        (Origin.AUTHORITY,),
        "the register shows that the authority's cause is gone",
    ),
    Ground(
        Verb.RESUME,
        "judicial-release",
        "choice 10",
        (Origin.JUDICIAL,),
        "notice of the body that had asked for the suspension",
    ),
    Ground(
        Verb.RESUME,
        "written-application",
        "4.4.9",
        (Origin.NON_ACCEPTANCE,),
        "a written application after 18 months without acceptance",
    ),
)

_REVOCATION = (
    Ground(
        Verb.REVOKE,
        "key-compromise",
        "4.4.1 subscriber (1)",
        (Origin.SUBSCRIBER,),
        "the private key is broken, or believed to be",
        CrlReason.keyCompromise,
    ),
    Ground(
        Verb.REVOKE,
        "not-needed",
        "4.4.1 subscriber (2)",
        (Origin.SUBSCRIBER,),
        "the certificate is no longer needed",
        CrlReason.cessationOfOperation,
    ),
    Ground(
        Verb.REVOKE,
        "content-untrue",
        "4.4.1(1)",
        (Origin.CA,),
        "what the certificate says is not true",
        CrlReason.privilegeWithdrawn,
    ),
    Ground(
        Verb.REVOKE,
        "key-misused",
        "4.4.1(2)",
        (Origin.CA,),
        "the subscriber's signing key was misused, forged or broken",
        CrlReason.keyCompromise,
    ),
    Ground(
        Verb.REVOKE,
        "ca-compromise",
        "4.4.1(3)",
        (Origin.CA,),
        "the CA's key or system was, so that certificates cannot be relied on",
        # X.509 means it for certificates of CAs; no other reason says that the fault is not the subscriber's.
        CrlReason.cACompromise,
    ),
    Ground(
        Verb.REVOKE,
        "entity-ended",
        "4.4.1(4)",
        (Origin.AUTHORITY,),
        "bankrupt, dissolved, merged away, closed, or the registration or recognition is at an end",
        CrlReason.cessationOfOperation,
    ),
    Ground(
        Verb.REVOKE,
        "name-changed",
        "4.4.1(5)",
        (Origin.AUTHORITY, Origin.CA),
        "another name or 統一編號; not: the county in a business's name was renamed",
        CrlReason.affiliationChanged,
    ),
    Ground(
        Verb.REVOKE,
        "wrongly-issued",
        "4.4.1(6)",
        (Origin.CA,),
        "not issued by the rules of the CPS",
        CrlReason.unspecified,
    ),
    Ground(
        Verb.REVOKE,
        "rules-broken",
        "4.4.1(7)",
        (Origin.CA,),
        "the subscriber broke the CPS or the law",
        CrlReason.privilegeWithdrawn,
    ),
    Ground(
        Verb.REVOKE,
        "judicial-notice",
        "4.4.1(8)",
        (Origin.JUDICIAL,),
        "notice of a judicial, control or law-enforcement body",
        CrlReason.unspecified,
    ),
    Ground(
        Verb.REVOKE,
        "authority-notice",
        "4.4.1(9)",
        (Origin.AUTHORITY,),
        "notice of the registering or competent authority",
        CrlReason.unspecified,
    ),
    Ground(
        Verb.REVOKE,
        "pre-check-lapsed",
        "4.4.1(10)",
        (Origin.CA,),
        "the pre-checked name is no longer good for a set-up",
        CrlReason.cessationOfOperation,
        frozenset({Kind.SETUP}),
    ),
    Ground(
        Verb.REVOKE,
        "service-ended",
        "4.4.1, 4.9",
        (Origin.CA,),
        "the CA ends its service",
        CrlReason.cessationOfOperation,
    ),
)

GROUNDS = (*_ACCEPTANCE, *_SUSPENSION, *_RESUMPTION, *_REVOCATION)
"""Every ground, in the order of the CPS's lists."""

ACCEPTED = "content-confirmed"
"""The ground of an acceptance: there is only one."""

NOT_ACCEPTED = "not-accepted"
"""The ground of the 18-month rule."""

_BY_NAME = {(ground.verb, ground.name): ground for ground in GROUNDS}


def ground_names(verb: Verb) -> str:
    """Return the names of an act's grounds, for help and for errors."""
    return ", ".join(ground.name for ground in GROUNDS if ground.verb is verb)


def find_ground(verb: Verb, name: str) -> Ground:
    """Return the ground of a name.

    Raises:
        InputRejected: this act has no such ground.
    """
    ground = _BY_NAME.get((verb, name))
    if ground is None:
        raise InputRejected(
            f"no ground on which certificates are {_DONE[verb]}" if name else "an act has a ground",
            place="ground",
            value=name or None,
            rule=f"CPS 4.3, 4.4: one of {ground_names(verb)}",
        )
    return ground


_DONE = {
    Verb.ACCEPT: "accepted",
    Verb.SUSPEND: "suspended",
    Verb.RESUME: "resumed",
    Verb.REVOKE: "revoked",
}
