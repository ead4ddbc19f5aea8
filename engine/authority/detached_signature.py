"""Detached CMS SignedData over a file (RFC 5652): what signs a manifest and what checks one.

One signer, RSA PKCS#1 v1.5, no content inside, and the signed attributes contentType, messageDigest and
signingTime. The signer is pinned: its whole certificate is known beforehand, so no path is built and nothing that
the signature carries along can make it trusted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from asn1crypto import algos, cms, core
from asn1crypto import x509 as asn1_x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from engine.errors import ConfigurationInvalid, SignatureInvalid

Sign = Callable[[bytes], Awaitable[bytes]]
"""Signs the bytes it is given with RSA PKCS#1 v1.5 and SHA-256; hashing is part of it."""

FIRST_GENERALIZED_YEAR = 2050
"""From this year on a signingTime is a GeneralizedTime, before it a UTCTime (RFC 5652 section 11.3)."""

HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
"""The digests accepted (RFC 5754 section 2); SHA-1 and SHA-224 are not."""


class _SignerInfo(NamedTuple):
    """The parts of a SignedData that decide, read and complete (RFC 5652 section 5)."""

    identifier: tuple[str, bytes]
    embedded: tuple[bytes, ...]
    digest: str
    attributes: bytes
    message_digest: bytes
    signing_time: datetime
    signature: bytes


async def sign_detached(
    content: bytes, *, certificate: bytes, chain: Sequence[bytes], signing_time: datetime, sign: Sign
) -> bytes:
    """Sign a content and return the detached SignedData in DER.

    The result is verified before it is returned. If cancelled, nothing is left behind but, perhaps, a signature
    that the token made and nobody received.

    Args:
        content: the bytes to sign; they do not become part of the result.
        certificate: the signer's certificate, DER; an RSA key that is no CA's (CPS 6.1.9).
        chain: further certificates to send along, DER, such as the issuer's.
        signing_time: an aware time, used to the second.
        sign: signs with the certificate's key.

    Raises:
        ConfigurationInvalid: the certificate cannot be read or is a CA's.
        SignatureInvalid: what `sign` returned does not verify, or the certificate is not valid at that time.
        TokenError: whatever `sign` raises.
    """
    signer = _load_certificate(certificate)
    key_usage = signer.key_usage_value
    if key_usage is not None and "key_cert_sign" in key_usage.native:
        raise ConfigurationInvalid(
            "the certificate for signing files is a CA certificate",
            value=signer.subject.human_friendly,
            rule="CPS 6.1.9: the CA key signs certificates and CRLs and nothing else",
        )
    attributes = _signed_attributes(content, signing_time.astimezone(UTC))
    signature = await sign(attributes.dump())
    signed = _signed_data(signer, [certificate, *chain], attributes, signature)
    verify_detached(content, signed, [certificate])
    return signed


def verify_detached(content: bytes, signature: bytes, trusted: Sequence[bytes]) -> bytes:
    """Verify a detached signature and return the certificate of its signer, DER.

    Args:
        content: the bytes that were signed.
        signature: a DER SignedData as `sign_detached` or `openssl cms -sign -binary -outform DER` makes it.
        trusted: the DER certificates whose keys may sign; one of them must be the signer's, byte for byte.

    Raises:
        SignatureInvalid: the signature is malformed or does not hold; the error names the rule.
        ConfigurationInvalid: a trusted certificate cannot be read.
    """
    signer_info = _read_signer_info(signature)
    if signer_info.message_digest != hashlib.new(signer_info.digest, content).digest():
        raise SignatureInvalid(
            "the content is not what was signed", rule="messageDigest, RFC 5652 section 11.2"
        )
    certificate = _pinned_certificate(signer_info, trusted)
    _check_certificate(certificate, signer_info.signing_time)
    _check_signature(certificate, signer_info)
    return bytes(certificate.dump())


def _signed_attributes(content: bytes, signing_time: datetime) -> Any:
    """Build the signed attributes; their DER is a sorted SET OF (RFC 5652 sections 5.3 and 11)."""
    name = "utc_time" if signing_time.year < FIRST_GENERALIZED_YEAR else "generalized_time"
    time = cms.Time(name=name, value=signing_time.replace(microsecond=0))
    return cms.CMSAttributes(
        [
            cms.CMSAttribute({"type": "content_type", "values": ["data"]}),
            cms.CMSAttribute({"type": "message_digest", "values": [hashlib.sha256(content).digest()]}),
            cms.CMSAttribute({"type": "signing_time", "values": [time]}),
        ]
    )


def _signed_data(signer: Any, certificates: Sequence[bytes], attributes: Any, signature: bytes) -> bytes:
    """Assemble the SignedData around a signature (RFC 5652 section 5.1)."""
    sha256 = algos.DigestAlgorithm({"algorithm": "sha256"})
    issuer_and_serial_number = cms.IssuerAndSerialNumber(
        {"issuer": signer.issuer, "serial_number": signer.serial_number}
    )
    signer_info = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier("issuer_and_serial_number", issuer_and_serial_number),
            "digest_algorithm": sha256,
            "signed_attrs": attributes,
            # rsaEncryption, not sha256WithRSAEncryption: every reader must know it (RFC 5754 section 3.2).
            "signature_algorithm": {"algorithm": "rsassa_pkcs1v15"},
            "signature": signature,
        }
    )
    signed_data = cms.SignedData(
        {
            "version": "v1",
            "digest_algorithms": [sha256],
            "encap_content_info": {"content_type": "data"},
            "certificates": [asn1_x509.Certificate.load(each) for each in dict.fromkeys(certificates)],
            "signer_infos": [signer_info],
        }
    )
    return bytes(cms.ContentInfo({"content_type": "signed_data", "content": signed_data}).dump())


def _read_signer_info(signature: bytes) -> _SignerInfo:
    """Read a detached SignedData with one signer, or refuse it."""
    try:
        content_info = cms.ContentInfo.load(signature, strict=True)
        if content_info["content_type"].native != "signed_data":
            raise SignatureInvalid("not a CMS SignedData", rule="RFC 5652 section 5.1")
        signed_data = content_info["content"]
        if content_info.dump(force=True) != signature:
            raise SignatureInvalid("the SignedData is not DER", rule="X.690 section 10")
        return _signer_info_of(signed_data)
    except SignatureInvalid:
        raise
    except Exception as error:  # asn1crypto parses late and names no closed set of exceptions for bad input
        raise SignatureInvalid("the signature cannot be read", rule="RFC 5652 section 5") from error


def _signer_info_of(signed_data: Any) -> _SignerInfo:
    """Read the parts that decide; any exception of asn1crypto may come out of it."""
    encapsulated = signed_data["encap_content_info"]
    if encapsulated["content_type"].native != "data" or not isinstance(encapsulated["content"], core.Void):
        raise SignatureInvalid("the signature is not detached", rule="RFC 5652 section 5.2")
    signer_infos = signed_data["signer_infos"]
    if len(signer_infos) != 1:
        raise SignatureInvalid(
            "there must be one signer", value=len(signer_infos), rule="RFC 5652 section 5.1"
        )
    signer_info = signer_infos[0]
    attributes = signer_info["signed_attrs"]
    if _attribute(attributes, "content_type").native != "data":
        raise SignatureInvalid("contentType names another content", rule="RFC 5652 section 11.1")
    return _SignerInfo(
        identifier=_signer_identifier(signed_data),
        embedded=tuple(each.chosen.dump() for each in signed_data["certificates"]),
        digest=_digest_algorithm(signed_data),
        attributes=attributes.untag().dump(),
        message_digest=_attribute(attributes, "message_digest").native,
        signing_time=_attribute(attributes, "signing_time").native,
        signature=signer_info["signature"].native,
    )


def _digest_algorithm(signed_data: Any) -> str:
    """Return the name of the digest, after checking that it and the signature algorithm are accepted."""
    signer_info = signed_data["signer_infos"][0]
    digest = str(signer_info["digest_algorithm"]["algorithm"].native)
    listed = [each["algorithm"].native for each in signed_data["digest_algorithms"]]
    if digest not in HASHES or digest not in listed:
        raise SignatureInvalid(
            "the digest algorithm is not accepted", value=digest, rule="RFC 5754 section 2"
        )
    algorithm = signer_info["signature_algorithm"]["algorithm"].native
    if algorithm not in ("rsassa_pkcs1v15", f"{digest}_rsa"):
        raise SignatureInvalid(
            "the signature algorithm is not accepted", value=algorithm, rule="RFC 5754 section 3.2"
        )
    return digest


def _attribute(attributes: Any, name: str) -> Any:
    """Return the only value of the only attribute of that name (RFC 5652 section 11)."""
    found = [each["values"] for each in attributes if each["type"].native == name]
    if len(found) != 1 or len(found[0]) != 1:
        raise SignatureInvalid(f"there must be one signed attribute {name}", rule="RFC 5652 section 11")
    return found[0][0]


def _signer_identifier(signed_data: Any) -> tuple[str, bytes]:
    """Return the kind and the value of the signer identifier, after checking the versions that go with it."""
    signer_info = signed_data["signer_infos"][0]
    identifier = signer_info["sid"]
    version = {"issuer_and_serial_number": "v1", "subject_key_identifier": "v3"}[identifier.name]
    if signer_info["version"].native != version or signed_data["version"].native != version:
        raise SignatureInvalid(
            "the versions do not fit the signer identifier", rule="RFC 5652 sections 5.1, 5.3"
        )
    chosen = identifier.chosen
    return identifier.name, chosen.dump() if version == "v1" else chosen.native


def _identifies(identifier: tuple[str, bytes], certificate: Any) -> bool:
    """Whether a signer identifier names the certificate (RFC 5652 section 5.3)."""
    name, value = identifier
    if name == "subject_key_identifier":
        return bool(certificate.key_identifier == value)
    issuer_and_serial_number = cms.IssuerAndSerialNumber(
        {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
    )
    return bool(issuer_and_serial_number.dump() == value)


def _pinned_certificate(signer_info: _SignerInfo, trusted: Sequence[bytes]) -> Any:
    """Return the trusted certificate that the signer identifier names.

    If the signature carries certificates, the trusted one must be among them unchanged.
    """
    for each in trusted:
        certificate = _load_certificate(each)
        if _identifies(signer_info.identifier, certificate) and (
            not signer_info.embedded or each in signer_info.embedded
        ):
            return certificate
    raise SignatureInvalid(
        "the signer is none of the trusted ones",
        rule="the signer's certificate is one of the trusted certificates, byte for byte",
    )


def _load_certificate(certificate: bytes) -> Any:
    """Parse a certificate that the configuration names, completely."""
    try:
        loaded = asn1_x509.Certificate.load(certificate, strict=True)
        _ = loaded.native  # asn1crypto parses late; this finds every defect now
    except Exception as error:  # asn1crypto names no closed set of exceptions for bad input
        raise ConfigurationInvalid("a certificate cannot be read", rule="RFC 5280 section 4.1") from error
    return loaded


def _check_certificate(certificate: Any, signing_time: datetime) -> None:
    """Check validity at the signing time and key usage (RFC 5280 sections 4.1.2.5 and 4.2.1.3)."""
    if not certificate.not_valid_before <= signing_time <= certificate.not_valid_after:
        raise SignatureInvalid(
            "the signer's certificate was not valid at the signing time",
            value=signing_time.isoformat(),
            rule="RFC 5280 section 4.1.2.5",
        )
    key_usage = certificate.key_usage_value
    if key_usage is not None and "digital_signature" not in key_usage.native:
        raise SignatureInvalid(
            "the signer's certificate is not for digital signatures",
            rule="keyUsage, RFC 5280 section 4.2.1.3",
        )


def _check_signature(certificate: Any, signer_info: _SignerInfo) -> None:
    """Verify the signature over the signed attributes (RFC 5652 section 5.6)."""
    try:
        key = load_der_public_key(certificate.public_key.dump())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationInvalid("the public key of a certificate cannot be read") from error
    if not isinstance(key, RSAPublicKey):
        raise SignatureInvalid("the signer's key is not an RSA key", rule="RFC 5754 section 3.2")
    try:
        key.verify(signer_info.signature, signer_info.attributes, PKCS1v15(), HASHES[signer_info.digest])
    except InvalidSignature as error:
        raise SignatureInvalid(
            "the signature does not verify with the signer's key", rule="RFC 5652 section 5.6"
        ) from error
