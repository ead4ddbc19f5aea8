"""Records of cards as they come over the feed (`engine/feed/status_records.py`), answers and all."""

from __future__ import annotations

from functools import cache

from engine.errors import FeedRejected
from engine.feed.entries import pack_entries, unpack_entries
from engine.feed.status_records import StatusRecords
from engine.status.card_record import pack
from engine.store.schema import CertificateState
from tests.feed_pull.toy_feed import parties_of, record, toy, trust


@cache
def _records() -> StatusRecords:
    return StatusRecords(_parties(), trust())


@cache
def _parties() -> bytes:
    return parties_of(toy().ca, toy().responder)


@cache
def _cards() -> tuple[tuple[int, bytes], ...]:
    return (
        (1, pack(record(1))),
        (2, pack(record(2, 3, CertificateState.REVOKED))),
        (3, pack(record(3, answered=False))),
    )


def seeds() -> list[bytes]:
    return [_parties(), *(pack_entries([card]) for card in _cards()), pack_entries(_cards())]


def attempt(octets: bytes) -> bool:
    """Read them as records, or as the parties where they begin as JSON does."""
    try:
        if octets.startswith(b"{"):
            StatusRecords(octets, trust())
        else:
            _records().packed_cards(unpack_entries(octets))
    except FeedRejected as error:
        assert str(error)
        return False
    return True
