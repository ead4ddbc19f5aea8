"""The signature algorithms that x509 names and pkcs11 performs.

Both rooms need the same enumeration and may not know each other, so it stands below them.
"""

from __future__ import annotations

from enum import Enum


class SignatureAlgorithm(Enum):
    """A signature algorithm with its hash; the value is the name used in configuration files."""

    RSA_PKCS1_SHA256 = "rsa-pkcs1-sha256"
    RSA_PKCS1_SHA384 = "rsa-pkcs1-sha384"
    RSA_PKCS1_SHA512 = "rsa-pkcs1-sha512"
    RSA_PSS_SHA256 = "rsa-pss-sha256"
    RSA_PSS_SHA384 = "rsa-pss-sha384"
    RSA_PSS_SHA512 = "rsa-pss-sha512"
    ECDSA_P256_SHA256 = "ecdsa-p256-sha256"
    ECDSA_P384_SHA384 = "ecdsa-p384-sha384"

    @property
    def hash_name(self) -> str:
        """The name of its hash as hashlib spells it: sha256, sha384 or sha512."""
        return self.value.rsplit("-", 1)[1]

    @property
    def is_rsa(self) -> bool:
        """Whether the key is an RSA key."""
        return self.value.startswith("rsa-")

    @property
    def is_deterministic(self) -> bool:
        """Whether signing the same bytes again gives the same signature (RFC 8017 section 8.2)."""
        return self.value.startswith("rsa-pkcs1-")
