"""Octets that were good, bent at random: what the fuzzers of several fronts send."""

from __future__ import annotations

import random


def spoilt(choice: random.Random, octets: bytes, favourites: bytes) -> bytes:
    """Turn octets over, leave some out, put some in, double some.

    Args:
        choice: makes all choices.
        octets: at least one.
        favourites: what is put in their place with preference.
    """
    bent = bytearray(octets)
    for _ in range(choice.choice((1, 1, 2, 8))):
        place = choice.randrange(len(bent))
        match choice.randrange(5):
            case 0:
                bent[place] ^= 1 << choice.randrange(8)
            case 1:
                bent[place] = choice.choice(favourites)
            case 2 if len(bent) > 9:
                del bent[place : place + choice.randrange(1, 8)]
            case 3:
                bent[place:place] = bent[place : place + choice.randrange(1, 64)]
            case _:
                bent[place:place] = choice.randbytes(choice.randrange(1, 8))
    return bytes(bent) or b"\0"
