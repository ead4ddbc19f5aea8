"""Subscriber keys: what is taken, and every rule that refuses one."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from math import gcd, isqrt, prod

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import InputRejected
from engine.x509 import der
from engine.x509.fermat import close_primes
from engine.x509.profiles import load_profiles
from engine.x509.public_keys import PublicKeyRules, check_public_key
from engine.x509.roca import has_roca_fingerprint
from tests.x509.specimens import subject_spki

RULES = load_profiles().public_key_rules
RSA = "1.2.840.113549.1.1.1"


def spki(
    modulus: int | bytes,
    exponent: int = 65537,
    oid: str = RSA,
    parameters: bytes = b"\x05\x00",
    after: bytes = b"",
) -> bytes:
    """A SubjectPublicKeyInfo of any numbers; a modulus given as bytes is the INTEGER's contents."""
    content = (
        modulus
        if isinstance(modulus, bytes)
        else der.integer(modulus)[len(der.header(2, _octets(modulus))) :]
    )
    key = der.sequence(der.element(der.INTEGER, content), der.integer(exponent), after)
    return der.sequence(der.sequence(der.object_identifier(oid), parameters), der.bit_string(key))


def _octets(number: int) -> int:
    return number.bit_length() // 8 + 1


def numbers() -> rsa.RSAPublicNumbers:
    key = load_der_public_key(subject_spki())
    assert isinstance(key, rsa.RSAPublicKey)
    return key.public_numbers()


def rejection(encoded: bytes, rules: PublicKeyRules = RULES) -> str:
    with pytest.raises(InputRejected) as caught:
        check_public_key(encoded, rules)
    assert caught.value.place == "public key"
    assert caught.value.rule
    return str(caught.value)


@pytest.mark.cps("6.1.5")
@pytest.mark.judge("cryptography")
def test_a_good_key_is_taken_and_identified() -> None:
    checked = check_public_key(subject_spki(), RULES)
    key = load_der_public_key(subject_spki())
    assert isinstance(key, rsa.RSAPublicKey)
    assert checked.key_identifier == x509.SubjectKeyIdentifier.from_public_key(key).digest
    assert checked.key_digest == hashlib.sha256(subject_spki()).digest()
    assert (checked.spki, checked.bits) == (subject_spki(), 2048)
    assert spki(key.public_numbers().n) == subject_spki()  # so the refused ones below differ in one thing


def _modulus(source: random.Random, bits: int) -> int:
    """An odd number of so many bits without factors below 752; nobody can tell it from a modulus at a glance."""
    while True:
        number = source.getrandbits(bits) | 1 << (bits - 1) | 1
        if gcd(number, _PRIMORIAL) == 1:
            return number


_PRIMES = [p for p in range(2, 752) if all(p % q for q in range(2, isqrt(p) + 1))]
_PRIMORIAL = prod(_PRIMES)


@pytest.mark.cps("6.1.5")
def test_1024_bits_only_under_the_legacy_switch_and_other_sizes_never() -> None:
    source = random.Random(1024)
    small = spki(_modulus(source, 1024))
    assert "1024 bits" in rejection(small)
    assert check_public_key(small, PublicKeyRules(allow_1024=True)).bits == 1024
    for bits in (512, 1023, 2047, 2049, 3072, 4096):
        assert f"{bits} bits" in rejection(spki(_modulus(source, bits)), PublicKeyRules(allow_1024=True))


@pytest.mark.parametrize("exponent", [1, 2, 3, 17, 65535, 65536, 65538, 1 << 200, (1 << 256) + 1])
def test_exponents_out_of_range_are_refused(exponent: int) -> None:
    assert "FIPS 186-5" in rejection(spki(numbers().n, exponent))


@pytest.mark.parametrize("exponent", [65537, 65539, (1 << 256) - 1])
def test_exponents_within_range_are_taken(exponent: int) -> None:
    assert check_public_key(spki(numbers().n, exponent), RULES).bits == 2048


@pytest.mark.cps("6.1.6")
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("parameters absent", lambda n: spki(n, parameters=b"")),
        ("parameters not NULL", lambda n: spki(n, parameters=b"\x30\x00")),
        ("RSASSA-PSS key", lambda n: spki(n, oid="1.2.840.113549.1.1.10")),
        ("trailing octets", lambda n: spki(n) + b"\x00"),
        ("octets inside the key", lambda n: spki(n, after=b"\x05\x00")),
        ("truncated", lambda n: spki(n)[:-1]),
        ("empty", lambda n: b""),
        ("negative modulus", lambda n: spki(n.to_bytes(256, "big"))),
        ("zero modulus", lambda n: spki(b"\x00")),
        ("empty modulus", lambda n: spki(b"")),
        ("modulus with leading zeros", lambda n: spki(b"\x00\x00" + n.to_bytes(256, "big"))),
        ("zero exponent", lambda n: spki(n, 0)),
        ("negative exponent", lambda n: spki(n, -65537)),
        ("length not minimal", lambda n: b"\x30\x83\x00" + spki(n)[2:]),
        ("indefinite length", lambda n: b"\x30\x80" + spki(n)[4:] + b"\x00\x00"),
        ("high tag number", lambda n: b"\x3f" + spki(n)[1:]),
        ("unused bits", lambda n: spki(n).replace(b"\x03\x82\x01\x0f\x00", b"\x03\x82\x01\x0f\x01")),
        ("constructed BIT STRING", lambda n: spki(n).replace(b"\x03\x82\x01\x0f", b"\x23\x82\x01\x0f")),
    ],
)
def test_other_encodings_are_refused(name: str, change: Callable[[int], bytes]) -> None:
    assert "RFC 8017 appendix A.1.1" in rejection(change(numbers().n)), name


def test_keys_of_other_kinds_are_refused() -> None:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    assert "rsaEncryption" in rejection(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_even_moduli_and_small_factors_are_refused() -> None:
    source = random.Random(3)
    assert "even" in rejection(spki(_modulus(source, 2048) - 1))
    for factor in (3, 101, 751):
        number = _modulus(source, 2048 - factor.bit_length()) * factor
        if number.bit_length() == 2047:
            number = number // factor * 2 * factor + factor
        assert f"found {factor}" in rejection(spki(number))


def _probable_prime(number: int) -> bool:
    return gcd(number, _PRIMORIAL) == 1 and pow(2, number - 1, number) == 1


def _roca_prime(source: random.Random, bits: int, first_primes: int) -> int:
    """k·M + (65537^a mod M), prime: as the Infineon library made them."""
    product = prod(_PRIMES[:first_primes])
    while True:
        residue = pow(65537, source.randrange(1 << 64), product)
        number = (
            source.getrandbits(bits - product.bit_length()) | 3 << (bits - product.bit_length() - 2)
        ) * product
        if (number + residue).bit_length() == bits and _probable_prime(number + residue):
            return number + residue


def test_a_key_of_the_roca_library_is_refused() -> None:
    source = random.Random(2017)
    modulus = _roca_prime(source, 1024, 126) * _roca_prime(source, 1024, 126)  # 126 primes: its 2048-bit keys
    assert modulus.bit_length() == 2048
    assert "ROCA" in rejection(spki(modulus))


def test_the_roca_fingerprint_does_not_hit_others() -> None:
    source = random.Random(39)
    assert not any(has_roca_fingerprint(_modulus(source, 2048)) for _ in range(2000))


def _found_in_round(source: random.Random, rounds: int) -> int:
    """A modulus (a-b)(a+b) that Fermat's method factors in just so many rounds, for 2048 bits."""
    while True:
        a = source.getrandbits(1023) | 3 << 1022 | 1
        b = isqrt(2 * a * rounds - a) & ~1  # b² / 2a lies half a round before the last
        modulus = a * a - b * b
        if gcd(modulus, _PRIMORIAL) == 1 and a - isqrt(modulus - 1) == rounds:
            return modulus


@pytest.mark.parametrize("rounds", [1, 2, 3, 50, 109, 110])
def test_primes_too_close_are_found_in_the_very_round(rounds: int) -> None:
    modulus = _found_in_round(random.Random(rounds), rounds)
    factors = close_primes(modulus, rounds)
    assert factors is not None
    assert factors[0] * factors[1] == modulus
    assert 1 not in factors
    assert close_primes(modulus, rounds - 1) is None
    assert "Fermat" in rejection(spki(modulus))


def test_primes_just_far_enough_are_taken() -> None:
    modulus = _found_in_round(random.Random(111), 111)
    assert check_public_key(spki(modulus), RULES).bits == 2048
    assert "Fermat" in rejection(spki(modulus), PublicKeyRules(fermat_rounds=111))


def test_the_square_of_a_prime_is_refused() -> None:
    root = _modulus(random.Random(4), 1024) | 3 << 1022
    while gcd(root, _PRIMORIAL) != 1:
        root += 2
    assert "Fermat" in rejection(spki(root * root))


@settings(derandomize=True, max_examples=500, deadline=None, database=None)
@given(modulus=st.integers(1, 10**7).map(lambda half: 2 * half + 1), rounds=st.integers(0, 130))
def test_the_filtered_search_finds_what_the_plain_one_does(modulus: int, rounds: int) -> None:
    start = isqrt(modulus - 1) + 1
    squares = [
        (a - isqrt(a * a - modulus), a + isqrt(a * a - modulus))
        for a in range(start, start + rounds)
        if isqrt(a * a - modulus) ** 2 == a * a - modulus
    ]
    assert close_primes(modulus, rounds) == (squares[0] if squares else None)
