"""Requests that a host must survive: good ones, and the same bent in all the ways that HTTP can be bent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from tests.fuzz.bendings import BENDINGS
from tests.fuzz.raw_requests import Request, Sent
from tests.spoilt_octets import spoilt

FAVOURITES = b"\r\n\0 :;/%=+-?&\x7f\x80\xff0"
"""Octets that mean something in HTTP or in a URL, and some that mean nothing anywhere."""

GOOD_SHARE = 0.15
"""Of good requests: they show that what is bent is near what is answered."""


def hostile_requests(choice: random.Random, good: Callable[[random.Random], Request]) -> Iterator[Sent]:
    """Yield requests without end.

    Args:
        choice: makes all choices, so a seed makes the same requests again.
        good: makes a good request.
    """
    while True:
        if choice.random() < GOOD_SHARE:
            yield Sent(good(choice).octets(), 1, True)
            continue
        count = choice.choice((1, 1, 1, 1, 1, 1, 2, 5))
        yield Sent(b"".join(_bent(choice, good(choice)) for _ in range(count)), count, False)


def _bent(choice: random.Random, request: Request) -> bytes:
    if choice.random() < 0.03:
        return choice.choice((_noise, _preface))(choice)
    for _ in range(choice.choice((0, 1, 1, 2))):
        request = choice.choice(BENDINGS)(choice, request)
    octets = request.octets()
    return spoilt(choice, octets, FAVOURITES) if choice.random() < 0.4 else octets


def _noise(choice: random.Random) -> bytes:
    return choice.randbytes(choice.randrange(1, 600))


def _preface(choice: random.Random) -> bytes:
    """The beginning of HTTP/2 (RFC 9113 section 3.4), of TLS, or of the PROXY protocol."""
    beginnings = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 203.0.113.7 192.0.2.1 4000 80\r\n",
    )
    return choice.choice(beginnings) + choice.randbytes(choice.randrange(60))
