"""Card records as the record of the CA has them now: what a status store is written from, here or at the feed's end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from engine.authority.context import AuthorityContext
from engine.authority.ocsp_responders import ocsp_responders, responder_in_charge
from engine.errors import StoreError
from engine.status.card_record import CardRecord, record_of
from engine.status.parties import ResponderCertificate, parties_octets
from engine.store.ocsp_answers import answers_of_card_range, answers_of_cards, cards_of_batches
from engine.store.schema import crl_partition
from engine.store.standings import (
    CardStanding,
    cards_of_items,
    cards_of_units,
    standings_of_card_range,
    standings_of_cards,
)
from engine.store.status_changes import ChangeKind, StatusChange

CARDS_OF_A_BATCH = 512
"""What a batch of answers or a work unit counts for: as many as either has at most (answer_pipeline.BATCH)."""


class CardRecordSource:
    """Reads the records of cards: standings, and the stored answer where it is of this very revision.

    Args:
        context: the record, and who issues and answers.
    """

    def __init__(self, context: AuthorityContext) -> None:
        self._context = context
        self._issuers: dict[bytes, int] = {context.authority.ca.key_identifier: 0}
        self._partitions: dict[int, int] = {}

    def touched(
        self, connection: Connection, entries: Sequence[StatusChange]
    ) -> Iterator[tuple[int, CardRecord]]:
        """Yield number and record, as they are now, of all cards that entries of the change feed point to.

        Raises:
            StoreError: a certificate of a CA key that this home does not have.
        """
        subjects: dict[int, list[int]] = defaultdict(list)
        for entry in entries:
            subjects[entry.kind].append(entry.subject)
        cards = {
            *cards_of_items(connection, subjects[ChangeKind.STATUS]),
            *cards_of_units(connection, subjects[ChangeKind.ISSUED]),
            *cards_of_batches(connection, subjects[ChangeKind.ANSWERED]),
        }
        numbers = sorted(cards)
        standings = standings_of_cards(connection, numbers)
        yield from self._records(connection, standings, answers_of_cards(connection, numbers))

    def range(self, connection: Connection, after: int, until: int) -> Iterator[tuple[int, CardRecord]]:
        """Yield number and record of the cards in the range (after, until].

        Raises:
            StoreError: a certificate of a CA key that this home does not have.
        """
        standings = standings_of_card_range(connection, after, until)
        yield from self._records(connection, standings, answers_of_card_range(connection, after, until))

    def parties(self) -> bytes:
        """Return who issues and who answers, encoded.

        Raises:
            StoreError: the record could not be read.
        """
        authority = self._context.authority
        with self._context.store.read() as connection:
            responders = ocsp_responders(connection, authority.issuer.algorithm)
        in_charge = responder_in_charge(responders, self._context.clock.now())
        return parties_octets(
            [(authority.ca.key_identifier, authority.ca.certificate)],
            [
                ResponderCertificate(one.number, 0, one.role.certificate, one is in_charge)
                for one in responders
            ],
            authority.issuer.algorithm,
        )

    def _records(
        self, connection: Connection, standings: Sequence[CardStanding], answers: dict[int, bytes]
    ) -> Iterator[tuple[int, CardRecord]]:
        for standing in standings:
            issuer = self._issuer_of(connection, standing.certificates[0].partition_id)
            yield standing.card_id, record_of(standing, issuer, answers.get(standing.card_id, b""))

    def _issuer_of(self, connection: Connection, partition_id: int) -> int:
        index = self._partitions.get(partition_id)
        if index is None:
            identifier = connection.execute(
                select(crl_partition.c.issuer_key_identifier).where(crl_partition.c.id == partition_id)
            ).scalar_one()
            index = self._issuers.get(identifier)
            if index is None:
                raise StoreError(
                    "certificates of a CA key that this home does not have",
                    place=f"CRL partition {partition_id}",
                    value=identifier.hex(),
                )
            self._partitions[partition_id] = index
        return index


def entries_for(waiting: Sequence[StatusChange], most_cards: int) -> Sequence[StatusChange]:
    """Return the entries, oldest first, that touch about so many cards at most; at least one."""
    cards = 0
    for place, entry in enumerate(waiting):
        cards += CARDS_OF_A_BATCH if entry.kind in (ChangeKind.ISSUED, ChangeKind.ANSWERED) else 1
        if cards > most_cards and place:
            return waiting[:place]
    return waiting
