"""Answers signed ahead, against what their cards are worth (RFC 6960, docs/ocsp-answers.md)."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from cryptography import x509

from engine.algorithms import SignatureAlgorithm
from engine.checker.authority import Authority, verify
from engine.checker.finding import Finding, judge_each
from engine.checker.ocsp_layout import CertIds, Head, Status, take_apart
from engine.checker.record import Record

_MICROSECONDS = 1_000_000
_CLOCK_SECONDS = 2
"""How far a clock may have been put back in between; the audit log allows as much (docs/architecture.md)."""

_DIGEST = 32
"""Octets of SHA-256."""

_STANDINGS = (
    "SELECT item.card_id, reservation.serial, entry.since, entry.reason, status.not_after FROM item"
    " JOIN certificate_status AS status ON status.item_id = item.id"
    " JOIN reservation ON reservation.item_id = item.id"
    " LEFT JOIN crl_entry AS entry ON entry.partition_id = status.partition_id AND entry.item_id = item.id"
    " ORDER BY item.card_id, item.id"
)

_ANSWERS = (
    "SELECT ocsp_answer.card_id, batch_id, responder_id, answer, coalesce(changed.revision, 0),"
    " coalesce(changed.answered, 0) FROM ocsp_answer"
    " LEFT JOIN card_status_revision AS changed ON changed.card_id = ocsp_answer.card_id"
    " ORDER BY ocsp_answer.card_id"
)

_BATCH = "SELECT responder_id, reserved_at, digests FROM ocsp_batch WHERE id = :batch"


class _Batch(NamedTuple):
    responder: int
    reserved_at: int
    digests: frozenset[bytes]


class OcspAnswers:
    """The stored answers of a record.

    Args:
        record: the snapshot.
        authority: the CA, and the responders it certified.
        algorithm: with what they sign.
    """

    def __init__(self, record: Record, authority: Authority, algorithm: SignatureAlgorithm) -> None:
        self._record = record
        self._authority = authority
        self._algorithm = algorithm
        self._cert_ids = CertIds(authority.ca)
        self._batches: dict[int, _Batch] = {}

    def check(self) -> Iterator[Finding]:
        """Lay every answer out anew from the record, find its digest in its batch, and verify its signature."""
        standings = groupby(self._record.rows(_STANDINGS), key=itemgetter(0))
        card, group = next(standings, (None, iter(())))

        def faults(
            number: int, batch: int, responder: int, answer: bytes, revision: int, answered: int
        ) -> Iterable[str]:
            nonlocal card, group
            while card is not None and card < number:
                card, group = next(standings, (None, iter(())))
            if card != number:
                return ["no certificate of this card exists"]
            return self._faults(
                [_status(*row) for row in group], batch, responder, answer, revision, answered
            )

        yield from judge_each("ocsp-answer", "ocsp_answer of card", self._record.rows(_ANSWERS), faults)

    def _faults(
        self,
        statuses: Sequence[Status],
        batch_id: int,
        responder: int,
        answer: bytes,
        revision: int,
        answered: int,
    ) -> Iterable[str]:
        head, signature = take_apart(answer)
        serials = zlib.crc32(b"".join(status.serial for status in statuses))
        if head.revision != revision or head.serials_check != serials:
            # Not sent any more: another is owed, or made as soon as the feed of new certificates is read.
            if answered >= revision > 0 and head.revision != revision:
                yield f"of revision {head.revision}; the card is at {revision} and nothing is owed"
            return
        certificate, batch = self._authority.responders.get(responder), self._batch(batch_id)
        if certificate is None or batch is None or not responder == batch.responder == head.responder:
            yield "its responder or its batch is not on record"
            return
        yield from _time_faults(statuses, head, certificate, batch.reserved_at)
        message = self._cert_ids.response_data(statuses, head, certificate)
        if hashlib.sha256(message).digest() not in batch.digests:
            yield "does not say what the record says, or was never reserved"
        verify(certificate, signature, message, self._algorithm)

    def _batch(self, number: int) -> _Batch | None:
        if number not in self._batches:
            row = self._record.row(_BATCH, batch=number)
            if row is None:
                return None
            responder, reserved_at, digests = row
            parts = (digests[start : start + _DIGEST] for start in range(0, len(digests), _DIGEST))
            self._batches[number] = _Batch(responder, reserved_at, frozenset(parts))
        return self._batches[number]


def _status(_card: int, serial: bytes, since: int | None, reason: int | None, not_after: int) -> Status:
    return Status(
        serial, None if since is None else since // _MICROSECONDS, reason or 0, not_after // _MICROSECONDS
    )


def _time_faults(
    statuses: Sequence[Status], head: Head, responder: x509.Certificate, reserved_at: int
) -> Iterable[str]:
    """No time lies: what an answer says was read before its batch was reserved."""
    if not head.this_update <= head.produced_at <= reserved_at // _MICROSECONDS + _CLOCK_SECONDS:
        yield "thisUpdate, producedAt and the reservation of its batch are out of order"
    if not head.this_update < head.next_update <= responder.not_valid_after_utc.timestamp():
        yield "nextUpdate is not between thisUpdate and the end of its responder"
    cutoff = head.archive_cutoff or head.this_update
    for place, status in enumerate(statuses):
        if status.not_after >= cutoff and not head.covered >> place & 1:
            yield f"leaves out serial {status.serial.hex()}"
