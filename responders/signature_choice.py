"""With which algorithm an answer is signed (RFC 6960 section 4.4.7.2)."""

from __future__ import annotations

from collections.abc import Sequence

from engine.algorithms import SignatureAlgorithm

DEFAULT_ALGORITHM = SignatureAlgorithm.RSA_PKCS1_SHA256
"""What answers signed ahead are signed with: engine.authority.signing.AUTHORITY_ALGORITHM, said again because a public
responder does not even load what can speak to a token."""

ALGORITHMS_OF_THE_KEY = frozenset(
    {
        SignatureAlgorithm.RSA_PKCS1_SHA256,
        SignatureAlgorithm.RSA_PKCS1_SHA384,
        SignatureAlgorithm.RSA_PKCS1_SHA512,
    }
)
"""What the OCSP key signs with: it is RSA (CPS 6.3.2.1). RSA-PSS is left out: few relying parties verify it, and who
prefers it lists others behind it."""


def chosen_algorithm(preferred: Sequence[SignatureAlgorithm]) -> SignatureAlgorithm:
    """Return the first algorithm of the client's list that there is a key for, else the default."""
    return next((one for one in preferred if one in ALGORITHMS_OF_THE_KEY), DEFAULT_ALGORITHM)
