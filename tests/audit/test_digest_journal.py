"""The journal of live signatures: all in it is recorded, whoever is killed; without a record nothing is signed."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import select, text

from engine.audit import digest_journal
from engine.audit.digest_journal import LIVE_OCSP, DigestJournal, JournalPart
from engine.audit.journal_file import JournalFile
from engine.clock import SetClock
from engine.errors import StoreError, StoreUnavailable
from engine.store.database import Store
from engine.store.schema import audit_record
from tests.judges.toy_authority import NOW


def digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def journal_of(store: Store, directory: Path) -> DigestJournal:
    return DigestJournal(LIVE_OCSP, directory, store, SetClock(NOW), "live signer")


def may_sign(journal: DigestJournal) -> bool:
    return journal.can_sign


def recorded(store: Store) -> list[dict[str, Any]]:
    with store.read() as connection:
        bodies = connection.execute(select(audit_record.c.body).order_by(audit_record.c.sequence)).scalars()
        return [json.loads(body) for body in bodies]


def lines_of(directory: Path, part: dict[str, Any]) -> list[str]:
    """The lines that a record covers, after its digest and its count were checked."""
    octets = (directory / "live-ocsp" / part["file"]).read_bytes()
    octets = octets[int(part["offset"]) :][: int(part["octets"])]
    assert hashlib.sha256(octets).hexdigest() == part["sha256"]
    lines: list[str] = octets.decode("ascii").splitlines()
    assert len(lines) == part["count"]
    return lines


def assert_recorded_once(store: Store, directory: Path, numbers: range) -> None:
    lines = [line for part in recorded(store) for line in lines_of(directory, part)]
    assert lines == [digest(number).hex() for number in numbers]


@pytest.mark.cps("4.5.1")
async def test_every_line_is_in_one_record(store: Store, tmp_path: Path) -> None:
    journal = journal_of(store, tmp_path)
    await journal.record()
    assert recorded(store) == []
    for number in range(5):
        journal.add([digest(number)])
        if number in (1, 2):
            await journal.record()
    await journal.close()
    assert [part["count"] for part in recorded(store)] == [2, 1, 2]
    assert_recorded_once(store, tmp_path, range(5))
    (file,) = (tmp_path / "live-ocsp").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o400


def test_a_line_is_in_the_file_before_anything_is_signed(store: Store, tmp_path: Path) -> None:
    journal = journal_of(store, tmp_path)
    journal.add([digest(0)])
    (file,) = (tmp_path / "live-ocsp").iterdir()
    assert file.read_text() == digest(0).hex() + "\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("recorded_before", [0, 2])
async def test_what_a_killed_process_left_is_recorded_by_the_next(
    store: Store, tmp_path: Path, recorded_before: int
) -> None:
    killed = journal_of(store, tmp_path)
    for number in range(recorded_before):
        killed.add([digest(number)])
    await killed.record()
    for number in range(recorded_before, 5):
        killed.add([digest(number)])
    fresh = journal_of(store, tmp_path)
    (name,) = fresh.record_left_over()
    assert_recorded_once(store, tmp_path, range(5))
    assert fresh.record_left_over() == []
    assert {part["file"] for part in recorded(store)} == {name}


async def test_one_killed_between_record_and_end_is_not_recorded_again(store: Store, tmp_path: Path) -> None:
    killed = journal_of(store, tmp_path)
    killed.add([digest(0)])
    await killed.record()
    assert len(journal_of(store, tmp_path).record_left_over()) == 1
    assert_recorded_once(store, tmp_path, range(1))


@pytest.mark.cps("4.5.6")
async def test_while_no_record_can_be_written_nothing_may_be_signed(store: Store, tmp_path: Path) -> None:
    journal = journal_of(store, tmp_path)
    journal.add([digest(0)])
    with store.write() as connection:
        connection.execute(text("ALTER TABLE audit_record RENAME TO audit_record_away"))
    with pytest.raises(StoreError):
        await journal.record()
    assert not may_sign(journal)
    with pytest.raises(StoreError, match="cannot be recorded"):
        journal.add([digest(1)])
    with pytest.raises(StoreError):
        await journal.record()
    with store.write() as connection:
        connection.execute(text("ALTER TABLE audit_record_away RENAME TO audit_record"))
    await journal.record()
    assert may_sign(journal)
    journal.add([digest(1)])
    await journal.close()
    assert_recorded_once(store, tmp_path, range(2))


async def test_a_full_disk_leaves_no_half_line(store: Store, tmp_path: Path) -> None:
    journal = journal_of(store, tmp_path)
    journal.add([digest(0)])
    write = os.pwrite
    with (
        patch.object(os, "pwrite", lambda file, octets, offset: write(file, octets[:80], offset)),
        pytest.raises(StoreError, match=r"cannot be written.*No space left"),
    ):
        journal.add([digest(1), digest(2)])
    journal.add([digest(3)])
    await journal.close()
    (file,) = (tmp_path / "live-ocsp").iterdir()
    assert file.read_text().splitlines() == [digest(0).hex(), digest(3).hex()]
    assert [lines_of(tmp_path, part) for part in recorded(store)] == [[digest(0).hex(), digest(3).hex()]]


def test_half_a_line_of_a_killed_process_is_cut_off(store: Store, tmp_path: Path) -> None:
    killed = journal_of(store, tmp_path)
    killed.add([digest(0)])
    (file,) = (tmp_path / "live-ocsp").iterdir()
    with file.open("ab") as torn:
        torn.write(digest(1).hex()[:30].encode())
    journal_of(store, tmp_path).record_left_over()
    assert_recorded_once(store, tmp_path, range(1))
    assert file.read_text() == digest(0).hex() + "\n"


async def test_what_could_not_be_synced_is_written_again(store: Store, tmp_path: Path) -> None:
    journal = journal_of(store, tmp_path)
    journal.add([digest(0)])
    written: list[tuple[bytes, int]] = []
    write = os.pwrite

    def remember(file: int, octets: bytes, offset: int) -> int:
        written.append((octets, offset))
        return write(file, octets, offset)

    with (
        patch.object(os, "fdatasync", side_effect=OSError(errno.EIO, os.strerror(errno.EIO))),
        pytest.raises(StoreError, match=r"cannot be synced.*Input/output error"),
    ):
        await journal.record()
    assert not may_sign(journal)
    with patch.object(os, "pwrite", remember):
        await journal.record()
    assert may_sign(journal)
    assert written == [(digest(0).hex().encode() + b"\n", 0)]
    assert_recorded_once(store, tmp_path, range(1))


async def test_a_record_that_was_kept_although_its_commit_failed_is_not_repeated(
    store: Store, tmp_path: Path
) -> None:
    journal = journal_of(store, tmp_path)
    journal.add([digest(0)])
    append = journal._append_record

    def answer_is_lost(part: JournalPart) -> None:
        append(part)
        raise StoreUnavailable("the connection is gone")

    with patch.object(journal, "_append_record", answer_is_lost), pytest.raises(StoreUnavailable):
        await journal.record()
    await journal.record()
    journal.add([digest(1)])
    await journal.close()
    assert_recorded_once(store, tmp_path, range(2))


async def test_a_long_journal_is_followed_by_another(store: Store, tmp_path: Path) -> None:
    clock = SetClock(NOW)
    journal = DigestJournal(LIVE_OCSP, tmp_path, store, clock, "live signer")
    with patch.object(digest_journal, "_LONGEST_OCTETS", 2 * 65):
        for number in range(5):
            journal.add([digest(number)])
            await journal.record()
            clock.move(timedelta(seconds=1))
    await journal.close()
    assert_recorded_once(store, tmp_path, range(5))
    assert len(list((tmp_path / "live-ocsp").iterdir())) == 3


async def test_under_steady_load_a_long_journal_is_followed_by_another_too(
    store: Store, tmp_path: Path
) -> None:
    clock = SetClock(NOW)
    journal = DigestJournal(LIVE_OCSP, tmp_path, store, clock, "live signer")
    write = journal._write_record
    numbers = iter(range(10))

    def write_while_signing_goes_on(part: JournalPart, file: JournalFile) -> None:
        journal.add([digest(next(numbers))])
        write(part, file)

    with (
        patch.object(digest_journal, "_LONGEST_OCTETS", 2 * 65),
        patch.object(journal, "_write_record", write_while_signing_goes_on),
    ):
        journal.add([digest(next(numbers))])
        for _ in range(5):
            await journal.record()
            clock.move(timedelta(seconds=1))
    await journal.close()
    assert_recorded_once(store, tmp_path, range(6))
    files = list((tmp_path / "live-ocsp").iterdir())
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o400}
