"""Which PKCS#11 mechanism performs a signature algorithm on a given token, and what it needs around it.

A mechanism that hashes by itself is preferred. Where the token lacks it (opencryptoki's tokens have CKM_RSA_PKCS
but not CKM_SHA256_RSA_PKCS, SoftHSM has only CKM_ECDSA) the hash is made here and the bare mechanism signs it. What
does not fit into a call comes as a digest, which only the bare mechanism takes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import MGF, Mechanism
from pkcs11.exceptions import MechanismInvalid

from engine.algorithms import SignatureAlgorithm

if TYPE_CHECKING:
    from collections.abc import Callable, Container

_DIGEST_INFO = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""What stands before the digest in a DigestInfo (RFC 8017 section 9.2, note 1)."""

_COMBINED = {
    SignatureAlgorithm.RSA_PKCS1_SHA256: Mechanism.SHA256_RSA_PKCS,
    SignatureAlgorithm.RSA_PKCS1_SHA384: Mechanism.SHA384_RSA_PKCS,
    SignatureAlgorithm.RSA_PKCS1_SHA512: Mechanism.SHA512_RSA_PKCS,
    SignatureAlgorithm.RSA_PSS_SHA256: Mechanism.SHA256_RSA_PKCS_PSS,
    SignatureAlgorithm.RSA_PSS_SHA384: Mechanism.SHA384_RSA_PKCS_PSS,
    SignatureAlgorithm.RSA_PSS_SHA512: Mechanism.SHA512_RSA_PKCS_PSS,
    SignatureAlgorithm.ECDSA_P256_SHA256: Mechanism.ECDSA_SHA256,
    SignatureAlgorithm.ECDSA_P384_SHA384: Mechanism.ECDSA_SHA384,
}

_PSS_HASHES = {
    "sha256": (Mechanism.SHA256, MGF.SHA256),
    "sha384": (Mechanism.SHA384, MGF.SHA384),
    "sha512": (Mechanism.SHA512, MGF.SHA512),
}


@dataclass(frozen=True)
class SigningMechanism:
    """How a token performs a signature algorithm.

    Args:
        code: the CKM value.
        pss: for RSA-PSS the hash mechanism, the mask generation function, and the salt length in octets.
        prepare: makes of the message what C_Sign gets; None = the message itself.
        finish: makes of what C_Sign gives the signature as certificates carry it; None = as it is.
    """

    code: int
    pss: tuple[int, int, int] | None = None
    prepare: Callable[[bytes], bytes] | None = None
    finish: Callable[[bytes], bytes] | None = None


def choose_mechanism(algorithm: SignatureAlgorithm, available: Container[int]) -> SigningMechanism:
    """Choose the mechanism for an algorithm among those that the token has.

    Raises:
        pkcs11.exceptions.MechanismInvalid: the token has neither the combined nor the bare mechanism.
    """
    combined, bare = _COMBINED[algorithm], _bare(algorithm)
    pss, finish = _pss_parameters(algorithm), None if algorithm.is_rsa else encode_ecdsa_value
    if combined in available:
        return SigningMechanism(int(combined), pss, None, finish)
    if bare not in available:
        raise MechanismInvalid(f"the token has neither {combined.name} nor {bare.name}")
    return SigningMechanism(int(bare), pss, _hashing(algorithm), finish)


def choose_digest_mechanism(algorithm: SignatureAlgorithm, available: Container[int]) -> SigningMechanism:
    """Choose the mechanism that signs a digest made with the algorithm's hash.

    Raises:
        pkcs11.exceptions.MechanismInvalid: the token does not have the bare mechanism.
    """
    bare = _bare(algorithm)
    if bare not in available:
        raise MechanismInvalid(f"the token does not have {bare.name}, which signs a digest")
    pss, finish = _pss_parameters(algorithm), None if algorithm.is_rsa else encode_ecdsa_value
    return SigningMechanism(int(bare), pss, _before_digest(algorithm).__add__, finish)


def encode_ecdsa_value(raw: bytes) -> bytes:
    """Turn r and s, side by side as tokens give them, into a DER Ecdsa-Sig-Value (RFC 3279 section 2.2.3)."""
    half = len(raw) // 2
    return encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))


def _bare(algorithm: SignatureAlgorithm) -> Mechanism:
    if not algorithm.is_rsa:
        return Mechanism.ECDSA
    return Mechanism.RSA_PKCS if algorithm.is_deterministic else Mechanism.RSA_PKCS_PSS


def _pss_parameters(algorithm: SignatureAlgorithm) -> tuple[int, int, int] | None:
    if not algorithm.is_rsa or algorithm.is_deterministic:
        return None
    mechanism, mask = _PSS_HASHES[algorithm.hash_name]
    # A salt as long as the hash: RFC 8017 section 9.1, and what RFC 4055 section 3.1 recommends.
    return int(mechanism), int(mask), hashlib.new(algorithm.hash_name).digest_size


def _hashing(algorithm: SignatureAlgorithm) -> Callable[[bytes], bytes]:
    hash_function = getattr(hashlib, algorithm.hash_name)
    before = _before_digest(algorithm)

    def prepare(message: bytes) -> bytes:
        return before + bytes(hash_function(message).digest())

    return prepare


def _before_digest(algorithm: SignatureAlgorithm) -> bytes:
    return _DIGEST_INFO[algorithm.hash_name] if algorithm.is_deterministic else b""
