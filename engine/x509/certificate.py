"""Certificates from a tbsCertificate and its signature, and the verification of one's own signatures."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key

from engine.algorithms import SignatureAlgorithm
from engine.errors import KeyMismatch, SignatureInvalid
from engine.x509 import der
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


def assemble(tbs: bytes, algorithm: SignatureAlgorithm, signature: bytes) -> bytes:
    """Put a Certificate together (RFC 5280 section 4.1).

    Args:
        tbs: the DER that was signed.
        algorithm: with what it was signed, as tbsCertificate.signature says.
        signature: the signature value: big-endian octets for RSA, DER Ecdsa-Sig-Value for ECDSA.
    """
    return der.sequence(tbs, ALGORITHM_IDENTIFIERS[algorithm], der.bit_string(signature))


def verifier(
    spki: bytes, algorithm: SignatureAlgorithm, *, of_digests: bool = False
) -> Callable[[bytes, bytes], None]:
    """Load a key once and return a function that verifies signatures with it.

    Args:
        spki: the signer's SubjectPublicKeyInfo, DER.
        algorithm: with what it signs.
        of_digests: the function gets the digest of what was signed (algorithm's hash) instead of the octets.

    Returns:
        a function of the signed octets and the signature value, raising SignatureInvalid when they do not match.

    Raises:
        KeyMismatch: the key cannot be read, or is not one for the algorithm.
    """
    try:
        key = load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyMismatch(f"cannot read the public key: {error}", place="signer's key") from error
    hash_algorithm = _HASHES[algorithm.hash_name]()
    hashed = Prehashed(hash_algorithm) if of_digests else hash_algorithm
    if algorithm.is_rsa and isinstance(key, rsa.RSAPublicKey):
        return _rsa_verifier(key, _padding(algorithm, hash_algorithm), hashed)
    if not algorithm.is_rsa and isinstance(key, ec.EllipticCurvePublicKey):
        return _ecdsa_verifier(key, ec.ECDSA(hashed))
    raise KeyMismatch("the key is not one for the algorithm", place="signer's key", value=algorithm.value)


def _padding(
    algorithm: SignatureAlgorithm, hash_algorithm: hashes.HashAlgorithm
) -> padding.PKCS1v15 | padding.PSS:
    if algorithm.is_deterministic:
        return padding.PKCS1v15()
    return padding.PSS(mgf=padding.MGF1(hash_algorithm), salt_length=hash_algorithm.digest_size)


def _rsa_verifier(
    key: rsa.RSAPublicKey,
    scheme: padding.PKCS1v15 | padding.PSS,
    hash_algorithm: hashes.HashAlgorithm | Prehashed,
) -> Callable[[bytes, bytes], None]:
    def verify(tbs: bytes, signature: bytes) -> None:
        try:
            key.verify(signature, tbs, scheme, hash_algorithm)
        except InvalidSignature as error:
            raise _invalid() from error

    return verify


def _ecdsa_verifier(key: ec.EllipticCurvePublicKey, scheme: ec.ECDSA) -> Callable[[bytes, bytes], None]:
    def verify(tbs: bytes, signature: bytes) -> None:
        try:
            key.verify(signature, tbs, scheme)
        except InvalidSignature as error:
            raise _invalid() from error

    return verify


def _invalid() -> SignatureInvalid:
    return SignatureInvalid(
        "the signature does not verify", place="signature", rule="RFC 5280 section 4.1.1.3"
    )
