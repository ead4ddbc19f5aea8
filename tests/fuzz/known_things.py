"""What there is at the CA, by whether its subscriber has accepted it: what to ask for, and what must not be told."""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from engine.authority.signing import AUTHORITY_ALGORITHM
from engine.repository.published_certificate import PublishedCertificate, published_certificate
from engine.x509.certificate import assemble
from tests.cli.prepared_home import PreparedHome

SLICE = 32
"""Octets of a key or signature that no other certificate has."""

STATUS_MEDIA_TYPES = (b"application/ocsp-response", b"application/pkix-crl")
"""Answers about status: they name certificates by serial number, accepted or not (CPS 2.6.1)."""

_BLANKS = re.compile(rb"[\s:]")


@dataclass(frozen=True)
class Known:
    """The certificates of the CA.

    Attributes:
        accepted: may be published.
        unaccepted: may not; their status is told.
    """

    accepted: list[PublishedCertificate]
    unaccepted: list[PublishedCertificate]

    def any_of_them(self, choice: random.Random) -> PublishedCertificate:
        return choice.choice(choice.choice((self.accepted, self.unaccepted)))


def issued_certificates(home: PreparedHome) -> list[PublishedCertificate]:
    """Read all certificates of a home's record."""
    rows = home.query(
        "SELECT item_id, tbs, signature FROM reservation JOIN signature USING (item_id) ORDER BY item_id"
    )
    return [
        published_certificate(item, 0, assemble(tbs, AUTHORITY_ALGORITHM, signature))
        for item, tbs, signature in rows
    ]


def known_things(home: PreparedHome) -> Known:
    """Tell a home's certificates apart."""
    accepted = {item for (item,) in home.query("SELECT item_id FROM acceptance")}
    known = Known([], [])
    for one in issued_certificates(home):
        (known.accepted if one.item_id in accepted else known.unaccepted).append(one)
    return known


class Unaccepted:
    """Finds unaccepted certificates, or what is in them, in octets that a host has sent.

    Args:
        known: the certificates.
    """

    def __init__(self, known: Known) -> None:
        published = {one.name for one in known.accepted} | {one.number for one in known.accepted}
        self._pieces = {
            spelled: f"the certificate of item {one.item_id}"
            for one in known.unaccepted
            for spelled in _spellings(one.certificate)
        }
        self._names = {
            spelled: f"{text}, which only an unaccepted certificate has"
            for one in known.unaccepted
            for text in (one.name, one.number)
            if text and text not in published
            for spelled in (text.encode(), text.encode("utf-16-be"), text.encode("unicode-escape"))
        }
        self._serials = {
            spelled: f"the serial number of item {one.item_id}"
            for one in known.unaccepted
            for spelled in (one.serial, one.serial.hex().encode(), one.serial.hex().upper().encode())
        }

    def found_in(self, told: bytes, asked: bytes, *, about_status: bool = False) -> str | None:
        """Return what of an unaccepted certificate was told, None where nothing was.

        Args:
            told: all that came back, header sections too.
            asked: what was sent: a page may repeat the name, or serial number, that was asked about.
            about_status: whether serial numbers may be told.
        """
        for piece, what in self._pieces.items():
            if piece in told:
                return what
        questions = None
        about_status = about_status or any(one in told for one in STATUS_MEDIA_TYPES)
        for spelled, what in self._names.items() if about_status else self._all_names():
            if spelled in told:
                questions = _readings(asked) if questions is None else questions
                if not any(spelled.lower() in one for one in questions):
                    return what
        return None

    def _all_names(self) -> Iterable[tuple[bytes, str]]:
        yield from self._names.items()
        yield from self._serials.items()


def _spellings(certificate: bytes) -> Iterator[bytes]:
    """A slice of the key and one of the signature, as they are, in hexadecimal and in base64 at each of its places."""
    for place in (len(certificate) // 3, len(certificate) - 2 * SLICE):
        octets = certificate[place : place + SLICE]
        yield octets
        yield octets.hex().encode()
        yield octets.hex().upper().encode()
        for shift in range(3):
            inner = octets[shift : shift + SLICE // 3 * 3 - 3]
            yield base64.b64encode(inner)
            yield base64.urlsafe_b64encode(inner)


def _readings(asked: bytes) -> list[bytes]:
    """What a question says, however it is encoded; lower case."""
    readings = [asked, unquote_to_bytes(asked), unquote_to_bytes(unquote_to_bytes(asked))]
    return [one.lower() for reading in readings for one in (reading, _BLANKS.sub(b"", reading))]
