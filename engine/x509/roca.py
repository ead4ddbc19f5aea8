"""The fingerprint of keys made by the Infineon RSA library (ROCA, CVE-2017-15361).

Its primes are k·M + (65537^a mod M) with M the product of the first n primes (Nemec, Sys, Svenda, Klinec, Matyas: The
Return of Coppersmith's Attack, CCS 2017, section 2.2). So the modulus, like both primes, is a power of 65537 modulo
every prime of M. A modulus chosen otherwise is so for all of the primes below with a chance of about 2^-28.
"""

from __future__ import annotations

from math import prod

_GENERATOR = 65537
_PRIMES = (  # the first 39 primes: M of the smallest keys (512 bits), and so dividing M of every larger size
    *(2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97),
    *(101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167),
)


def _powers(prime: int) -> frozenset[int]:
    """The subgroup of the integers modulo `prime` that the generator generates."""
    powers, power = set(), 1
    while power not in powers:
        powers.add(power)
        power = power * _GENERATOR % prime
    return frozenset(powers)


_SUBGROUPS = sorted(
    ((prime, powers) for prime in _PRIMES if len(powers := _powers(prime)) < prime - 1),
    key=lambda entry: (
        len(entry[1]) / entry[0]
    ),  # the most telling first, so that nearly every key leaves early
)
_PRODUCT = prod(prime for prime, _ in _SUBGROUPS)


def has_roca_fingerprint(modulus: int) -> bool:
    """Whether the modulus has the structure of a ROCA key."""
    residue = modulus % _PRODUCT
    return all(residue % prime in powers for prime, powers in _SUBGROUPS)
