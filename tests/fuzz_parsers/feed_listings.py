"""Listings of the feed (`engine/feed/listings.py`); the first octet says of what."""

from __future__ import annotations

from pydantic import BaseModel

from engine.errors import FeedRejected
from engine.feed.listings import Head, ListedAccount, ListedCrl, listing_from, listing_octets
from engine.repository.publication_copy import Publication

_OF: tuple[type[BaseModel], ...] = (Head, ListedCrl, ListedAccount, Publication)


def seeds() -> list[bytes]:
    digest = "ab" * 32
    listings: tuple[BaseModel, ...] = (
        Head(sequence=7, parties=digest, crls=digest, publications=digest, accounts=digest),
        ListedCrl(uri="http://toy.example/crl/p-1.crl", sha256=digest, octets=300, number=2),
        ListedAccount(name="bank", token_sha256=None, address_ranges=["192.0.2.0/24"], monthly_quota=5),
    )
    return [bytes((place,)) + listing_octets([one, one]) for place, one in enumerate(listings)]


def attempt(octets: bytes) -> bool:
    try:
        listing_from(octets[1:], _OF[octets[0] % len(_OF) if octets else 0])
    except FeedRejected as error:
        assert str(error)
        return False
    return True
