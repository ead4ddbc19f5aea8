"""AlgorithmIdentifier of every signature algorithm (RFC 5280 section 4.1.1.2)."""

from __future__ import annotations

from types import MappingProxyType

from engine.algorithms import SignatureAlgorithm
from engine.x509 import der

_RSA_WITH = MappingProxyType(
    {  # RFC 8017 appendix A.2.4
        "sha256": "1.2.840.113549.1.1.11",
        "sha384": "1.2.840.113549.1.1.12",
        "sha512": "1.2.840.113549.1.1.13",
    }
)
_ECDSA_WITH = MappingProxyType(
    {"sha256": "1.2.840.10045.4.3.2", "sha384": "1.2.840.10045.4.3.3"}  # RFC 5758 section 3.2
)
_HASH = MappingProxyType(
    {  # object identifier and octets of output, FIPS 180-4
        "sha256": ("2.16.840.1.101.3.4.2.1", 32),
        "sha384": ("2.16.840.1.101.3.4.2.2", 48),
        "sha512": ("2.16.840.1.101.3.4.2.3", 64),
    }
)
_RSASSA_PSS = "1.2.840.113549.1.1.10"  # RFC 8017 appendix A.2.3
_MGF1 = "1.2.840.113549.1.1.8"  # RFC 8017 appendix B.2.1


def _pss_parameters(hash_name: str) -> bytes:
    """Hash, MGF1 with the same hash, and a salt as long as the hash (RFC 4055 section 3.1).

    The hash identifiers carry NULL, as RFC 4055 section 2.1 writes them. trailerField is the default, so DER omits it.
    """
    oid, salt_octets = _HASH[hash_name]
    hash_algorithm = der.sequence(der.object_identifier(oid), der.null())
    return der.sequence(
        der.context(0, hash_algorithm),
        der.context(1, der.sequence(der.object_identifier(_MGF1), hash_algorithm)),
        der.context(2, der.integer(salt_octets)),
    )


def _encode(algorithm: SignatureAlgorithm) -> bytes:
    hash_name = algorithm.hash_name
    if not algorithm.is_rsa:  # parameters absent: RFC 5758 section 3.2
        return der.sequence(der.object_identifier(_ECDSA_WITH[hash_name]))
    if algorithm.is_deterministic:  # parameters NULL: RFC 4055 section 5, CPS 7.1.3
        return der.sequence(der.object_identifier(_RSA_WITH[hash_name]), der.null())
    return der.sequence(der.object_identifier(_RSASSA_PSS), _pss_parameters(hash_name))


ALGORITHM_IDENTIFIERS = MappingProxyType({algorithm: _encode(algorithm) for algorithm in SignatureAlgorithm})
"""The DER of the AlgorithmIdentifier, as it stands in tbsCertificate.signature and signatureAlgorithm."""
