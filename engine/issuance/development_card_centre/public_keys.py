"""Where the public keys of development cards come from: real RSA key pairs, or products of pooled primes."""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import repeat
from math import isqrt
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from engine.errors import HomeUnusable
from engine.issuance.card_exchange.map_in_order import map_in_order

PUBLIC_EXPONENT = 65537
KEY_BITS = 2048
"""Subscriber keys are RSA-2048 (CPS 6.1.5)."""

MODULUS_OCTETS = KEY_BITS // 8
PRIME_OCTETS = MODULUS_OCTETS // 2

POOL_NAME = "prime-pool"

SUBJECT_PUBLIC_KEY_INFO = bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100")
"""A SubjectPublicKeyInfo up to its 2048-bit modulus, the INTEGER's leading zero octet included: rsaEncryption with
parameters NULL, then the RSAPublicKey in a BIT STRING (RFC 3279 section 2.3.1, RFC 8017 appendix A.1.1)."""

EXPONENT_INTEGER = bytes.fromhex("0203010001")
"""The rest of it: the INTEGER 65537."""


def subject_public_key_info(modulus: int) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a 2048-bit modulus with exponent 65537."""
    if modulus.bit_length() != KEY_BITS:
        raise ValueError(f"a modulus of {modulus.bit_length()} bits")
    return SUBJECT_PUBLIC_KEY_INFO + modulus.to_bytes(MODULUS_OCTETS) + EXPONENT_INTEGER


def real_public_keys(threads: int) -> Generator[bytes, None, None]:
    """Yield public keys of real RSA-2048 key pairs without end; the private keys are thrown away.

    Closing it waits for the pairs being made. Threads are enough: OpenSSL works without the interpreter's lock.
    """
    for key in _private_keys(threads):
        yield subject_public_key_info(key.public_key().public_numbers().n)


def synthetic_public_keys(directory: Path, threads: int, first_pair: int) -> Generator[bytes, None, None]:
    """Yield distinct, structurally valid public keys without end, for load runs only, never for real cards.

    The moduli are products of two primes out of a pool, so m primes give m(m-1)/2 of them. They share primes: anybody
    can factor two of them with a greatest common divisor. The pool lies in the card centre's directory (mode 0600)
    and grows as needed: 1,550 primes, 775 RSA key generations, last for 1.2 million keys.

    Args:
        directory: the card centre's, locked by the caller.
        threads: how many primes are sought at the same time.
        first_pair: how many pairs were used before; the same pool and number give the same keys.

    Raises:
        HomeUnusable: the pool cannot be read or written.
    """
    primes: list[int] = []
    last = (1 + isqrt(1 + 8 * first_pair)) // 2  # pairs (i, last) with i < last begin at last(last-1)/2
    skipped = first_pair - last * (last - 1) // 2
    with closing(_pooled_primes(directory / POOL_NAME, threads)) as pool:
        for prime in pool:
            if len(primes) >= last:
                for other in primes[skipped:]:
                    yield subject_public_key_info(prime * other)
                skipped = 0
            primes.append(prime)


def _private_keys(threads: int) -> Generator[RSAPrivateKey, None, None]:
    with (
        ThreadPoolExecutor(threads, "rsa-key") as executor,
        closing(map_in_order(executor, _private_key, repeat(None), threads)) as made,
    ):
        yield from made


def _private_key(_: None) -> RSAPrivateKey:
    return generate_private_key(PUBLIC_EXPONENT, KEY_BITS)


def _pooled_primes(path: Path, threads: int) -> Generator[int, None, None]:
    """Yield the primes of the pool, then new ones without end, which the pool keeps.

    They are OpenSSL's own RSA-2048 primes, whose two highest bits are set, so any product has 2,048 bits.
    """
    try:
        yield from _load_pool(path)
        with (
            open(path, "ab", buffering=0, opener=partial(os.open, mode=0o600)) as pool,
            closing(_private_keys(threads)) as keys,
        ):
            for key in keys:
                numbers = key.private_numbers()
                for prime in (numbers.p, numbers.q):
                    pool.write(prime.to_bytes(PRIME_OCTETS))
                    yield prime
    except OSError as error:
        raise HomeUnusable(f"the pool of primes cannot be used: {error.strerror}", place=str(path)) from error


def _load_pool(path: Path) -> list[int]:
    """Read the pool; a prime that a killed process wrote in part is cut off."""
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = len(content) - len(content) % PRIME_OCTETS
    if whole < len(content):
        os.truncate(path, whole)
    primes = [
        int.from_bytes(content[start : start + PRIME_OCTETS]) for start in range(0, whole, PRIME_OCTETS)
    ]
    if any(prime.bit_length() != PRIME_OCTETS * 8 or prime % 2 == 0 for prime in primes):
        raise HomeUnusable("the pool of primes is damaged; remove it and it is made again", place=str(path))
    return primes
