"""Which subscriber keys may be certified (CPS 6.1.5, 6.1.6), checked when the card file comes in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import gcd, prod

from engine.errors import InputRejected
from engine.x509 import der_reader
from engine.x509.der_reader import NotDer
from engine.x509.fermat import close_primes
from engine.x509.roca import has_roca_fingerprint

_RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")
"""AlgorithmIdentifier rsaEncryption with parameters NULL (RFC 3279 section 2.3.1, CPS 6.1.6)."""

_LEAST_EXPONENT = 65537  # 2^16 < e < 2^256, odd: FIPS 186-5 section 5.4(e)
_EXPONENT_LIMIT = 1 << 256
_SMALL_FACTOR_BOUND = 752  # NIST SP 800-89 section 5.3.3
_SMALL_PRIMES = prod(
    candidate
    for candidate in range(2, _SMALL_FACTOR_BOUND)
    if all(candidate % divisor for divisor in range(2, int(candidate**0.5) + 1))
)


@dataclass(frozen=True, slots=True)
class PublicKeyRules:
    """Which keys are taken.

    Attributes:
        sizes: modulus sizes in bits (CPS 6.1.5).
        allow_1024: the legacy switch for RSA-1024.
        fermat_rounds: how many rounds of Fermat's factorisation a modulus must withstand.
    """

    sizes: frozenset[int] = frozenset({2048})
    allow_1024: bool = False
    fermat_rounds: int = 110

    def accepts_size(self, bits: int) -> bool:
        """Whether a modulus of so many bits is taken."""
        return self.allow_1024 if bits == 1024 else bits in self.sizes


@dataclass(frozen=True, slots=True)
class CheckedPublicKey:
    """A subscriber key that passed every rule; made only by `check_public_key`.

    Attributes:
        spki: the SubjectPublicKeyInfo as handed in.
        key_digest: SHA-256 of it: what makes a key one key.
        key_identifier: SHA-1 of the BIT STRING's contents (RFC 5280 section 4.2.1.2, method 1).
        bits: size of the modulus.
    """

    spki: bytes
    key_digest: bytes
    key_identifier: bytes
    bits: int


def check_public_key(spki: bytes, rules: PublicKeyRules) -> CheckedPublicKey:
    """Check a subscriber's SubjectPublicKeyInfo.

    Args:
        spki: DER, nothing after it.
        rules: sizes and rounds.

    Raises:
        InputRejected: the structure, size, exponent or modulus breaks a rule, which the error names.
    """
    try:
        key_start, modulus, exponent = _parse(spki)
    except NotDer as error:
        raise _rejected(
            str(error), "RFC 8017 appendix A.1.1 in DER, rsaEncryption with NULL (CPS 6.1.6)"
        ) from error
    bits = modulus.bit_length()
    if not rules.accepts_size(bits):
        raise _rejected(f"modulus of {bits} bits", "CPS 6.1.5: sizes of subscriber keys")
    if exponent % 2 == 0 or not _LEAST_EXPONENT <= exponent < _EXPONENT_LIMIT:
        raise _rejected(
            "public exponent out of range", "FIPS 186-5 section 5.4: odd, 2^16 < e < 2^256", exponent
        )
    _check_modulus(modulus, rules.fermat_rounds)
    return CheckedPublicKey(
        spki=spki,
        key_digest=hashlib.sha256(spki).digest(),
        key_identifier=hashlib.sha1(spki[key_start:], usedforsecurity=False).digest(),
        bits=bits,
    )


def _parse(spki: bytes) -> tuple[int, int, int]:
    """Return where the BIT STRING's contents begin, the modulus and the exponent."""
    start, end = der_reader.expect_last(spki, 0, len(spki), 0x30)
    if not spki.startswith(_RSA_ENCRYPTION, start):
        raise NotDer(f"octet {start}: not rsaEncryption with parameters NULL")
    start, end = der_reader.expect_last(spki, start + len(_RSA_ENCRYPTION), end, 0x03)
    if start == end or spki[start] != 0:
        raise NotDer(f"octet {start}: BIT STRING is not of whole octets")
    key_start = start + 1
    start, end = der_reader.expect_last(spki, key_start, end, 0x30)
    modulus, start = der_reader.positive_integer(spki, start, end)
    exponent, stop = der_reader.positive_integer(spki, start, end)
    if stop != end:
        raise NotDer(f"octet {stop}: {end - stop} octets left over")
    return key_start, modulus, exponent


def _check_modulus(modulus: int, fermat_rounds: int) -> None:
    if modulus % 2 == 0:
        raise _rejected("modulus is even", "NIST SP 800-89 section 5.3.3")
    if (factor := gcd(modulus, _SMALL_PRIMES)) != 1:
        rule = f"NIST SP 800-89 section 5.3.3: no factor below {_SMALL_FACTOR_BOUND}"
        raise _rejected("modulus has a small factor", rule, factor)
    if has_roca_fingerprint(modulus):
        raise _rejected("modulus has the fingerprint of a broken key generator", "ROCA, CVE-2017-15361")
    if close_primes(modulus, fermat_rounds) is not None:
        rule = f"primes not found by {fermat_rounds} rounds of Fermat's factorisation"
        raise _rejected("modulus has primes too close together", rule)


def _rejected(message: str, rule: str, value: object = None) -> InputRejected:
    return InputRejected(message, place="public key", value=value, rule=rule)
