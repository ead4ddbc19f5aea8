"""Pieces of the feed (`engine/feed/piece.py`): as they come, and again as if their signature were right."""

from __future__ import annotations

from functools import cache
from unittest.mock import patch

from engine.errors import FeedRejected
from engine.feed import piece
from engine.feed.entries import AcceptedCertificate, pack_entries, unpack_entries
from engine.feed.piece import PieceKind, Statement, digest_of, join_piece
from tests.feed_pull.toy_feed import START, toy
from tests.fuzz_parsers.cms_signature import signed
from tests.responders.synthetic_status import der_of

_EMPTY_BODY = pack_entries(())


@cache
def _piece(body: bytes) -> bytes:
    statement = Statement(
        feed=toy().ca.key_hash.hex(),
        challenge="0" * 32,
        kind=PieceKind.CERTIFICATES,
        after=0,
        through=2,
        is_last=True,
        sequence=2,
        mark="ab" * 32,
        made_at=START,
        octets=len(body),
        sha256=digest_of(body),
    ).canonical()
    return join_piece(statement, signed(statement), body)


def seeds() -> list[bytes]:
    accepted = AcceptedCertificate(START, b"0\x03a certificate").packed()
    return [_piece(_EMPTY_BODY), _piece(pack_entries([(1, accepted), (2, accepted)]))]


def attempt(octets: bytes) -> bool:
    with patch.object(piece, "verify_detached"):
        _body_of(octets)
    return _body_of(octets)


def _body_of(octets: bytes) -> bool:
    try:
        _, body = piece.verified(
            octets,
            signer=der_of(toy().unauthorised_responder),
            expected=lambda statement: None,
            place="fuzzing",
        )
        for _, content in unpack_entries(body):
            AcceptedCertificate.unpacked(content)
    except FeedRejected as error:
        assert str(error)
        return False
    return True
