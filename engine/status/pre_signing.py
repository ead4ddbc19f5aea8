"""Signing OCSP answers ahead: which cards, what is signed, and the two commits around the signature.

The steps are plain functions that run on a thread; `pre_signer.py` strings them together. As with certificates, what is
about to be signed is committed first: a batch's digests with their audit record, so that every signature the token ever
made is accounted for. An answer whose card changed meanwhile is not stored; the card is then still owed one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.context import AuthorityContext
from engine.authority.ocsp_responders import OcspResponderCertificate
from engine.errors import SealmintError, SignatureInvalid, TokenError
from engine.fault_points import fault_point
from engine.status.answer_layout import AnswerLayout
from engine.status.card_record import AnswerHead, CertificateStanding, pack_answer, record_of
from engine.status.parties import layout_of
from engine.store.ocsp_answers import (
    NewAnswer,
    answers_of_cards,
    cards_to_renew,
    drop_answers,
    owed_among,
    reserve_batch,
    settle,
    store_answers,
)
from engine.store.schema import to_microseconds
from engine.store.standings import CardStanding, cards_of_units, cards_owed_an_answer, standings_of_cards
from engine.store.status_changes import ChangeKind, changes_after, move_reader, reader_position
from engine.x509.certificate import verifier
from engine.x509.ocsp_response import HASH_NAMES, IssuerNames

ENTRIES_AT_ONCE = 64
"""Feed entries read at once while looking for new certificates. A guess."""

EARLIEST_RENEWAL, LATEST_RENEWAL = 0.5, 0.75
"""When in its validity an answer is renewed, spread out over the cards: a token that is away for a quarter of it is not
noticed by relying parties. A guess."""

_SPREAD = 0x9E3779B1
"""Multiplied by the card's number and cut to 32 bits: neighbours come far apart (2^32 by the golden ratio, Knuth's
multiplicative hashing)."""


@dataclass(slots=True)
class Prepared:
    """An answer about to be signed."""

    card_id: int
    revision: int
    head: AnswerHead
    tbs: bytes


@dataclass(slots=True)
class AnswerBatch:
    """A batch whose digests are recorded."""

    batch_id: int
    answers: list[Prepared]
    read_until: int | None = None
    """How far in the feed all new cards are in this batch or an earlier one."""


@dataclass(slots=True)
class Candidates:
    """Cards to be signed for next."""

    cards: list[int] = field(default_factory=list)
    read_until: int | None = None


class PreSigning:
    """The work of one signer.

    Args:
        context: the record, the settings, the clock.
        responder: who signs.
        share: which of how many signers this is: the cards are divided by their numbers.
    """

    def __init__(
        self, context: AuthorityContext, responder: OcspResponderCertificate, share: tuple[int, int] = (0, 1)
    ) -> None:
        settings = context.configuration.ocsp
        self._context = context
        self._responder = responder
        self._share = share
        self._reader = f"pre-signing/{share[0]}/{share[1]}"
        self._algorithm = context.authority.issuer.algorithm
        issuer = IssuerNames.from_certificate(context.authority.ca.certificate)
        self._layout: AnswerLayout = layout_of(issuer, responder.role.certificate, self._algorithm)
        self._verify: Callable[[bytes, bytes], None] = verifier(responder.role.public_key, self._algorithm)
        self._hashes = sum(1 << HASH_NAMES.index(name) for name in settings.hashes)
        self._validity = settings.validity_hours * 3600
        years = settings.archive_cutoff_years
        self._retention = None if years is None else timedelta(days=365.25 * years)

    # ---- which cards ----

    def owed(self, limit: int) -> list[int]:
        """Return the cards whose status changed since their answer was signed."""
        with self._context.store.read() as connection:
            return cards_owed_an_answer(connection, limit, self._share)

    def due(self, limit: int) -> list[int]:
        """Return the cards whose answer is to be renewed."""
        now = to_microseconds(self._context.clock.now())
        with self._context.store.read() as connection:
            return cards_to_renew(connection, now, limit, self._share)

    def new(self, read_until: int | None) -> Candidates:
        """Return the cards of the next work units that were issued, as far as their answer is missing.

        Args:
            read_until: where the last call came to; None = go on from where the record says.
        """
        with self._context.store.read() as connection:
            after = reader_position(connection, self._reader) if read_until is None else read_until
            entries = changes_after(connection, after, ENTRIES_AT_ONCE)
            if not entries:
                return Candidates()
            units = [entry.subject for entry in entries if entry.kind == ChangeKind.ISSUED]
            cards = [card for card in cards_of_units(connection, units) if self._is_mine(card)]
            return Candidates(_without_answer(connection, cards), entries[-1].sequence)

    def _is_mine(self, card_id: int) -> bool:
        return card_id % self._share[1] == self._share[0]

    def note_read(self, read_until: int) -> None:
        """Note that everything up to an entry of the feed has its answer."""
        with self._context.store.write() as connection:
            move_reader(connection, self._reader, read_until)

    # ---- what is signed ----

    def prepare(
        self, cards: Sequence[int], *, urgent: bool, read_until: int | None = None
    ) -> AnswerBatch | None:
        """Read what the cards are worth, lay out their answers, and commit the digests.

        Args:
            cards: whose answers are signed.
            urgent: whether changes of status asked for it.
            read_until: see `AnswerBatch`.

        Returns:
            The batch, or None where no card needs an answer: all on them has expired. Such cards are settled.

        Raises:
            StoreError: nothing was recorded, and nothing may be signed.
        """
        now = int(self._context.clock.now().timestamp())  # before the snapshot: thisUpdate must not be later
        with self._context.store.read() as connection:
            standings = standings_of_cards(connection, cards)
        prepared = [self._answer(standing, now) for standing in standings]
        answers = [answer for answer in prepared if answer is not None]
        over = [standing for standing, answer in zip(standings, prepared, strict=True) if answer is None]
        if over:
            self._settle(over)
        if not answers:
            return None
        return AnswerBatch(self._reserve(answers, urgent=urgent), answers, read_until)

    def _answer(self, standing: CardStanding, now: int) -> Prepared | None:
        record = record_of(standing, 0)
        cutoff = self._archive_cutoff(now)
        covered = 0
        for place, certificate in enumerate(record.certificates):
            if self._is_answered_for(certificate, now, cutoff):
                covered |= 1 << place
        if not covered:
            return None
        until = min(now + self._validity, int(self._responder.not_after.timestamp()))
        head = AnswerHead(
            standing.revision,
            record.serials_check,
            self._responder.number,
            self._hashes,
            covered,
            now,
            now,
            until,
            cutoff if any(certificate.not_after < now for certificate in record.certificates) else 0,
        )
        return Prepared(
            standing.card_id, standing.revision, head, self._layout.tbs(record.certificates, head)
        )

    def _archive_cutoff(self, now: int) -> int:
        return 0 if self._retention is None else now - int(self._retention.total_seconds())

    def _is_answered_for(self, certificate: CertificateStanding, now: int, cutoff: int) -> bool:
        return certificate.not_after >= (cutoff or now)

    def _settle(self, standings: Sequence[CardStanding]) -> None:
        with self._context.store.write() as connection:
            drop_answers(connection, [standing.card_id for standing in standings])
            settle(connection, [(standing.card_id, standing.revision) for standing in standings])

    def _reserve(self, answers: Sequence[Prepared], *, urgent: bool) -> int:
        digests = b"".join(hashlib.sha256(answer.tbs).digest() for answer in answers)
        with self._context.store.write() as connection:
            batch_id = reserve_batch(
                connection,
                responder_id=self._responder.number,
                digests=digests,
                urgent=urgent,
                now=self._context.clock.now(),
            )
            append_record(
                connection,
                self._context.clock,
                Event.OCSP_BATCH_RESERVED,
                actor=self._context.actor,
                body={
                    "batch": batch_id,
                    "answers": len(answers),
                    "urgent": urgent,
                    # Over the SHA-256 digests of the tbsResponseData, as the batch keeps them.
                    "digests_sha256": hashlib.sha256(digests).hexdigest(),
                },
            )
        fault_point("ocsp.reserved")
        return batch_id

    def complete(self, batch: AnswerBatch, outcomes: Sequence[bytes | TokenError]) -> int:
        """Verify every signature and store the answers.

        Args:
            batch: as prepared.
            outcomes: a signature or an error for each answer, in order.

        Returns:
            How many were stored; fewer than signed where cards changed meanwhile.

        Raises:
            TokenError: the first error of the outcomes; the others are stored.
            SignatureInvalid: a signature does not verify; the others are stored.
            StoreError: the store refused; nothing was stored.
        """
        fault_point("ocsp.signed")
        signed: list[tuple[NewAnswer, int]] = []
        failure: SealmintError | None = None
        for answer, outcome in zip(batch.answers, outcomes, strict=True):
            if isinstance(outcome, TokenError):
                failure = failure or outcome
                continue
            try:
                self._verify(answer.tbs, outcome)
            except SignatureInvalid as error:
                failure = failure or error
            else:
                signed.append((self._stored(batch.batch_id, answer, outcome), answer.revision))
        with self._context.store.write() as connection:
            stored = store_answers(connection, batch.batch_id, signed, self._context.clock.now())
            if batch.read_until is not None and failure is None:
                move_reader(connection, self._reader, batch.read_until)
        fault_point("ocsp.stored")
        if failure is not None:
            raise failure
        return stored

    def _stored(self, batch_id: int, answer: Prepared, signature: bytes) -> NewAnswer:
        return NewAnswer(
            answer.card_id,
            batch_id,
            self._responder.number,
            _renew_at(answer.card_id, answer.head) * 1_000_000,
            pack_answer(answer.head, signature),
        )


def _without_answer(connection: Connection, cards: Sequence[int]) -> list[int]:
    """The cards that have no answer, or one that does not cover all of their certificates.

    Not those whose status changed since: they are owed one, which is more urgent.
    """
    owed = owed_among(connection, cards)
    answers = answers_of_cards(connection, cards)
    standings = standings_of_cards(connection, list(answers))
    whole = {card.card_id for card in standings if record_of(card, 0, answers[card.card_id]).answer}
    return [card for card in cards if card not in whole and card not in owed]


def _renew_at(card_id: int, head: AnswerHead) -> int:
    """When an answer is renewed, in seconds: somewhere between the bounds, by the card's number."""
    place = (card_id * _SPREAD & 0xFFFFFFFF) / 2**32
    share = EARLIEST_RENEWAL + (LATEST_RENEWAL - EARLIEST_RENEWAL) * place
    return head.this_update + int((head.next_update - head.this_update) * share)
