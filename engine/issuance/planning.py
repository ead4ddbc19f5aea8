"""Planning: from a register extract, a card file and a policy to work units that a run can issue.

Everything is read, checked and decided before the first certificate; nothing is dropped silently. A plan is written in
chunks, so that a run at work never waits long for the write lock, and becomes a run only with its last transaction: one
that was broken off is removed by the next command that plans.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from sqlalchemy import insert, select, update

from engine.audit.events import Event
from engine.audit.log import append_record
from engine.clock import TAIPEI, Clock
from engine.fault_points import fault_point
from engine.home import Home
from engine.issuance.intake import CardReject, card_file_digest, take_in_cards
from engine.issuance.plan_chunk import CHUNK_ENTITIES, Candidate, PlanRules, plan_chunk
from engine.issuance.policy import Policy
from engine.issuance.staging import Stage, StagedCard, open_stage
from engine.kinds import Kind
from engine.register.eligibility import judge
from engine.register.merge import merge_rows
from engine.register.readers import read_register
from engine.register.row import RegisterRow, RowRejected
from engine.store.claims import discard_plan
from engine.store.database import Store
from engine.store.plans import append_rejects, claim_keys, name_of, next_id
from engine.store.runs import RunState
from engine.store.schema import run
from engine.x509.profiles import ProfileSet

CLAIM_BATCH = 50_000
"""Keys claimed in one transaction: a third of a second, so that a run at work waits no longer. A guess."""

REJECT_BATCH = 1_000
"""Reject-report rows written at a time. A guess."""

RowReject = tuple[str, int, str | None, str, str | None, str]
"""Source, row number, identifier, reason, field and detail: a row of the reject report."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be planned.

    Attributes:
        register: the register extract.
        card_keys: the directory of the card file.
        policy: whom to issue to, and what.
        kind: what every row of the extract is, where the rows do not say (limited partnerships).
        trusted: the card centre's certificates (DER).
        actor: who plans.
        processes: how many processes check public keys.
        dry_run: write nothing.
    """

    register: Path
    card_keys: Path
    policy: Policy
    kind: Kind | None
    trusted: Sequence[bytes]
    actor: str
    processes: int
    dry_run: bool


@dataclass(slots=True)
class PlanSummary:
    """The totals of a plan: rows = eligible + rejected + merged + already_held."""

    run_id: int | None = None
    rows: int = 0
    eligible: int = 0
    rejected: int = 0
    merged: int = 0
    already_held: int = 0
    cards: int = 0
    cards_rejected: int = 0
    cards_used: int = 0
    """The others are spare, of another kind than the row, or of an entity that gets none."""
    items: int = 0
    units: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    card_reasons: Counter[str] = field(default_factory=Counter)
    rejects: list[RowReject] = field(default_factory=list)
    """The reject report of a dry run, which has no run to keep it; empty otherwise."""
    intake_seconds: float = 0.0
    planning_seconds: float = 0.0


Progress = Callable[[str, int], None]
"""Called with the stage ("cards", "rows", "entities") and how many are done."""


def make_plan(
    home: Home,
    store: Store,
    clock: Clock,
    profiles: ProfileSet,
    issuer_key_identifier: bytes,
    request: PlanRequest,
    progress: Progress = lambda stage, done: None,
) -> PlanSummary:
    """Plan a run. What an earlier plan left that was broken off is removed first, before a dry run as well.

    Args:
        home: for its scratch space and its planning lock.
        store: the open store.
        clock: tells the day against which eligibility is judged.
        profiles: the certificate profiles, for what a name may hold and the CRL partitions' addresses.
        issuer_key_identifier: the CA key that will sign.
        request: what is to be planned.
        progress: called now and then.

    Returns:
        The totals; `run_id` is None for a dry run.

    Raises:
        InputRejected, SignatureInvalid: a file as a whole is wrong; nothing was written.
        HomeUnusable: another process is planning.
    """
    with home.lock("planning", "planning a run"), open_stage(home.path) as stage:
        discard_abandoned(store)
        plan = _Plan(store, clock, profiles, issuer_key_identifier, request, stage, progress)
        try:
            return plan.make()
        except BaseException:
            plan.discard()
            raise


def discard_abandoned(store: Store) -> None:
    """Remove plans that were broken off. Call it with the planning lock held."""
    with store.read() as connection:
        abandoned = connection.execute(
            select(run.c.id).where(run.c.state == RunState.PLANNING.value)
        ).scalars()
        ids = list(abandoned)
    for run_id in ids:
        with store.write() as connection:
            discard_plan(connection, run_id)


class _Plan:
    """One plan in the making."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        profiles: ProfileSet,
        issuer_key_identifier: bytes,
        request: PlanRequest,
        stage: Stage,
        progress: Progress,
    ) -> None:
        self._store = store
        self._clock = clock
        self._profiles = profiles
        self._request = request
        self._stage = stage
        self._progress = progress
        self._now = clock.now()
        self._issuer = issuer_key_identifier
        self._rules = PlanRules(request.policy, profiles, issuer_key_identifier, self._now)
        self._summary = PlanSummary()
        self._rejects: list[RowReject] = []
        self._register_digest = b""
        self._card_keys_digest = b""

    def make(self) -> PlanSummary:
        """The whole way, in order."""
        began = time.perf_counter()
        rows = read_register(self._request.register, kind=self._request.kind)
        self._summary.cards = take_in_cards(
            self._stage,
            self._request.card_keys,
            trusted=self._request.trusted,
            rules=self._profiles.public_key_rules,
            processes=self._request.processes,
            reject=self._reject_card,
        )
        self._summary.intake_seconds = time.perf_counter() - began
        began = time.perf_counter()
        if not self._request.dry_run:
            self._open_run()
        self._stage.add_rows(self._good_rows(rows))
        self._stage.sort_rows()
        candidates = self._candidates()
        while chunk := list(islice(candidates, CHUNK_ENTITIES)):
            self._plan_chunk(chunk)
            self._progress("entities", self._summary.eligible + self._summary.already_held)
        if not self._request.dry_run:
            self._claim_keys()
            self._close_run()
        self._summary.rejects = self._rejects
        self._summary.planning_seconds = time.perf_counter() - began
        return self._summary

    def _good_rows(self, rows: Iterator[RegisterRow | RowRejected]) -> Iterator[RegisterRow]:
        for row in rows:
            self._summary.rows += 1
            if isinstance(row, RowRejected):
                self._reject_row(row)
            else:
                yield row

    def _candidates(self) -> Iterator[Candidate]:
        """Merge the rows of each number, and let through what is eligible."""
        today = self._now.astimezone(TAIPEI).date()
        rules = self._request.policy.eligibility
        for rows, cards in self._stage.entities():
            if not rows:
                self._reject_unordered(cards)
                continue
            result = merge_rows(rows)
            self._summary.merged += len(result.merged)
            for rejected in result.rejected:
                self._reject_row(rejected)
            if result.chosen is None:
                continue
            row = self._with_company_name(result.chosen)
            barred = judge(row, rules, today)
            if barred is not None:
                self._reject_row(barred)
            else:
                yield Candidate(row, [card for card in cards if card.kind is row.kind])

    def _with_company_name(self, row: RegisterRow) -> RegisterRow:
        """Give a branch the name of its company, which its own register row does not carry (CPS 3.1.4)."""
        if row.name or row.company_identifier is None:
            return row
        name = self._stage.name_of(row.company_identifier)
        if name is None:
            with self._store.read() as connection:
                name = name_of(connection, row.company_identifier)
        return row if name is None else replace(row, name=name)

    def _plan_chunk(self, chunk: Sequence[Candidate]) -> None:
        run_id = self._summary.run_id
        transaction = self._store.read() if run_id is None else self._store.write()
        with transaction as connection:
            outcome = plan_chunk(connection, run_id, chunk, self._rules)
        fault_point("plan.chunk-committed")
        self._summary.eligible += outcome.eligible
        self._summary.already_held += outcome.already_held
        self._summary.cards_used += outcome.cards
        self._summary.items += outcome.items
        self._summary.units += outcome.units
        self._stage.add_key_claims(outcome.key_claims)
        for row, reason, field_name, detail in outcome.rejects:
            self._summary.rejected += 1
            self._summary.reasons[reason] += 1
            self._reject(("register", row.row_number, row.identifier, reason, field_name, detail))

    def _reject_row(self, row: RowRejected) -> None:
        self._summary.rejected += 1
        self._summary.reasons[row.reason.value] += 1
        self._reject(("register", row.row_number, row.identifier, row.reason.value, row.field, row.detail))

    def _reject_card(self, reject: CardReject) -> None:
        line, number, reason, field_name, detail = reject
        self._summary.cards_rejected += 1
        self._summary.card_reasons[reason] += 1
        self._reject(("card-keys", line, number, reason, field_name, detail))

    def _reject_unordered(self, cards: Sequence[StagedCard]) -> None:
        for card in cards:
            detail = f"the register extract has no good row for {card.identifier}"
            self._reject_card((card.line, card.number, "no-register-row", "identifier", detail))

    def _reject(self, reject: RowReject) -> None:
        self._rejects.append(reject)
        if self._summary.run_id is not None and len(self._rejects) >= REJECT_BATCH:
            self._write_rejects()

    def _write_rejects(self) -> None:
        run_id = self._summary.run_id
        if run_id is not None:
            with self._store.write() as connection:
                append_rejects(connection, run_id, self._rejects)
            self._rejects.clear()

    def _open_run(self) -> None:
        request = self._request
        self._register_digest = _file_digest(request.register)
        self._card_keys_digest = card_file_digest(request.card_keys)
        with self._store.write() as connection:
            run_id = next_id(connection, run)
            connection.execute(
                insert(run).values(
                    id=run_id,
                    state=RunState.PLANNING.value,
                    policy_name=request.policy.name,
                    policy_text=request.policy.text,
                    legal_basis=request.policy.legal_basis,
                    register_name=request.register.name,
                    register_digest=self._register_digest,
                    card_keys_digest=self._card_keys_digest,
                    issuer_key_identifier=self._issuer,
                    created_at=self._now,
                )
            )
        self._summary.run_id = run_id

    def _claim_keys(self) -> None:
        """Claim the keys of the plan in the order of their digests, so that each page of the index is written once.

        Claimed chunk by chunk they would touch most of the index each time: of 1.2 million keys planning had half
        the speed (bench.issuance). No other plan can come between: planning holds the lock.
        """
        claims = self._stage.key_claims()
        while batch := list(islice(claims, CLAIM_BATCH)):
            with self._store.write() as connection:
                claim_keys(connection, batch)

    def _close_run(self) -> None:
        """The last transaction: the plan becomes a run."""
        self._write_rejects()
        summary, request = self._summary, self._request
        totals = {
            "rows": summary.rows,
            "eligible": summary.eligible,
            "rejected": summary.rejected,
            "merged": summary.merged,
            "already_held": summary.already_held,
            "cards_rejected": summary.cards_rejected,
            "item_count": summary.items,
        }
        with self._store.write() as connection:
            connection.execute(
                update(run).where(run.c.id == summary.run_id).values(state=RunState.PLANNED.value, **totals)
            )
            append_record(
                connection,
                self._clock,
                Event.RUN_PLANNED,
                actor=request.actor,
                body={
                    "run": summary.run_id,
                    "policy": request.policy.name,
                    "policy_sha256": request.policy.digest,
                    "legal_basis": request.policy.legal_basis,
                    "register": request.register.name,
                    "register_sha256": self._register_digest.hex(),
                    "card_keys_sha256": self._card_keys_digest.hex(),
                    **totals,
                },
            )
            fault_point("plan.before-commit")
        fault_point("plan.committed")

    def discard(self) -> None:
        """Remove what was written of a plan that will not be finished."""
        if self._summary.run_id is not None:
            with self._store.write() as connection:
                discard_plan(connection, self._summary.run_id)


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
