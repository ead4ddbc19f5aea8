"""Copies of spools: they follow what grows, and refuse what does not."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from engine.clock import SetClock
from engine.errors import FeedUnavailable, InputRejected
from engine.store.database import Store
from engine.store.schema import audit_record
from engine.usage import collection
from engine.usage.collection import Collected, SpoolDirectory, SpoolFile, collect
from tests.usage.spools import A, B, append, line

SEPTEMBER, OCTOBER = f"2026-09.{A}.jsonl", f"2026-10.{B}.jsonl"
ONE, TWO = line("2026-09-01 00:00", "bank", 5), line("2026-09-30 23:59", "post", 2, 1)
THREE = line("2026-10-01 00:00", "bank", 7)


class Desk:
    """The CA host's side."""

    def __init__(self, store: Store, clock: SetClock, directory: Path) -> None:
        self.store, self.clock = store, clock
        self.spool = directory / "spool"
        self.copies = directory / "collected" / "public-1"

    def collect(self, spool: collection.Spool | None = None) -> Collected:
        return collect(
            spool or SpoolDirectory(self.spool), self.copies, self.store, self.clock, "account officer"
        )

    def copy(self, name: str) -> bytes:
        return (self.copies / name).read_bytes()

    @property
    def audited(self) -> list[dict[str, Any]]:
        with self.store.read() as connection:
            statement = select(audit_record.c.event, audit_record.c.body).order_by(audit_record.c.sequence)
            found = connection.execute(statement).all()
        assert {row.event for row in found} <= {"usage.collected"}
        return [json.loads(row.body) for row in found]


@pytest.fixture
def desk(store: Store, clock: SetClock, tmp_path: Path) -> Desk:
    return Desk(store, clock, tmp_path)


@pytest.mark.cps("4.4.12")
def test_only_what_is_new_is_fetched_and_each_time_is_recorded(desk: Desk) -> None:
    append(desk.spool, SEPTEMBER, ONE)
    append(desk.spool, "2026-09.sums.json", b"{}")
    assert desk.collect() == Collected(1, len(ONE), 5)
    assert desk.collect() == Collected(0, 0, 0)
    append(desk.spool, SEPTEMBER, TWO)
    append(desk.spool, OCTOBER, THREE, THREE[:20])  # the last line is still being written
    assert desk.collect() == Collected(2, len(TWO + THREE), 9)
    append(desk.spool, OCTOBER, THREE[20:])
    assert desk.collect() == Collected(1, len(THREE), 7)
    assert (desk.copy(SEPTEMBER), desk.copy(OCTOBER)) == (ONE + TWO, THREE * 2)
    assert sorted(path.name for path in desk.copies.iterdir()) == [SEPTEMBER, OCTOBER]
    first, second, third = desk.audited
    assert first == {
        "group": 14,
        "host": "public-1",
        "files": 1,
        "octets": len(ONE),
        "answers": 5,
        "sha256": hashlib.sha256(ONE).hexdigest(),
    }
    assert second["sha256"] == hashlib.sha256(TWO + THREE).hexdigest()
    assert third["octets"] == len(THREE)


def test_files_are_fetched_in_pieces(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collection, "PIECE_OCTETS", len(TWO) + 10)
    lines = [ONE, TWO] * 20
    append(desk.spool, SEPTEMBER, *lines)
    assert desk.collect() == Collected(1, len(ONE + TWO) * 20, 140)
    assert desk.copy(SEPTEMBER) == b"".join(lines)


def test_a_spool_that_shrank_is_refused(desk: Desk) -> None:
    append(desk.spool, SEPTEMBER, ONE, TWO)
    desk.collect()
    (desk.spool / SEPTEMBER).write_bytes(ONE)
    append(desk.spool, OCTOBER, THREE)
    with pytest.raises(InputRejected, match="shrunk"):
        desk.collect()
    assert desk.copy(SEPTEMBER) == ONE + TWO


def test_files_that_were_taken_away_after_they_were_fetched_are_not_missed(desk: Desk) -> None:
    append(desk.spool, SEPTEMBER, ONE)
    desk.collect()
    (desk.spool / SEPTEMBER).unlink()
    append(desk.spool, OCTOBER, THREE)
    assert desk.collect() == Collected(1, len(THREE), 7)


NOT_LINES = {
    "no JSON": b"answers: 5\n",
    "no object": b"[1]\n",
    "a field missing": b'{"at":1790780400,"account":"bank","answers":5}\n',
    "a field too many": ONE[:-2] + b',"more":1}\n',
    "a negative count": ONE.replace(b":5,", b":-5,"),
    "a fraction": ONE.replace(b":5,", b":5.5,"),
    "a word": ONE.replace(b":5,", b":true,"),
    "a count beyond numbers": ONE.replace(b":5,", b":9007199254740992,"),
    "no name": ONE.replace(b'"bank"', b"7"),
    "an empty line": b"\n",
    "another month": THREE,
}


@pytest.mark.parametrize("octets", NOT_LINES.values(), ids=NOT_LINES)
def test_what_is_no_line_of_that_month_is_refused(desk: Desk, octets: bytes) -> None:
    append(desk.spool, SEPTEMBER, ONE)
    desk.collect()
    append(desk.spool, SEPTEMBER, octets)
    with pytest.raises(InputRejected, match="spool"):
        desk.collect()
    assert desk.copy(SEPTEMBER) == ONE


class Interrupted(SpoolDirectory):
    """Gives one file and is gone, or lies about what it has."""

    def __init__(self, path: Path, *, more: tuple[SpoolFile, ...] = ()) -> None:
        super().__init__(path)
        self._more = more

    def files(self) -> list[SpoolFile]:
        return [*super().files(), *self._more]

    def read(self, name: str, offset: int) -> bytes:
        if name == OCTOBER:
            raise FeedUnavailable("the public host does not answer")
        return super().read(name, offset)


def test_what_came_before_a_failure_is_kept_and_recorded(desk: Desk) -> None:
    append(desk.spool, SEPTEMBER, ONE)
    append(desk.spool, OCTOBER, THREE)
    with pytest.raises(FeedUnavailable):
        desk.collect(Interrupted(desk.spool))
    assert [one["octets"] for one in desk.audited] == [len(ONE)]
    assert desk.collect() == Collected(1, len(THREE), 7)


@pytest.mark.parametrize(
    "name", ["../../secret", "/etc/passwd", "2026-13." + A + ".jsonl", "2026-09.sums.json", ""]
)
def test_a_name_that_is_none_of_a_spool_leads_nowhere(desk: Desk, name: str) -> None:
    append(desk.spool, SEPTEMBER, ONE)
    with pytest.raises(InputRejected, match="no file of a spool"):
        desk.collect(Interrupted(desk.spool, more=(SpoolFile(name, 10),)))


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="no such directory"):
        SpoolDirectory(tmp_path / "nowhere")
