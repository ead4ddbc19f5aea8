"""OCSP requests written out field by field, so that a test can bend each of them."""

from __future__ import annotations

from collections.abc import Sequence

from engine.x509 import der
from engine.x509.ocsp_response import IssuerNames, hash_algorithm

NONCE = "1.3.6.1.5.5.7.48.1.2"
ACCEPTABLE_RESPONSES = "1.3.6.1.5.5.7.48.1.4"
SERVICE_LOCATOR = "1.3.6.1.5.5.7.48.1.7"
PREFERRED_ALGORITHMS = "1.3.6.1.5.5.7.48.1.8"

ISSUER = IssuerNames(der.sequence(), b"key of an issuer")
SERIAL = bytes.fromhex("41" + "5a" * 15)


def certificate_id(
    issuer: IssuerNames = ISSUER, serial: bytes = SERIAL, hash_name: str = "sha1", *, parameters: bool = True
) -> bytes:
    algorithm = hash_algorithm(hash_name)
    name_hash, key_hash = issuer.hashes(hash_name)
    return der.sequence(
        algorithm if parameters else der.sequence(algorithm[2:-2]),
        der.octet_string(name_hash),
        der.octet_string(key_hash),
        der.element(der.INTEGER, serial),
    )


def extension(dotted: str, value: bytes, *, critical: bool | None = None) -> bytes:
    """An Extension; `critical` None leaves the default out, False spells it out, which is not DER."""
    spelled = b"" if critical is None else der.boolean(critical)
    return der.sequence(der.object_identifier(dotted), spelled, der.octet_string(value))


def nonce(octets: bytes, *, critical: bool | None = None) -> bytes:
    return extension(NONCE, der.octet_string(octets), critical=critical)


def preferred(*algorithms: bytes) -> bytes:
    """The preferred signature algorithms extension, of AlgorithmIdentifiers."""
    return extension(PREFERRED_ALGORITHMS, der.sequence(*(der.sequence(one) for one in algorithms)))


def single(asked: bytes, extensions: Sequence[bytes] = ()) -> bytes:
    return der.sequence(asked, der.context(0, der.sequence(*extensions)) if extensions else b"")


def request(
    *singles: bytes,
    extensions: Sequence[bytes] | None = None,
    version: bytes = b"",
    requestor: bytes = b"",
    signature: bytes = b"",
) -> bytes:
    """An OCSPRequest; what is empty is left out."""
    tbs = der.sequence(
        der.context(0, version) if version else b"",
        der.context(1, requestor) if requestor else b"",
        der.sequence(*singles),
        b"" if extensions is None else der.context(2, der.sequence(*extensions)),
    )
    return der.sequence(tbs, der.context(0, signature) if signature else b"")


def plain(serial: bytes = SERIAL, issuer: IssuerNames = ISSUER, hash_name: str = "sha1") -> bytes:
    """What most clients send: one certificate, nothing else."""
    return request(single(certificate_id(issuer, serial, hash_name)))
