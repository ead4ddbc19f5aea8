"""Bad HTTP requests without end: valid ones with octets turned over, left out, doubled, mixed; and plain noise."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

from engine.x509.ocsp_response import IssuerNames
from tests.responders.listener_client import chunked, get, post
from tests.responders.ocsp_requests import plain


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
        request = _spoilt(choice, request)
    octets = choice.choice(
        (
            get(b"/" + base64.b64encode(request), b"If-None-Match: *"),
            get(b"/" + base64.urlsafe_b64encode(request).replace(b"=", b"%3d")),
            post(request, b"Content-Type: application/ocsp-request"),
            chunked(request[:30], request[30:]),
        )
    )
    return _spoilt(choice, octets) if choice.random() < 0.8 else octets


def _spoilt(choice: random.Random, octets: bytes) -> bytes:
    spoilt = bytearray(octets)
    for _ in range(choice.choice((1, 1, 2, 8))):
        place = choice.randrange(len(spoilt))
        match choice.randrange(5):
            case 0:
                spoilt[place] ^= 1 << choice.randrange(8)
            case 1:
                spoilt[place] = choice.choice(b"\r\n\0 :;/%=+-\xff0")
            case 2 if len(spoilt) > 9:
                del spoilt[place : place + choice.randrange(1, 8)]
            case 3:
                spoilt[place:place] = spoilt[place : place + choice.randrange(1, 64)]
            case _:
                spoilt[place:place] = choice.randbytes(choice.randrange(1, 8))
    return bytes(spoilt) or b"\0"
