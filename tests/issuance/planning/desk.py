"""An officer's desk: a home with a migrated store, a card centre, and what goes into a plan."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio
from asn1crypto import keys as asn1_keys
from sqlalchemy import Row, Table, select

from engine.clock import SetClock
from engine.home import Home
from engine.issuance.card_exchange import card_keys
from engine.issuance.card_exchange.card_keys import CardKeys, card_keys_line
from engine.issuance.card_exchange.signed_lines import write_signed_lines
from engine.issuance.development_card_centre import CardCentre
from engine.issuance.planning import PlanRequest, PlanSummary, make_plan
from engine.issuance.policy import Policy, policy_from_text
from engine.kinds import Kind, Rank, Usage
from engine.store.database import Store
from engine.store.schema import metadata, run_reject
from engine.x509.profiles import ProfileSet

CA_KEY = b"\x01" * 20
SAMPLE = Path("engine/register/samples/listed-companies.jsonl")

POLICY = """
name = "test"
legal_basis = "MOEACA CPS 4.2.1.2"
work_unit_size = {unit}
crl_partition_size = {partition}
[eligibility]
kinds = ["company", "branch", "business", "limited-partnership", "limited-partnership-branch"]
states = ["核准設立"]
"""


def policy(*cards: tuple[str, int], unit: int = 4, partition: int = 100) -> Policy:
    """A policy for every kind that gives cards of these ranks; one primary card where none is named."""
    text = POLICY.format(unit=unit, partition=partition)
    for rank, number in cards or (("primary", 1),):
        text += f'[[cards]]\nrank = "{rank}"\nnumber = {number}\n'
    return policy_from_text(text)


def sample_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Real companies of the sample register."""
    lines = SAMPLE.read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines[start : start + count]]


def number_of(row: dict[str, Any]) -> str:
    """The row's own 統一編號."""
    for field in ("Branch_Office_Business_Accounting_NO", "President_No", "Business_Accounting_NO"):
        if field in row:
            return str(row[field])
    raise KeyError(row)


def public_key(modulus: int, exponent: int = 65537) -> bytes:
    """A SubjectPublicKeyInfo (DER) of any numbers."""
    key = asn1_keys.RSAPublicKey({"modulus": modulus, "public_exponent": exponent})
    info = asn1_keys.PublicKeyInfo({"algorithm": {"algorithm": "rsa"}, "public_key": key})
    return bytes(info.dump())


@dataclass
class Desk:
    """What a plan needs, and shorthands for making it."""

    directory: Path
    home: Home
    store: Store
    clock: SetClock
    profiles: ProfileSet
    centre: CardCentre
    public_keys: Iterator[bytes]
    made: int = 0

    def card(
        self,
        identifier: str,
        *,
        kind: Kind = Kind.COMPANY,
        rank: Rank = Rank.PRIMARY,
        number: str | None = None,
        keys: Mapping[str, bytes] | None = None,
    ) -> CardKeys:
        """A card with a number and keys of its own, unless others are given."""
        self.made += 1
        given = keys or {}
        own = {usage: given.get(usage.value) or next(self.public_keys) for usage in Usage}
        return CardKeys(number or f"MG{self.made:014d}", kind, identifier, rank, own)

    def cards_for(self, rows: Sequence[dict[str, Any]], **options: Any) -> list[CardKeys]:
        """A card for every row."""
        return [self.card(number_of(row), **options) for row in rows]

    def card_file(self, cards: Sequence[CardKeys | bytes]) -> Path:
        """Write a card file with a signed manifest; a line may be given as it is to stand."""
        self.made += 1
        directory = self.directory / f"cards-{self.made}"
        write = partial(
            write_signed_lines,
            directory,
            card_keys.FILE_NAME,
            [card if isinstance(card, bytes) else card_keys_line(card) for card in cards],
            purpose=card_keys.PURPOSE,
            details={},
            certificate=self.centre.certificate,
            chain=[],
            now=self.centre.clock.now(),
            sign=self.centre.sign,
        )
        trio.run(write)
        return directory

    def extract(self, rows: Sequence[dict[str, Any] | str]) -> Path:
        """Write a register extract; a line may be given as it is to stand."""
        self.made += 1
        path = self.directory / f"register-{self.made}.jsonl"
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    def plan(
        self,
        rows: Sequence[dict[str, Any] | str] | Path,
        cards: Sequence[CardKeys | bytes] | Path,
        *,
        by: Policy | None = None,
        kind: Kind | None = None,
        dry_run: bool = False,
    ) -> PlanSummary:
        """Plan a run, and check that the rows are accounted for."""
        request = PlanRequest(
            register=rows if isinstance(rows, Path) else self.extract(rows),
            card_keys=cards if isinstance(cards, Path) else self.card_file(cards),
            policy=by or policy(),
            kind=kind,
            trusted=[self.centre.certificate],
            actor="account wang",
            processes=1,
            dry_run=dry_run,
        )
        summary = make_plan(self.home, self.store, self.clock, self.profiles, CA_KEY, request)
        parts = (summary.eligible, summary.rejected, summary.merged, summary.already_held)
        assert summary.rows == sum(parts)
        assert summary.rejected == summary.reasons.total()
        assert summary.cards_rejected == summary.card_reasons.total()
        return summary

    def rows_of(self, table: Table) -> list[Row[Any]]:
        """Every row of a table, in the order of its primary key."""
        with self.store.read() as connection:
            return list(connection.execute(select(table).order_by(*table.primary_key)))

    def rejects(self, summary: PlanSummary) -> list[tuple[Any, ...]]:
        """Source, row number, identifier, reason and field of a plan's reject report."""
        rows: list[Any] = [row[2:] for row in self.rows_of(run_reject) if row.run_id == summary.run_id]
        assert all(row[5] for row in rows)  # every reject says in words what was wrong
        return [tuple(row[:5]) for row in rows]

    def contents(self) -> dict[str, list[Row[Any]]]:
        """Every row of every table."""
        return {table.name: self.rows_of(table) for table in metadata.sorted_tables}
