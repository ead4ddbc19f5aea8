"""A piece of the feed: a statement, the CA's signature over it, and the body that it names by digest.

    statement, canonical JSON     LF
    detached CMS over these octets (RFC 5652), base64     LF
    body

The signature is the operations key's. The statement repeats the challenge of whoever asked, so a piece answers one
question only: none can be kept and shown again later. It names the stretch of the record that the body is of, so
pieces cannot be left out or put in another order.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.authority.detached_signature import verify_detached
from engine.errors import FeedRejected, SignatureInvalid

MOST_BODY_OCTETS = 4 << 20
"""Of a piece: so much of it is in memory at a time at either end. A guess: some thousand cards or certificates."""

MOST_PIECE_OCTETS = MOST_BODY_OCTETS + 65_536
"""With statement and signature, which carries a certificate or two. A guess."""

CHALLENGE_DIGITS = 32
"""128 random bits: nobody meets one twice."""

_HEX = r"^[0-9a-f]*$"
_Digest = Annotated[str, Field(min_length=64, max_length=64, pattern=_HEX)]
Challenge = Annotated[str, Field(min_length=CHALLENGE_DIGITS, max_length=CHALLENGE_DIGITS, pattern=_HEX)]
Mark = Annotated[str, Field(max_length=64, pattern=_HEX)]
Position = Annotated[int, Field(ge=0, lt=1 << 63)]


class PieceKind(StrEnum):
    """What a piece is of."""

    HEAD = "head"
    """JSON: how far the record has come, and the digests of all listings."""
    PARTIES = "parties"
    """Who issues and who answers (`engine/status/parties.py`)."""
    STATUS = "status"
    """The records of the cards that entries of the change feed touch, from `after` to `through`."""
    STATUS_SNAPSHOT = "status-snapshot"
    """The records of the cards whose numbers go from `after` to `through`."""
    CERTIFICATES = "certificates"
    """The certificates accepted by entries of the change feed from `after` to `through`."""
    CERTIFICATES_SNAPSHOT = "certificates-snapshot"
    """The accepted certificates whose item numbers go from `after` to `through`."""
    CRLS = "crls"
    """JSON: the CRLs in force."""
    CRL = "crl"
    """Octets `after` to `through` of the CRL with the digest that was asked for."""
    PUBLICATIONS = "publications"
    """JSON: documents, news and notices."""
    PUBLICATION = "publication"
    """Octets `after` to `through` of the content with the digest that was asked for."""
    ACCOUNTS = "accounts"
    """JSON: the accounts of relying parties."""


class Statement(BaseModel):
    """What the CA says of a piece."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    feed: Annotated[str, Field(min_length=1, max_length=64, pattern=_HEX)]
    """Which CA's: the key identifier of its certificate."""
    challenge: Challenge
    kind: Annotated[PieceKind, Field(strict=False)]
    after: Position
    """Where the body begins, exclusively: an entry of the change feed, a card, an item, or an octet."""
    through: Position
    """Where it ends, inclusively."""
    is_last: bool
    """Whether there was nothing after it."""
    sequence: Position
    """The last entry of the change feed when the body was read."""
    mark: Mark
    """The digest of the entry `through` of the change feed, for STATUS and CERTIFICATES, or of `sequence`."""
    made_at: Position
    """Seconds since the epoch."""
    octets: Annotated[int, Field(ge=0, le=MOST_BODY_OCTETS)]
    """Of the body."""
    sha256: _Digest
    """Of the body."""

    def canonical(self) -> bytes:
        """Return the octets that are signed."""
        return orjson.dumps(self.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)


def digest_of(body: bytes) -> str:
    """Return the digest by which a statement names a body."""
    return hashlib.sha256(body).hexdigest()


def join_piece(statement: bytes, signature: bytes, body: bytes) -> bytes:
    """Return a piece as it travels."""
    return b"".join((statement, b"\n", binascii.b2a_base64(signature, newline=False), b"\n", body))


def verified(
    piece: bytes, *, signer: bytes, expected: Callable[[Statement], str | None], place: str
) -> tuple[Statement, bytes]:
    """Verify a piece and return its statement and body.

    Args:
        piece: as it came.
        signer: the operations certificate, DER.
        expected: says why a statement does not answer the question that was asked; None where it does.
        place: where it came from, for errors.

    Raises:
        FeedRejected: it is not what the CA signed for this question.
    """
    parts = piece.split(b"\n", 2)
    if len(parts) != 3:
        raise FeedRejected("this is no piece of a feed", place=place, rule="statement, signature, body")
    octets, encoded, body = parts
    try:
        verify_detached(octets, binascii.a2b_base64(encoded, strict_mode=True), [signer])
        statement = Statement.model_validate_json(octets)
    except (SignatureInvalid, ValidationError, binascii.Error) as error:
        raise FeedRejected(
            "a piece of the feed is not signed by the CA", place=place, rule=str(error)
        ) from error
    if len(body) != statement.octets or digest_of(body) != statement.sha256:
        raise FeedRejected(
            "the body of a piece is not the one that was signed",
            place=place,
            value=len(body),
            rule=f"{statement.octets} octets, SHA-256 {statement.sha256}",
        )
    refusal = expected(statement)
    if refusal is not None:
        raise FeedRejected(
            "a piece of the feed answers another question",
            place=place,
            value=statement.kind.value,
            rule=refusal,
        )
    return statement, body
