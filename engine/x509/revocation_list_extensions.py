"""Extensions of certificate lists and of their entries (RFC 5280 sections 5.2 and 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from engine.x509 import der

CRL_EXTENSIONS = MappingProxyType(
    {  # RFC 5280 sections 5.2 and 5.3; expiredCertsOnCRL: X.509 (2019) section 9.5.2.5
        "cRLNumber": "2.5.29.20",
        "reasonCode": "2.5.29.21",
        "invalidityDate": "2.5.29.24",
        "deltaCRLIndicator": "2.5.29.27",
        "issuingDistributionPoint": "2.5.29.28",
        "authorityKeyIdentifier": "2.5.29.35",
        "freshestCRL": "2.5.29.46",
        "expiredCertsOnCRL": "2.5.29.60",
    }
)

_CRITICAL = frozenset({"deltaCRLIndicator", "issuingDistributionPoint"})
_ENUMERATED = 0x0A
_UNSPECIFIED = 0
"""The reason that is said by leaving reasonCode out (RFC 5280 section 5.3.1)."""


@dataclass(frozen=True, slots=True)
class ListExtensions:
    """What the extensions of a certificate list say.

    Attributes:
        authority_key_identifier: subjectKeyIdentifier of the CA certificate (section 5.2.1).
        number: cRLNumber (section 5.2.3).
        base_number: BaseCRLNumber of a delta CRL (section 5.2.4); None: not a delta.
        distribution_point: the URI of issuingDistributionPoint (section 5.2.5); None: the whole of the issuer's name.
        freshest: the URI of the delta CRL (section 5.2.6); None: there is none.
        expired_since: certificates that expired from then on stay listed, in seconds since the epoch; None: they go.
    """

    authority_key_identifier: bytes
    number: int
    base_number: int | None = None
    distribution_point: str | None = None
    freshest: str | None = None
    expired_since: int | None = None


def encode_list_extensions(extensions: ListExtensions) -> bytes:
    """Encode crlExtensions, with its context tag [0] (RFC 5280 section 5.1.2.7)."""
    identifier = der.context(0, extensions.authority_key_identifier, constructed=False)
    encoded = [
        _extension("authorityKeyIdentifier", der.sequence(identifier)),
        _extension("cRLNumber", der.integer(extensions.number)),
    ]
    if extensions.base_number is not None:
        encoded.append(_extension("deltaCRLIndicator", der.integer(extensions.base_number)))
    if extensions.distribution_point is not None:
        point = der.sequence(_point_name(extensions.distribution_point))
        encoded.append(_extension("issuingDistributionPoint", point))
    if extensions.freshest is not None:
        points = der.sequence(der.sequence(_point_name(extensions.freshest)))
        encoded.append(_extension("freshestCRL", points))
    if extensions.expired_since is not None:
        encoded.append(_extension("expiredCertsOnCRL", _generalized_time(extensions.expired_since)))
    return der.context(0, der.sequence(*encoded))


def encode_entry_extensions(reason: int, invalidity: int | None) -> bytes:
    """Encode crlEntryExtensions, or nothing where an entry has none.

    Args:
        reason: a CRLReason (RFC 5280 section 5.3.1).
        invalidity: invalidityDate in seconds since the epoch (section 5.3.2).
    """
    encoded = b""
    if reason != _UNSPECIFIED:
        encoded += _extension("reasonCode", der.element(_ENUMERATED, bytes((reason,))))
    if invalidity is not None:
        encoded += _extension("invalidityDate", _generalized_time(invalidity))
    return der.sequence(encoded) if encoded else b""


def _extension(name: str, value: bytes) -> bytes:
    critical = der.boolean(True) if name in _CRITICAL else b""  # DEFAULT FALSE is not encoded: X.690 11.5
    return der.sequence(der.object_identifier(CRL_EXTENSIONS[name]), critical, der.octet_string(value))


def _point_name(uri: str) -> bytes:
    """DistributionPointName with one URI as fullName, in the [0] of a distribution point (RFC 5280 4.2.1.13)."""
    return der.context(0, der.context(0, der.context(6, uri.encode("ascii"), constructed=False)))


def _generalized_time(seconds: int) -> bytes:
    moment = datetime.fromtimestamp(seconds, UTC)
    return der.element(der.GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode("ascii"))
