"""The listings of the feed, JSON: what there is, each with the digest that it is fetched by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.errors import FeedRejected

_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
_Seconds = Annotated[int, Field(ge=0, lt=1 << 40)]


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


class ListedPublication(_Listed):
    """A document, a piece of news, or a notice; the fields are the columns of `publication`."""

    id: Annotated[int, Field(gt=0)]
    kind: str
    title_zh: str
    title_en: str
    text_zh: str
    text_en: str
    version: str | None
    significance: str | None
    about: int | None
    published_at: _Seconds
    effective_at: _Seconds | None
    comments_until: _Seconds | None
    content_sha256: _Digest | None
    content_size: Annotated[int, Field(ge=0)] | None
    media_type: str | None
    file_name: str | None
    withdrawn_at: _Seconds | None


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
