"""Certificate lists (RFC 5280 section 5), written piece by piece: one of a million entries never is in memory whole.

A list is framed from outside in: what stands before the entries needs their length, so they are encoded first, into
whatever the caller spools them to; then `frame_list` gives what stands around them, and `frame_signed` what
stands around the tbsCertList once it is signed. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from engine.algorithms import SignatureAlgorithm
from engine.x509 import der, der_reader
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS
from engine.x509.issuer import Issuer
from engine.x509.revocation_list_extensions import (
    ListExtensions,
    encode_entry_extensions,
    encode_list_extensions,
)

Entry = tuple[bytes, int, int, int | None]
"""userCertificate (content octets of the INTEGER), revocationDate, reasonCode, invalidityDate or None."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTES_A_DAY = 1_440
_MINUTES = tuple(b"%02d%02d" % divmod(minute, 60) for minute in range(_MINUTES_A_DAY))
_SECONDS = tuple(b"%02dZ" % second for second in range(60))
_VERSION_2 = der.integer(1)

_TIME_OF_DAY = len("HHMMSSZ")

_DAYS = 4_096
"""Days kept encoded: of more than the ten years that a certificate can be listed (CPS 6.3.2.2)."""


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """Encode entries of revokedCertificates, one after the other (RFC 5280 section 5.1.2.6)."""
    parts: list[bytes] = []
    extend = parts.extend
    for serial, since, reason, invalidity in entries:
        minutes, second = divmod(since, 60)
        day, minute = divmod(minutes, _MINUTES_A_DAY)
        date = _date(day)
        after = _reason(reason) if invalidity is None else encode_entry_extensions(reason, invalidity)
        before = _before_serial(len(serial), len(date) + _TIME_OF_DAY + len(after))
        extend((before, serial, date, _MINUTES[minute], _SECONDS[second], after))
    return b"".join(parts)


@lru_cache(maxsize=_DAYS)
def _date(day: int) -> bytes:
    """The Time of any moment of a day, in days since the epoch, up to its time of day."""
    return der.time(_EPOCH + timedelta(days=day))[:-_TIME_OF_DAY]


@lru_cache
def _reason(reason: int) -> bytes:
    return encode_entry_extensions(reason, None)


@lru_cache
def _before_serial(serial_octets: int, octets_after: int) -> bytes:
    """The headers of an entry and of its serial."""
    serial = der.header(der.INTEGER, serial_octets)
    return der.header(der.SEQUENCE, len(serial) + serial_octets + octets_after) + serial


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands before and after something that is spooled elsewhere."""

    before: bytes
    after: bytes

    @property
    def octets(self) -> int:
        """How long both are together."""
        return len(self.before) + len(self.after)


def frame_list(
    issuer: Issuer, this_update: int, next_update: int, extensions: ListExtensions, entries_octets: int
) -> Frame:
    """Encode what stands around the entries in a tbsCertList (RFC 5280 section 5.1.2).

    Args:
        issuer: who signs; its name goes in octet by octet.
        this_update: thisUpdate.
        next_update: nextUpdate.
        extensions: what crlExtensions say.
        entries_octets: how long the encoded entries are; 0: revokedCertificates is left out (section 5.1.2.6).
    """
    head = b"".join(
        (
            _VERSION_2,
            ALGORITHM_IDENTIFIERS[issuer.algorithm],
            issuer.name,
            der.time(_EPOCH + timedelta(seconds=this_update)),
            der.time(_EPOCH + timedelta(seconds=next_update)),
            der.header(der.SEQUENCE, entries_octets) if entries_octets else b"",
        )
    )
    tail = encode_list_extensions(extensions)
    return Frame(der.header(der.SEQUENCE, len(head) + entries_octets + len(tail)) + head, tail)


def frame_signed(tbs_octets: int, algorithm: SignatureAlgorithm, signature: bytes) -> Frame:
    """Encode what stands around a tbsCertList in the CertificateList (RFC 5280 section 5.1.1).

    Args:
        tbs_octets: how long the tbsCertList is.
        algorithm: with what it was signed.
        signature: the signature value.
    """
    after = ALGORITHM_IDENTIFIERS[algorithm] + der.bit_string(signature)
    return Frame(der.header(der.SEQUENCE, tbs_octets + len(after)), after)


def read_update_times(beginning: bytes, octets: int) -> tuple[int, int]:
    """Read thisUpdate and nextUpdate from the beginning of a CertificateList.

    Args:
        beginning: its first octets: enough to hold everything before the entries.
        octets: how long the whole is.

    Returns:
        Both, in seconds since the epoch.

    Raises:
        NotDer: this is no CertificateList, or has no nextUpdate.
    """
    try:
        position, end = der_reader.expect_last(beginning, 0, octets, der.SEQUENCE)
        position, end = der_reader.expect(beginning, position, end, der.SEQUENCE)
        for tag in (der.INTEGER, der.SEQUENCE, der.SEQUENCE):  # version, signature, issuer
            position = der_reader.expect(beginning, position, end, tag)[1]
        this_update, position = _read_time(beginning, position, end)
        next_update, _ = _read_time(beginning, position, end)
    except IndexError as error:
        raise der_reader.NotDer("the beginning is too short") from error
    return this_update, next_update


def _read_time(octets: bytes, position: int, end: int) -> tuple[int, int]:
    tag, start, stop = der_reader.read(octets, position, end)
    text = octets[start:stop].decode("ascii", errors="replace")
    if tag == der.UTC_TIME:  # RFC 5280 section 4.1.2.5.1: 50 to 99 are of the last century
        text = ("19" if text >= "50" else "20") + text
    elif tag != der.GENERALIZED_TIME:
        raise der_reader.NotDer(f"octet {position}: no Time")
    try:
        moment = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise der_reader.NotDer(f"octet {position}: no Time as RFC 5280 writes it") from error
    return int(moment.timestamp()), stop
