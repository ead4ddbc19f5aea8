"""With which algorithm an answer is signed (RFC 6960 section 4.4.7.2)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.algorithms import SignatureAlgorithm

_RSA_PKCS1 = frozenset(algorithm for algorithm in SignatureAlgorithm if algorithm.is_deterministic)
"""RSA-PSS is left out, although an RSA key could: few relying parties verify it, and who wants it lists others too."""


def chosen_algorithm(
    preferred: Sequence[SignatureAlgorithm], default: SignatureAlgorithm
) -> SignatureAlgorithm:
    """Return the first algorithm of the client's list that the OCSP key can sign with.

    Args:
        preferred: the client's list, without what we do not know; may be empty.
        default: with what answers are signed ahead; taken where the list has nothing for us.
    """
    possible = _RSA_PKCS1 if default in _RSA_PKCS1 else {default}
    return next((one for one in preferred if one in possible), default)
