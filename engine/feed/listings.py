"""The listings of the feed, JSON: what there is, each with the digest that it is fetched by.

That of the publications is of `Publication`s, as the copy keeps them (engine/repository/publication_copy.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.errors import FeedRejected

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Listed(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)  # a newer CA host may say more


class Head(_Listed):
    """How far the record has come, and the digests of the bodies of the listings: what differs is fetched."""

    sequence: Annotated[int, Field(ge=0)]
    parties: _Digest
    crls: _Digest
    publications: _Digest
    accounts: _Digest


class ListedCrl(_Listed):
    """A CRL in force."""

    uri: str
    sha256: _Digest
    octets: Annotated[int, Field(gt=0)]
    number: Annotated[int, Field(ge=0)]
    """Its cRLNumber."""


class ListedAccount(_Listed):
    """A relying party that pays for OCSP."""

    name: str
    token_sha256: _Digest | None
    address_ranges: list[str]
    monthly_quota: Annotated[int, Field(ge=0)] | None


Entry = TypeVar("Entry", bound=BaseModel)


def listing_octets(entries: Sequence[BaseModel]) -> bytes:
    """Return a listing as it travels; the same entries make the same octets."""
    return orjson.dumps([entry.model_dump(mode="json") for entry in entries], option=orjson.OPT_SORT_KEYS)


def listing_from(octets: bytes, of: type[Entry]) -> list[Entry]:
    """Read a listing.

    Raises:
        FeedRejected: it is none.
    """
    try:
        return TypeAdapter(list[of]).validate_json(octets)  # type: ignore[valid-type]  # the type is a value here
    except ValidationError as error:
        raise FeedRejected(
            "this is no listing", place=of.__name__, rule=str(error.errors()[0]["msg"])
        ) from error
