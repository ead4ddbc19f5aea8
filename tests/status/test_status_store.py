"""The status store: what readers are told, while it is written, rebuilt, damaged, or its users killed."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from engine.algorithms import SignatureAlgorithm
from engine.errors import HomeUnusable, StoreError
from engine.status import status_store
from engine.status.card_record import (
    NO_REASON,
    AnswerHead,
    CardRecord,
    CertificateStanding,
    pack_answer,
    serials_check,
)
from engine.status.parties import ResponderCertificate, layout_of, parties_octets
from engine.status.status_store import CURRENT, Freshness, StatusReader
from engine.status.status_store import CertificateStanding as Told
from engine.status.status_store_writer import StatusWriter, new_generation, open_current
from engine.store.schema import CertificateState
from engine.x509.ocsp_response import IssuerNames
from tests.cli.prepared_home import ROOT, environment
from tests.judges.toy_authority import ToyAuthority
from tests.status.store_process import CARDS, record_at, serial_of, write_all

SEED = 20261123
TOY = ToyAuthority()
CA = TOY.ca.certificate.public_bytes(Encoding.DER)
RESPONDER = TOY.responder.certificate.public_bytes(Encoding.DER)
ALGORITHM = SignatureAlgorithm.RSA_PKCS1_SHA256
ISSUER, NUMBER = 0, 5
NOW, UNTIL, END = 1_790_000_000, 1_790_172_800, 1_900_000_000
GOOD, OTHER, HELD, UNSIGNED, UNCOVERED = (bytes((0x40, kind)) + bytes(14) for kind in range(5))
SIGNATURE = bytes(range(256))


def certificate(
    serial: bytes, state: CertificateState = CertificateState.GOOD, since: int = 0, reason: int = NO_REASON
) -> CertificateStanding:
    return CertificateStanding(serial, int(state), since, reason, END)


def record(
    *certificates: CertificateStanding,
    signed: bool = True,
    covered: int | None = None,
    responder: int = NUMBER,
) -> CardRecord:
    check = serials_check([one.serial for one in certificates])
    mask = (1 << len(certificates)) - 1 if covered is None else covered
    head = AnswerHead(1, check, responder, 0b11, mask, NOW, NOW, UNTIL, 0)
    return CardRecord(1, ISSUER, certificates, pack_answer(head, SIGNATURE) if signed else b"")


RECORDS = {
    1: record(certificate(GOOD), certificate(OTHER)),
    2: record(certificate(HELD, CertificateState.HELD, NOW - 10, 6)),
    3: record(certificate(UNSIGNED), signed=False),
    4: record(certificate(UNCOVERED), certificate(bytes((0x41,)) * 16), covered=0b10),
}


def parties(responder: int = NUMBER) -> bytes:
    current = ResponderCertificate(responder, ISSUER, RESPONDER, current=True)
    return parties_octets([(TOY.ca.key_hash, CA)], [current], ALGORITHM)


def build(directory: Path, records: dict[int, CardRecord], sequence: int = 1) -> None:
    with new_generation(directory) as writer:
        writer.write(records.items(), Freshness(sequence, NOW), parties())


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[StatusReader]:
    build(tmp_path, RECORDS)
    with StatusReader(tmp_path) as opened:
        yield opened


@pytest.fixture
def numbered(tmp_path: Path) -> Iterator[StatusReader]:
    """A store whose cards a second process writes."""
    with new_generation(tmp_path) as writer:
        writer.write([], Freshness(0, 0), parties())
        write_all(writer, 1)
    with StatusReader(tmp_path) as opened:
        yield opened


class StoreProcess:
    """The process, from the side of the test."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, line: str) -> str:
        """Have a line done; return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self.answer()

    def answer(self) -> str:
        """Return the next answer."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        """Send SIGKILL, and wait until the process is gone."""
        self._process.kill()
        self._process.wait()


@contextmanager
def store_process(directory: Path) -> Iterator[StoreProcess]:
    """Start a process at a status store; it is killed when the block ends."""
    command = [sys.executable, "-m", "tests.status.store_process", str(directory)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        try:
            yield StoreProcess(process)
        finally:
            process.kill()


def generations(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("generation-*")}


def revisions(reader: StatusReader) -> set[int]:
    """The revisions that the cards of `numbered` stand at, each looked for by both its serials."""
    found = set()
    for card in range(1, CARDS + 1):
        for place in (0, 1):
            at = reader.record(ISSUER, serial_of(card, place))
            assert at == record_at(at.revision if at else 0, card)
            found.add(at.revision)
    return found


# ---- what is told ----


def test_standings(reader: StatusReader) -> None:
    assert reader.standing(ISSUER, GOOD) == Told(CertificateState.GOOD, None, None, END)
    assert reader.standing(ISSUER, HELD) == Told(CertificateState.HELD, NOW - 10, 6, END)
    assert reader.standing(ISSUER, UNSIGNED) == Told(CertificateState.GOOD, None, None, END)


@pytest.mark.parametrize(
    ("issuer", "serial"),
    [(ISSUER, bytes((0x50,)) * 16), (ISSUER, b""), (ISSUER, GOOD[:15]), (ISSUER, GOOD + b"\x00"), (1, GOOD)],
    ids=["never issued", "empty", "too short", "too long", "another issuer"],
)
def test_a_serial_that_was_never_issued_has_neither_standing_nor_answer(
    reader: StatusReader, issuer: int, serial: bytes
) -> None:
    assert reader.standing(issuer, serial) is None
    assert reader.record(issuer, serial) is None
    assert reader.presigned(issuer, serial, NOW) is None


@pytest.mark.parametrize(("serial", "card"), [(GOOD, 1), (OTHER, 1), (HELD, 2)])
def test_a_signed_answer_goes_out_as_it_was_signed(reader: StatusReader, serial: bytes, card: int) -> None:
    answer = reader.presigned(ISSUER, serial, NOW)
    assert answer is not None
    certificates = RECORDS[card].certificates
    head = AnswerHead(
        1,
        serials_check([one.serial for one in certificates]),
        NUMBER,
        0b11,
        (1 << len(certificates)) - 1,
        NOW,
        NOW,
        UNTIL,
        0,
    )
    layout = layout_of(IssuerNames.from_certificate(CA), RESPONDER, ALGORITHM)
    assert answer.response == layout.response(certificates, head, SIGNATURE)
    assert (answer.this_update, answer.next_update) == (NOW, UNTIL)
    serials = {one.serial_number for one in ocsp.load_der_ocsp_response(answer.response).responses}
    assert int.from_bytes(serial, "big") in serials


def test_etags_differ_with_the_signature_and_need_no_quoting(tmp_path: Path) -> None:
    other = RECORDS[2]._replace(answer=RECORDS[2].answer[:-256] + bytes(256))
    build(tmp_path, RECORDS | {2: other})
    with StatusReader(tmp_path) as reader:
        one, same, another = (reader.presigned(ISSUER, serial, NOW) for serial in (GOOD, OTHER, HELD))
    assert one is not None and same is not None and another is not None
    assert one.etag == same.etag != another.etag
    assert one.etag.isalnum()


def test_withdrawn_uncovered_and_lapsed_answers_are_none(reader: StatusReader) -> None:
    assert reader.presigned(ISSUER, UNSIGNED, NOW) is None
    assert reader.presigned(ISSUER, UNCOVERED, NOW) is None
    assert reader.presigned(ISSUER, bytes((0x41,)) * 16, NOW) is not None  # the other one of that card
    assert reader.presigned(ISSUER, GOOD, UNTIL - 1) is not None
    assert reader.presigned(ISSUER, GOOD, UNTIL) is None


def test_an_answer_of_a_responder_that_is_not_known_is_none(tmp_path: Path) -> None:
    build(tmp_path, {1: record(certificate(GOOD), responder=NUMBER + 1)})
    with StatusReader(tmp_path) as reader:
        assert reader.presigned(ISSUER, GOOD, NOW) is None


def test_issuers(reader: StatusReader) -> None:
    (issuer,) = reader.issuers
    assert (issuer.index, issuer.key_identifier, issuer.responder) == (ISSUER, TOY.ca.key_hash, RESPONDER)
    assert issuer.names == IssuerNames.from_certificate(CA)
    assert reader.freshness() == Freshness(1, NOW)


# ---- while it is written ----


def test_a_reader_sees_each_commit_at_once(tmp_path: Path, numbered: StatusReader) -> None:
    with store_process(tmp_path) as process:
        for revision in (2, 3, 4):
            assert process.tell(f"write {revision}") == str(revision)
            assert numbered.freshness().sequence == revision
            assert revisions(numbered) == {revision}


def test_a_reader_changes_over_to_other_responders(tmp_path: Path, numbered: StatusReader) -> None:
    assert not numbered.reopen_if_replaced()
    before = numbered.issuers
    later = tmp_path / "parties"
    later.write_bytes(parties_octets([(TOY.ca.key_hash, CA)], [], ALGORITHM))
    with store_process(tmp_path) as process:
        assert process.tell(f"parties {later}") == "done"
    assert numbered.issuers is before
    assert numbered.reopen_if_replaced()
    assert [one.responder for one in numbered.issuers] == [b""]
    assert not numbered.reopen_if_replaced()


def test_a_writer_killed_at_any_moment_leaves_a_whole_store(tmp_path: Path, numbered: StatusReader) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    for _ in range(5):
        reached = numbered.freshness().sequence
        with store_process(tmp_path) as process:
            process.tell(f"endless {reached + 1}")
            for _ in range(chance.randint(1, 6)):
                process.answer()
            for _ in range(chance.randint(0, 20_000)):  # somewhere in the next transaction
                pass
            process.kill()
        assert numbered.freshness().sequence >= reached + 2
        assert revisions(numbered) == {numbered.freshness().sequence}
    last = numbered.freshness().sequence
    numbered.close()
    writer = open_current(tmp_path)  # what the next follower does
    assert writer is not None
    assert writer.freshness().sequence == last
    write_all(writer, last + 1)
    writer.close()
    with StatusReader(tmp_path) as again:
        assert revisions(again) == {last + 1}


def test_slots_of_killed_readers_are_free_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_store, "READERS", 2)
    build(tmp_path, RECORDS)
    writer = open_current(tmp_path)
    assert writer is not None
    with store_process(tmp_path) as one, store_process(tmp_path) as two, store_process(tmp_path) as three:
        assert [one.tell("hold"), two.tell("hold")] == ["held", "held"]
        assert "MDB_READERS_FULL" in three.tell("read")
        one.kill()
        two.kill()
        write_all(writer, 2)
        assert three.tell("read") == "2"
    writer.close()


def test_a_full_map_leaves_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_store, "MAP_OCTETS", 1 << 20)
    with new_generation(tmp_path) as writer:
        write_all(writer, 1)
        more = [(card, record_at(2, card)) for card in range(1, 20 * CARDS)]
        with pytest.raises(StoreError, match=r"generation-.*cannot be written.*MAP_FULL"):
            writer.write(more, Freshness(2, 2), parties())
        assert writer.freshness() == Freshness(1, 1)
    monkeypatch.undo()
    with StatusReader(tmp_path) as reader:
        assert (revisions(reader), reader.issuers) == ({1}, ())
        assert reader.record(ISSUER, serial_of(CARDS + 1, 0)) is None
    again = open_current(tmp_path)
    assert again is not None
    again.write(more, Freshness(2, 2))
    again.close()


# ---- rebuilt, damaged, missing ----


def test_an_open_reader_changes_over_to_a_rebuilt_store(tmp_path: Path, reader: StatusReader) -> None:
    before = generations(tmp_path)
    build(tmp_path, {9: record(certificate(UNSIGNED))}, sequence=7)
    assert generations(tmp_path).isdisjoint(before)
    assert reader.presigned(ISSUER, GOOD, NOW) is not None  # until it looks
    assert reader.reopen_if_replaced()
    assert reader.presigned(ISSUER, GOOD, NOW) is None
    assert reader.presigned(ISSUER, UNSIGNED, NOW) is not None
    assert reader.freshness().sequence == 7
    assert not reader.reopen_if_replaced()


def test_a_rebuild_that_breaks_off_leaves_the_store_in_use(tmp_path: Path, reader: StatusReader) -> None:
    before = generations(tmp_path)
    with pytest.raises(StoreError, match="the record failed"), new_generation(tmp_path) as writer:
        writer.write([(9, record(certificate(UNSIGNED)))], Freshness(7, NOW))
        raise StoreError("the record failed")
    assert generations(tmp_path) == before
    assert not reader.reopen_if_replaced()
    assert reader.presigned(ISSUER, GOOD, NOW) is not None


def test_what_a_killed_rebuild_left_is_removed_by_the_next_before_it_takes_room(tmp_path: Path) -> None:
    build(tmp_path, RECORDS)
    in_use = (tmp_path / CURRENT).read_text()
    StatusWriter(tmp_path / "generation-left").close()
    with new_generation(tmp_path):
        assert in_use in generations(tmp_path)
        assert "generation-left" not in generations(tmp_path)
    (only,) = generations(tmp_path)
    assert (tmp_path / CURRENT).read_text() == only != "generation-left"


def test_a_reader_stays_with_what_it_has_until_the_new_store_can_be_read(
    tmp_path: Path, reader: StatusReader
) -> None:
    whole = (tmp_path / CURRENT).read_text()
    (tmp_path / "generation-damaged").mkdir()
    (tmp_path / "generation-damaged" / "data.mdb").write_bytes(b"\xff" * 65_536)
    (tmp_path / CURRENT).write_text("generation-damaged")
    for _ in range(2):  # it is tried again each time
        with pytest.raises(StoreError, match="generation-damaged"):
            reader.reopen_if_replaced()
        assert reader.presigned(ISSUER, GOOD, NOW) is not None
    (tmp_path / CURRENT).write_text(whole)
    assert not reader.reopen_if_replaced()
    build(tmp_path, RECORDS, sequence=3)
    assert reader.reopen_if_replaced()
    assert reader.freshness().sequence == 3


def test_a_damaged_store_is_refused_until_it_is_built_anew(tmp_path: Path) -> None:
    build(tmp_path, RECORDS)
    (tmp_path / (tmp_path / CURRENT).read_text() / "data.mdb").write_bytes(b"\xff" * 65_536)
    with pytest.raises(StoreError, match="generation-"):
        StatusReader(tmp_path)
    with pytest.raises(StoreError, match="generation-"):
        open_current(tmp_path)
    build(tmp_path, RECORDS)
    with StatusReader(tmp_path) as reader:
        assert reader.presigned(ISSUER, GOOD, NOW) is not None


@pytest.mark.parametrize("current", [None, ""], ids=["never built", "lost in a power cut"])
def test_where_no_store_is_there_is_none(tmp_path: Path, current: str | None) -> None:
    if current is not None:
        (tmp_path / CURRENT).write_text(current)
    with pytest.raises(HomeUnusable, match=r"no status store.*ocsp rebuild"):
        StatusReader(tmp_path)
    assert open_current(tmp_path) is None


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file.*cannot be written"), new_generation(tmp_path / "file"):
        pass
