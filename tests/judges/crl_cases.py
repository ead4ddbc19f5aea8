"""What CRLs may say about a certificate, right and wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cryptography import x509

from tests.judges.toy_authority import HOUR, NOW, ToyAuthority
from tests.judges.toy_crl import authorities_scope, crl, partition_scope

_KEY, _HOLD, _REMOVED = (
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.certificate_hold,
    x509.ReasonFlags.remove_from_crl,
)
OTHERS = {2**100 + number: x509.ReasonFlags.superseded for number in range(3)}
"""Entries of other certificates."""
BASE = 2026010100


@dataclass(frozen=True)
class CrlPlace:
    """What a case is about: the certificate, where its CRLs are, and what a bad one wants to be believed."""

    toy: ToyAuthority
    serial: int
    partition: str
    """The URI of its partition's CRL."""
    delta: str
    claim: str = "good"

    def listed(self, reason: x509.ReasonFlags) -> Mapping[int, x509.ReasonFlags]:
        return OTHERS | {self.serial: reason}

    @property
    def claimed(self) -> Mapping[int, x509.ReasonFlags]:
        return OTHERS if self.claim == "good" else self.listed(_KEY)


@dataclass(frozen=True)
class CrlCase:
    """A way to list a certificate.

    Args:
        make: the CRL, or the base CRL and its delta.
        complete: it stands for the CRL without a scope, not for the partition's.
        delta: the certificate and the CRLs announce deltas.
        bad: a careful relying party heeds none of these CRLs, or not the delta.
    """

    make: Callable[[CrlPlace], list[bytes]]
    complete: bool = False
    delta: bool = False
    bad: bool = False


def _partition(entries: Mapping[int, x509.ReasonFlags], at: CrlPlace, **changes: object) -> list[bytes]:
    scope = partition_scope(at.partition)
    return [crl(at.toy.ca, entries, **({"scope": scope} | changes))]  # type: ignore[arg-type] # its arguments


def _bad_partition(**changes: object) -> CrlCase:
    return CrlCase(lambda at: _partition(at.claimed, at, **changes), bad=True)


def _bad_complete(**changes: object) -> CrlCase:
    return CrlCase(
        lambda at: [crl(at.toy.ca, at.claimed, **changes)],  # type: ignore[arg-type] # its arguments
        complete=True,
        bad=True,
    )


def _with_delta(
    at: CrlPlace,
    base: Mapping[int, x509.ReasonFlags],
    delta: Mapping[int, x509.ReasonFlags],
    starts: int = BASE,
    spoil: bool = False,
) -> list[bytes]:
    scope = partition_scope(at.partition)
    later = NOW - HOUR / 2
    return [
        crl(at.toy.ca, base, scope=scope, number=BASE, freshest=at.delta),
        crl(at.toy.ca, delta, scope=scope, number=BASE + 2, base=starts, this_update=later, spoil=spoil),
    ]


def _bad_delta(starts: int = BASE, spoil: bool = False) -> CrlCase:
    """A delta that says the opposite of its base."""

    def make(at: CrlPlace) -> list[bytes]:
        if at.claim == "good":
            return _with_delta(at, at.listed(_HOLD), {at.serial: _REMOVED}, starts, spoil)
        return _with_delta(at, OTHERS, {at.serial: _KEY}, starts, spoil)

    return CrlCase(make, delta=True, bad=True)


_STALE = {"this_update": NOW - 3 * HOUR, "next_update": NOW - HOUR}
_FUTURE = {"this_update": NOW + HOUR, "next_update": NOW + 3 * HOUR}
_STRANGE = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.25.1"), b"\x05\x00")

CRL_CASES = {
    "partition: not listed": CrlCase(lambda at: _partition(OTHERS, at)),
    "partition: revoked": CrlCase(lambda at: _partition(at.listed(_KEY), at)),
    "partition: suspended": CrlCase(lambda at: _partition(at.listed(_HOLD), at)),
    "partition: empty": CrlCase(lambda at: _partition({}, at)),
    "partition: tampered signature": _bad_partition(spoil=True),
    "partition: a CA of the same name": CrlCase(
        lambda at: [crl(at.toy.impostor, at.claimed, scope=partition_scope(at.partition))], bad=True
    ),
    "partition: expired": _bad_partition(**_STALE),
    "partition: from the future": _bad_partition(**_FUTURE),
    "partition: scope of another": CrlCase(
        lambda at: _partition(at.claimed, at, scope=partition_scope(at.partition + "x")), bad=True
    ),
    "partition: scope without subscribers": _bad_partition(scope=authorities_scope()),
    "partition: unknown critical extension": _bad_partition(more=(_STRANGE, True)),
    "complete: not listed": CrlCase(lambda at: [crl(at.toy.ca, OTHERS)], complete=True),
    "complete: revoked": CrlCase(lambda at: [crl(at.toy.ca, at.listed(_KEY))], complete=True),
    "complete: suspended": CrlCase(lambda at: [crl(at.toy.ca, at.listed(_HOLD))], complete=True),
    "complete: tampered signature": _bad_complete(spoil=True),
    "complete: a CA of the same name": CrlCase(
        lambda at: [crl(at.toy.impostor, at.claimed)], complete=True, bad=True
    ),
    "complete: expired": _bad_complete(**_STALE),
    "complete: from the future": _bad_complete(**_FUTURE),
    "complete: unknown critical extension": _bad_complete(more=(_STRANGE, True)),
    "delta: revoked since": CrlCase(lambda at: _with_delta(at, OTHERS, {at.serial: _KEY}), delta=True),
    "delta: resumed since": CrlCase(
        lambda at: _with_delta(at, at.listed(_HOLD), {at.serial: _REMOVED}), delta=True
    ),
    "delta: tampered signature": _bad_delta(spoil=True),
    "delta: to a later base": _bad_delta(starts=BASE + 1),
    "delta: without its base": CrlCase(
        lambda at: _with_delta(at, OTHERS, at.claimed)[1:], delta=True, bad=True
    ),
}
"""By name, as in the README's table."""
