"""A chunk of a plan: what each eligible entity gets, decided and written in one transaction.

The questions (does it hold a primary card? is the card number taken? the key?) are asked in the transaction that
answers them with claims, so two plans made at the same time cannot both give an entity a card.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from sqlalchemy import Connection

from engine.errors import InputRejected
from engine.issuance.policy import Policy
from engine.issuance.staging import StagedCard
from engine.kinds import Carrier, Kind, Rank, Usage
from engine.register.row import RegisterRow
from engine.store.claims import held_primary_cards, subject_holder, taken
from engine.store.plans import (
    KeyClaim,
    PlannedCard,
    PlannedEntity,
    PlannedKey,
    allot_partition,
    append_cards,
    append_unit,
    entities_by_identifier,
    next_id,
)
from engine.store.schema import (
    card_number_claim,
    entity,
    public_key_claim,
    subscriber_number_claim,
)
from engine.x509.names import SubjectFields, check_subject, subject_der
from engine.x509.profiles import CertificateProfile, ProfileSet

CHUNK_ENTITIES = 2_048
"""Entities decided in one transaction: 8 units of 512 items with one card each. A guess: a tenth of a second, so a
run at work waits no longer for the write lock."""

SUBSCRIBER_NUMBER_DIGITS = 10
"""The automatic subscriber number is the entity's row number in ten digits (CPS 3.1.5 leaves the form open)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An eligible entity with the cards made for it."""

    row: RegisterRow
    cards: Sequence[StagedCard]


@dataclass(slots=True)
class ChunkOutcome:
    """What became of a chunk's entities; each is in exactly one place."""

    eligible: int = 0
    already_held: int = 0
    cards: int = 0
    items: int = 0
    units: int = 0
    rejects: list[tuple[RegisterRow, str, str, str]] = field(default_factory=list)
    """Row, reason, field and detail."""
    key_claims: list[KeyClaim] = field(default_factory=list)
    """What the items will certify: claimed when the whole plan is there, in the order of the digests."""


@dataclass(frozen=True, slots=True)
class PlanRules:
    """What decides: the policy, the profiles, and the CA key whose CRL partitions are filled."""

    policy: Policy
    profiles: ProfileSet
    issuer_key_identifier: bytes
    now: datetime
    subjects: set[bytes] = field(default_factory=set)
    """Subjects without a subscriber number that this plan has given away: a dry run leaves no claims of them."""


class _Refused(Exception):
    """The entity gets nothing, for a reason."""

    def __init__(self, reason: str, field_name: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.field_name = field_name
        self.detail = detail


@dataclass(slots=True)
class _Known:
    """What the store says about a chunk's numbers and keys."""

    entities: Mapping[tuple[Kind, str], tuple[int, str | None]]
    held: Mapping[int, int]
    card_numbers: set[object]
    keys: set[object]
    subscriber_numbers: set[object]
    next_entity: int


def plan_chunk(
    connection: Connection, run_id: int | None, candidates: Sequence[Candidate], rules: PlanRules
) -> ChunkOutcome:
    """Decide what each entity gets, and write it.

    Args:
        connection: a writing transaction; for a dry run a snapshot will do.
        run_id: the run; None for a dry run: nothing is written.
        candidates: eligible entities, each number once.
        rules: what decides.

    Returns:
        What became of them.
    """
    known = _ask(connection, candidates, rules.now)
    outcome = ChunkOutcome()
    planned: list[PlannedCard] = []
    for candidate in candidates:
        try:
            cards = _cards_for(connection, candidate, rules, known)
        except _Refused as refused:
            outcome.rejects.append((candidate.row, refused.reason, refused.field_name, refused.detail))
            continue
        if cards is None:
            outcome.already_held += 1
        else:
            outcome.eligible += 1
            planned += cards
    outcome.cards = len(planned)
    outcome.items = sum(len(card.keys) for card in planned)
    if run_id is not None:
        _write(connection, run_id, planned, rules, outcome)
    return outcome


def _ask(connection: Connection, candidates: Sequence[Candidate], now: datetime) -> _Known:
    by_kind: dict[Kind, list[str]] = {}
    for candidate in candidates:
        by_kind.setdefault(candidate.row.kind, []).append(candidate.row.identifier)
    entities = {
        (kind, identifier): found
        for kind, identifiers in by_kind.items()
        for identifier, found in entities_by_identifier(connection, kind.value, identifiers).items()
    }
    cards = [card for candidate in candidates for card in candidate.cards]
    first = next_id(connection, entity)
    numbers = [_number_text(first + offset) for offset in range(len(candidates))]
    return _Known(
        entities=entities,
        held=held_primary_cards(connection, [entity_id for entity_id, _ in entities.values()], now),
        card_numbers=taken(connection, card_number_claim, "number", [card.number for card in cards]),
        keys=taken(
            connection,
            public_key_claim,
            "key_digest",
            [digest for card in cards for _, _, digest in card.keys],
        ),
        subscriber_numbers=taken(connection, subscriber_number_claim, "number", numbers),
        next_entity=first,
    )


def _cards_for(
    connection: Connection, candidate: Candidate, rules: PlanRules, known: _Known
) -> list[PlannedCard] | None:
    """Return the entity's cards, or None where it holds what the policy gives already."""
    row = candidate.row
    entity_id, number = known.entities.get((row.kind, row.identifier), (None, None))
    holds_primary = entity_id is not None and entity_id in known.held
    gives_primary = rules.policy.cards[0].rank is Rank.PRIMARY or any(
        rule.rank is Rank.PRIMARY for rule in rules.policy.cards
    )
    if holds_primary and gives_primary:
        return None
    if not holds_primary and not gives_primary:
        raise _Refused(
            "no-primary-card", "cards", "a secondary card is asked for after the primary (CPS 1.3.5.1)"
        )
    chosen = _choose(candidate.cards, rules.policy, known)
    is_new = entity_id is None
    if entity_id is None:
        entity_id = known.next_entity
        number = _subscriber_number(rules.profiles, row, known)
    holder = PlannedEntity(
        entity_id, is_new, row.kind.value, row.identifier, row.name, row.branch_name, row.county, number
    )
    cards = [_planned(rules.profiles, row, holder, card) for card in chosen]
    if number is None and _subject_is_free(connection, cards[0].subject, entity_id, rules.subjects):
        cards[0] = cards[0]._replace(claims_subject=True)
    known.next_entity += is_new
    return cards


def _choose(cards: Sequence[StagedCard], policy: Policy, known: _Known) -> list[StagedCard]:
    """Take as many cards of each rank as the policy gives."""
    chosen: list[StagedCard] = []
    for rule in policy.cards:
        of_rank = [card for card in cards if card.rank is rule.rank]
        if len(of_rank) < rule.number:
            raise _Refused(
                "no-card-made",
                "cards",
                f"the card file has {len(of_rank)} {rule.rank.value} card(s) for it, the policy gives {rule.number}",
            )
        chosen += of_rank[: rule.number]
    for card in chosen:
        if card.number in known.card_numbers:
            raise _Refused(
                "card-number-taken", "card_number", f"{card.number} belongs to another card already"
            )
        for usage, _, digest in card.keys:
            if digest in known.keys:
                raise _Refused(
                    "public-key-certified",
                    f"keys.{usage.value}",
                    f"card {card.number}: the key has a certificate already (choice 4: a key is certified once)",
                )
    return chosen


def _number_text(entity_id: int) -> str:
    return f"{entity_id:0{SUBSCRIBER_NUMBER_DIGITS}d}"


def _subscriber_number(profiles: ProfileSet, row: RegisterRow, known: _Known) -> str | None:
    """Assign the subscriber number; the limited partnerships have none (CPS 3.1.4, 3.1.5)."""
    if not _has_subscriber_number(profiles, row.kind):
        return None
    number = _number_text(known.next_entity)
    if number in known.subscriber_numbers:
        known.next_entity += 1  # the clash is this entity's alone
        raise _Refused(
            "subscriber-number-taken", "subscriber_number", f"{number}: to be given by hand (CPS 3.1.5)"
        )
    return number


def _subject_is_free(connection: Connection, subject: bytes, entity_id: int, given: set[bytes]) -> bool:
    """Say whether a subject that no number tells apart is still to be claimed; False where it is the entity's own."""
    digest = hashlib.sha256(subject).digest()
    holder = subject_holder(connection, digest)
    if holder == entity_id:
        return False
    if holder is not None or digest in given:
        raise _Refused(
            "subject-held-by-another",
            "name",
            "another entity has this DN and no number tells them apart: for a person to decide (choice 16)",
        )
    given.add(digest)
    return True


@lru_cache(maxsize=64)  # a handful of kinds and ranks
def _profile(profiles: ProfileSet, kind: Kind, usage: Usage, rank: Rank) -> CertificateProfile:
    return profiles.certificate(kind, usage, rank, Carrier.IC_CARD)


@lru_cache(maxsize=16)
def _has_subscriber_number(profiles: ProfileSet, kind: Kind) -> bool:
    profile = _profile(profiles, kind, Usage.SIGNATURE, Rank.PRIMARY)
    return any(attribute.name == "serialNumber" for attribute in profile.subject)


def _planned(profiles: ProfileSet, row: RegisterRow, holder: PlannedEntity, card: StagedCard) -> PlannedCard:
    profile = _profile(profiles, row.kind, Usage.SIGNATURE, card.rank)
    fields = SubjectFields(
        organization=row.name,
        unit=row.branch_name,
        county=row.county,
        subscriber_number=holder.subscriber_number,
        uniform_number=row.identifier,
        registrant_kind=row.kind,
    )
    try:
        check_subject(profile, fields)
    except InputRejected as error:
        raise _Refused("name-not-certifiable", error.place or "name", str(error)) from error
    return PlannedCard(
        holder=holder,
        number=card.number,
        rank=card.rank.value,
        carrier=Carrier.IC_CARD.value,
        subject=subject_der(profile, fields),
        uniform_number=row.identifier if profile.has_uniform_number else None,
        keys=tuple(PlannedKey(usage.value, key, digest) for usage, key, digest in card.keys),
    )


def _write(
    connection: Connection,
    run_id: int,
    planned: Sequence[PlannedCard],
    rules: PlanRules,
    outcome: ChunkOutcome,
) -> None:
    card_ids = append_cards(connection, run_id, planned)
    keys = [(card_id, key) for card_id, card in zip(card_ids, planned, strict=True) for key in card.keys]
    # A unit goes into one partition as a whole, so it must fit into an empty one.
    size = min(rules.policy.work_unit_size, rules.policy.crl_partition_size)
    for start in range(0, len(keys), size):
        part = keys[start : start + size]
        partition_id = allot_partition(
            connection,
            issuer=rules.issuer_key_identifier,
            count=len(part),
            size=rules.policy.crl_partition_size,
            uri_of=rules.profiles.crl_uris,
        )
        _, claims = append_unit(connection, run_id, partition_id, part)
        outcome.key_claims += claims
        outcome.units += 1
