"""CRLs of the toy authority: field by field, so that each can be wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.judges.toy_authority import HOUR, NOW, Holder


def crl(
    signer: Holder,
    entries: Mapping[int, x509.ReasonFlags],
    *,
    number: int = 2026010100,
    this_update: datetime = NOW - HOUR,
    next_update: datetime = NOW + 2 * HOUR,
    scope: x509.IssuingDistributionPoint | None = None,
    base: int | None = None,
    freshest: str | None = None,
    more: tuple[x509.ExtensionType, bool] | None = None,
    spoil: bool = False,
) -> bytes:
    """Sign a CRL.

    Args:
        signer: whose key signs; the CRL's issuer is its name.
        entries: serial number to reason.
        number: cRLNumber.
        this_update: since when it holds.
        next_update: until when it holds.
        scope: the issuing distribution point, critical; without it the CRL covers everything of its issuer.
        base: makes it a delta to the CRL of this number.
        freshest: where its deltas are.
        more: one more extension, and whether it is critical.
        spoil: turn one bit of the signature over.
    """
    builder = x509.CertificateRevocationListBuilder(
        signer.certificate.subject, this_update, next_update
    ).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), critical=False
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = [(x509.CRLNumber(number), False)]
    if base is not None:
        extensions.append((x509.DeltaCRLIndicator(base), True))
    if scope is not None:
        extensions.append((scope, True))
    if freshest is not None:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(freshest)], None, None, None)
        extensions.append((x509.FreshestCRL([point]), False))
    for extension, critical in [*extensions, *([more] if more else [])]:
        builder = builder.add_extension(extension, critical=critical)
    for serial, reason in entries.items():
        entry = x509.RevokedCertificateBuilder(serial, NOW - 3 * HOUR)
        builder = builder.add_revoked_certificate(
            entry.add_extension(x509.CRLReason(reason), critical=False).build()
        )
    encoded = bytearray(builder.sign(signer.key, SHA256()).public_bytes(Encoding.DER))
    encoded[-1] ^= spoil
    return bytes(encoded)


def partition_scope(uri: str) -> x509.IssuingDistributionPoint:
    """The scope of a partition CRL: the certificates whose distribution point has this URI."""
    return _scope(uri)


def authorities_scope() -> x509.IssuingDistributionPoint:
    """The scope of a CRL that has no subscribers in it (onlyContainsCACerts)."""
    return _scope(None, only_authorities=True)


def _scope(uri: str | None, only_authorities: bool = False) -> x509.IssuingDistributionPoint:
    return x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier(uri)] if uri else None,
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=only_authorities,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
