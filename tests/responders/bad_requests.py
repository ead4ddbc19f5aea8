"""Bad HTTP requests without end: valid ones with octets turned over, left out, doubled, mixed; and plain noise."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

from engine.x509.ocsp_response import IssuerNames
from tests.responders.listener_client import chunked, get, post
from tests.responders.ocsp_requests import plain
from tests.spoilt_octets import spoilt

FAVOURITES = b"\r\n\0 :;/%=+-\xff0"
"""Octets that mean something in HTTP or in base64, and some that mean nothing anywhere."""


def bad_requests(seed: int, serials: list[bytes], issuer: IssuerNames) -> Iterator[list[bytes]]:
    """Yield what a connection sends, in the pieces it is sent in.

    Args:
        seed: of the choices.
        serials: of certificates that there are.
        issuer: their CA.
    """
    choice = random.Random(seed)
    while True:
        octets = b"".join(_one(choice, serials, issuer) for _ in range(choice.choice((1, 1, 1, 2, 5))))
        cuts = sorted(choice.randrange(len(octets) + 1) for _ in range(choice.choice((0, 0, 1, 3))))
        yield [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)]


def _one(choice: random.Random, serials: list[bytes], issuer: IssuerNames) -> bytes:
    if choice.random() < 0.1:
        return choice.randbytes(choice.randrange(1, 400))
    request = plain(choice.choice(serials), issuer)
    if choice.random() < 0.5:
        request = spoilt(choice, request, FAVOURITES)
    octets = choice.choice(
        (
            get(b"/" + base64.b64encode(request), b"If-None-Match: *"),
            get(b"/" + base64.urlsafe_b64encode(request).replace(b"=", b"%3d")),
            post(request, b"Content-Type: application/ocsp-request"),
            chunked(request[:30], request[30:]),
        )
    )
    return spoilt(choice, octets, FAVOURITES) if choice.random() < 0.8 else octets
