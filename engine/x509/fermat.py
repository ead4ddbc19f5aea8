"""Fermat's factorisation of a modulus whose primes lie close together (CVE-2022-26320).

n = a² - b² with a starting at the rounded-up root of n. Each round asks whether a² - n is a square. Before the exact
question, a filter: a square is a square modulo every small number too, and for one such number a precomputed mask
answers that for all rounds at once.
"""

from __future__ import annotations

from functools import lru_cache
from math import isqrt, prod

_FILTERS = (64, 63, 65, 11, 17, 19, 23, 29, 31)
"""Pairwise coprime numbers with few squares. How many is a guess: 6, 9 and 12 of them cost the same, about
6 µs a key of 2048 bits and 110 rounds; with these, one key in 30 keeps a round for the exact question."""

_PRODUCT = prod(_FILTERS)


@lru_cache(maxsize=8 * sum(_FILTERS))  # every pattern of eight different numbers of rounds
def _pattern(filter_modulus: int, residue: int, length: int) -> int:
    """Bit x is set where x² - residue is a square modulo `filter_modulus`, for 0 <= x < length."""
    squares = {x * x % filter_modulus for x in range(filter_modulus)}
    return sum(1 << x for x in range(length) if (x * x - residue) % filter_modulus in squares)


def close_primes(modulus: int, rounds: int) -> tuple[int, int] | None:
    """Search for two factors within `rounds` rounds of Fermat's method.

    Returns:
        the factors, or None when so many rounds do not find them.
    """
    root = isqrt(modulus - 1) + 1  # the least a with a² >= n
    root_residue, modulus_residue = root % _PRODUCT, modulus % _PRODUCT
    candidates = (1 << rounds) - 1
    for small in _FILTERS:
        pattern = _pattern(small, modulus_residue % small, small + rounds)
        candidates &= pattern >> root_residue % small
        if not candidates:
            return None
    while candidates:
        lowest = candidates & -candidates
        candidates ^= lowest
        a = root + lowest.bit_length() - 1
        b = isqrt(difference := a * a - modulus)
        if b * b == difference:
            return a - b, a + b
    return None
