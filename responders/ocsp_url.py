"""The OCSP request in a GET URL (RFC 6960 appendix A.1), in any spelling of base64 that clients send.

What is taken: `+`, `/` and `=` plain or percent-encoded in either case, and encoded twice; missing padding; the
URL-safe alphabet; `%20` where a form decoder had made a space of `+`; line ends of a careless encoder; slashes in
front; and a run of slashes that a proxy has made shorter, where only one reading is possible: DER tells how long the
request is.
"""

from __future__ import annotations

import re
from binascii import Error, a2b_base64
from itertools import combinations_with_replacement
from urllib.parse import unquote_to_bytes

from engine.x509.der import SEQUENCE
from engine.x509.der_reader import NotDer, read

_SPELLINGS = bytes.maketrans(b" -_", b"++/")
_LINE_ENDS = b"\r\n\t"
_RUN_OF_SLASHES = re.compile(rb"/+")
_CONSTRUCTED = 0x20  # X.690 8.1.2.5

MOST_RUNS = 16
"""Runs of slashes among which a lost one is looked for. A guess: a request of one certificate has about two."""

MOST_LOST = 2
"""Slashes looked for. A guess: two adjacent slashes are 1 in 4,096 places of base64."""


def request_in_url(text: bytes) -> bytes | None:
    """Return the OCSPRequest that a URL spells out.

    Args:
        text: what follows the responder's own path, percent-encoded as it was sent.

    Returns:
        the octets of one DER element, whatever is in it; None where there is none to be told.
    """
    if b"%" in text:
        text = text.replace(b"%2B", b"+").replace(b"%2F", b"/").replace(b"%3D", b"=")
    try:
        octets = a2b_base64(text, strict_mode=True)
    except Error:
        return _unusual(text)
    if len(octets) > 1 and octets[0] == SEQUENCE and octets[1] == len(octets) - 2:
        return octets  # a request of one certificate: less than 128 octets, and nothing after it
    return _unusual(text)


def _unusual(text: bytes) -> bytes | None:
    for _ in range(2):  # encoded twice, by a client and once more by what passed it on
        text = unquote_to_bytes(text)
    text = text.translate(_SPELLINGS, _LINE_ENDS).lstrip(b"/").rstrip(b"=")
    lost = _characters(text) - len(text)
    if not lost:
        return _decoded(text) or None
    if not 0 < lost <= MOST_LOST:
        return None
    readings = [octets for octets in map(_decoded, _with_slashes(text, lost)) if octets and _nests(octets)]
    return readings[0] if len(readings) == 1 else None


def _characters(text: bytes) -> int:
    """How many characters, without padding, the request has by its first length octets; 0 where it has none."""
    start = _decoded(text[:8]) or b""
    try:
        _, _, length = read(start, 0, 1 << 20)
    except (NotDer, IndexError):
        return 0
    return -(-length * 8 // 6)


def _with_slashes(text: bytes, lost: int) -> list[bytes]:
    """Every text that gives `lost` slashes back to the runs of slashes in it."""
    ends = [run.end() for run in _RUN_OF_SLASHES.finditer(text)]
    if len(ends) > MOST_RUNS:
        return []
    readings = []
    for places in combinations_with_replacement(ends, lost):
        reading = text
        for place in reversed(places):
            reading = reading[:place] + b"/" + reading[place:]
        readings.append(reading)
    return readings


def _decoded(text: bytes) -> bytes | None:
    try:
        return a2b_base64(text + b"=" * (-len(text) % 4), strict_mode=True)
    except Error:
        return None


def _nests(octets: bytes) -> bool:
    """Whether every constructed element is filled exactly by the elements in it."""
    unread = [(0, len(octets))]
    try:
        while unread:
            position, end = unread.pop()
            while position < end:
                tag, start, position = read(octets, position, end)
                if tag & _CONSTRUCTED:
                    unread.append((start, position))
    except NotDer:
        return False
    return True
