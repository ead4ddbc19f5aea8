"""The follower: whatever happens in whatever order, the status store says what the record says, and nothing older."""

from __future__ import annotations

import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509 import ocsp
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, update

from engine.errors import SignerUnavailable, StoreError
from engine.status import follower
from engine.status.card_record import CardRecord, answer_head, unpack
from engine.status.follower import Follower
from engine.status.pre_signing import AnswerBatch, PreSigning
from engine.status.record_source import CARDS_OF_A_BATCH
from engine.status.status_store import CARD_KEY, CARDS, StatusReader
from engine.status.status_store_writer import StatusWriter
from engine.store.database import Store, open_store
from engine.store.schema import CertificateState, crl_partition, status_change, status_change_head
from tests.status.ocsp_authority import DAY, OcspAuthority, contents
from tests.store.plans import NOT_AFTER, NOW
from tests.store_fixture import store_url

HOUR = timedelta(hours=1)


@pytest.fixture
def ca(store: Store, tmp_path: Path) -> OcspAuthority:
    return OcspAuthority(store, tmp_path)


def records(status_store: Path) -> dict[int, CardRecord]:
    return {CARD_KEY.unpack(key)[0]: unpack(octets) for key, octets in contents(status_store)[CARDS].items()}


def told(reader: StatusReader, serial: bytes) -> dict[int, ocsp.OCSPCertStatus] | None:
    """What the signed answer for a certificate says of its card, by serial; None where there is no answer."""
    answer = reader.presigned(0, serial, int(NOW.timestamp()))
    if answer is None:
        return None
    found: dict[int, ocsp.OCSPCertStatus] = {}
    for one in ocsp.load_der_ocsp_response(answer.response).responses:
        assert found.setdefault(one.serial_number, one.certificate_status) is one.certificate_status
    return found


def says(ca: OcspAuthority, *states: ocsp.OCSPCertStatus, card: int = 1) -> dict[int, ocsp.OCSPCertStatus]:
    """What an answer with these states says."""
    return {
        int.from_bytes(serial, "big"): state for serial, state in zip(ca.serials(card), states, strict=True)
    }


def refused(*_: object) -> None:
    raise StoreError("the disk is full")


GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


# ---- one thing after another ----


def test_what_is_issued_is_known_and_what_is_signed_goes_out(ca: OcspAuthority) -> None:
    ca.plan(2)
    ca.issue_next()
    ca.follow()
    first, _ = ca.serials(1)
    end = int(NOT_AFTER.timestamp())
    with StatusReader(ca.status_store) as reader:
        assert reader.standing(0, first) == (CertificateState.GOOD, None, None, end)
        assert told(reader, first) is None
    assert ca.pre_sign([1]) == 1
    ca.follow()
    with StatusReader(ca.status_store) as reader:
        assert told(reader, first) == says(ca, GOOD, GOOD)
    assert list(records(ca.status_store)) == [1]  # the second card is planned, and not issued


def test_a_change_takes_the_old_answer_out_in_the_same_step(ca: OcspAuthority) -> None:
    (card,) = ca.issue(1)
    ca.pre_sign([card])
    ca.follow()
    ca.act(card, 0, CertificateState.REVOKED)
    ca.follower.open()
    assert ca.follower.step() == 1
    ca.follower.close()
    first, second = ca.serials(card)
    with StatusReader(ca.status_store) as reader:
        assert told(reader, first) is None
        assert told(reader, second) is None  # its answer would say of the first that it is good
        standing = reader.standing(0, first)
        assert standing is not None
        assert (standing.state, standing.reason) == (CertificateState.REVOKED, 1)
    ca.pre_sign([card])
    ca.follow()
    with StatusReader(ca.status_store) as reader:
        assert told(reader, second) == says(ca, REVOKED, GOOD)


def test_an_answer_made_of_an_older_revision_never_gets_in(ca: OcspAuthority) -> None:
    """Standings are read, the status changes, then the token's signature comes."""
    (card,) = ca.issue(1)
    work = ca.work()
    late = work.prepare([card], urgent=False)
    assert late is not None
    ca.act(card, 1, CertificateState.HELD)
    assert work.complete(late, ca.sign(late)) == 0
    ca.follow()
    with StatusReader(ca.status_store) as reader:
        assert told(reader, ca.serials(card)[0]) is None
    assert work.owed(10) == [card]


def test_an_answer_overtaken_by_a_change_is_not_put_in(ca: OcspAuthority) -> None:
    """The answer was stored in time; the follower comes to it after the change."""
    (card,) = ca.issue(1)
    ca.follow()
    ca.pre_sign([card])
    ca.act(card, 0, CertificateState.HELD)
    ca.follow()
    assert records(ca.status_store)[card].answer == b""


def test_a_further_certificate_takes_out_the_answer_that_does_not_cover_it(ca: OcspAuthority) -> None:
    ca.plan(1, unit_size=1)
    ca.issue_next()
    ca.pre_sign([1])
    ca.follow()
    assert records(ca.status_store)[1].answer
    ca.issue_next()
    ca.follow()
    after = records(ca.status_store)[1]
    assert (len(after.certificates), after.answer) == (2, b"")


def test_a_responder_that_takes_over_is_known_before_its_answers_are(ca: OcspAuthority) -> None:
    old_card, new_card = ca.issue(2)
    ca.pre_sign([old_card])
    ca.follow()
    number = ca.add_responder(NOW, NOW + 400 * DAY)
    assert ca.responder.number == number
    ca.pre_sign([new_card])
    ca.follower.open()
    assert ca.follower.step() == 1
    ca.follower.close()
    with StatusReader(ca.status_store) as reader:
        assert reader.issuers[0].responder == ca.responder.role.certificate
        for card in (old_card, new_card):
            assert told(reader, ca.serials(card)[0]) == says(ca, GOOD, GOOD, card=card)


def test_a_heartbeat_comes_when_it_is_due(ca: OcspAuthority) -> None:
    ca.follower.open()
    begun = int(ca.clock.now().timestamp())
    for moved, written in ((1, 0), (1, 2), (1, 2), (-10, -7), (follower.HEARTBEAT_SECONDS, -5)):
        ca.clock.move(timedelta(seconds=moved))
        assert ca.follower.step() == 0
        ca.follower.close()
        with StatusReader(ca.status_store) as reader:
            assert reader.freshness().written_at == begun + written
        ca.follower.open()
    ca.follower.close()


@pytest.mark.parametrize(
    ("bound", "value"), [("ENTRIES_AT_ONCE", 2), ("CARDS_IN_A_STEP", 2 * CARDS_OF_A_BATCH)]
)
def test_while_entries_wait_the_store_is_no_newer_than_the_last_one_taken(
    ca: OcspAuthority, monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    """Relying parties get no answer from a host that cannot know of withdrawals."""
    monkeypatch.setattr(follower, bound, value)
    ca.follower.open()
    begun = int(ca.clock.now().timestamp())
    for _ in range(5):
        ca.clock.move(timedelta(minutes=1))
        ca.issue(1)
    found = []
    while ca.follower.step():
        ca.follower.close()
        with StatusReader(ca.status_store) as reader:
            found.append(reader.freshness())
        ca.follower.open()
    assert found == [(2, begun + 120), (4, begun + 240), (5, begun + 300)]
    ca.follower.close()


# ---- what fails ----


def test_a_store_that_cannot_be_written_stays_as_it_was_and_is_caught_up(
    ca: OcspAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    (card,) = ca.issue(1)
    ca.follower.open()
    ca.pre_sign([card])
    ca.add_responder(NOW, NOW + 400 * DAY)
    write = StatusWriter.write
    monkeypatch.setattr(StatusWriter, "write", refused)
    with pytest.raises(StoreError, match="disk is full"):
        ca.follower.step()
    monkeypatch.setattr(StatusWriter, "write", write)
    assert ca.follower.step() == 1
    ca.follower.close()
    with StatusReader(ca.status_store) as reader:
        assert reader.issuers[0].responder == ca.responder.role.certificate
        assert told(reader, ca.serials(card)[0]) == says(ca, GOOD, GOOD)


def test_a_step_needs_an_open_store(ca: OcspAuthority) -> None:
    with pytest.raises(StoreError, match="not open"):
        ca.follower.step()


def test_certificates_of_a_ca_key_that_is_not_here_are_refused(ca: OcspAuthority) -> None:
    ca.issue(1)
    ca.follow()
    with ca.store.write() as connection:
        connection.execute(update(crl_partition).values(issuer_key_identifier=b"another"))
    with pytest.raises(StoreError, match=r"CRL partition 1.*found '616e6f74686572'"):
        Follower(ca.context, ca.directory / "other").open()
    assert records(ca.status_store)


def test_a_record_that_was_put_back_from_a_copy_is_read_anew(ca: OcspAuthority) -> None:
    """Its feed goes on from an older number, so entries would be missed."""
    (card,) = ca.issue(1)
    ca.pre_sign([card])
    ca.follow()
    with ca.store.write() as connection:
        connection.execute(delete(status_change))
        connection.execute(update(status_change_head).values(sequence=0))
    ca.act(card, 0, CertificateState.REVOKED)  # the feed's first entry again
    ca.follow()
    with StatusReader(ca.status_store) as reader:
        assert told(reader, ca.serials(card)[0]) is None
        assert reader.freshness().sequence == 1


def test_a_record_that_is_put_back_under_a_follower_at_work_is_read_anew(
    ca: OcspAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    (card,) = ca.issue(1)
    ca.pre_sign([card])
    ca.follower.open()
    ca.follower.step()
    with ca.store.write() as connection:
        connection.execute(delete(status_change))
        connection.execute(update(status_change_head).values(sequence=0))
    ca.act(card, 0, CertificateState.REVOKED)
    with monkeypatch.context() as broken:
        broken.setattr(StatusWriter, "write", refused)
        with pytest.raises(StoreError, match="disk is full"):
            ca.follower.step()
    ca.follower.step()
    ca.pre_sign([card])
    assert ca.follower.step() == 1
    ca.follower.close()
    with StatusReader(ca.status_store) as reader:
        assert told(reader, ca.serials(card)[0]) == says(ca, REVOKED, GOOD)


def test_a_rebuild_in_parts_is_one_store(ca: OcspAuthority, monkeypatch: pytest.MonkeyPatch) -> None:
    cards = ca.issue(7)
    ca.pre_sign(cards[:5])
    ca.plan(1)
    ca.follow()
    monkeypatch.setattr(follower, "CARDS_AT_ONCE", 2)
    assert ca.follower.rebuild() == 7
    ca.follower.close()
    whole = contents(ca.status_store)
    again = Follower(ca.context, ca.directory / "again")
    assert again.rebuild() == 7
    again.close()
    assert contents(ca.directory / "again") == whole


# ---- in any order ----


class Events:
    """Issuance, acts, signing and following, against what every card was worth at each of its revisions.

    Args:
        migrated_file: an empty record, which is copied.
        directory: an empty one.
    """

    def __init__(self, migrated_file: Path, directory: Path) -> None:
        self.directory = directory
        shutil.copy(migrated_file, directory / "store.sqlite")
        self.store = open_store(store_url(directory / "store.sqlite"))
        self.ca = OcspAuthority(self.store, directory)
        self.ca.follower.open()
        self.worth: dict[int, list[dict[bytes, int]]] = defaultdict(lambda: [{}])
        """Of each card, at each of its revisions: the states of its certificates by serial."""
        self.batches: list[tuple[PreSigning, AnswerBatch]] = []

    @property
    def issued(self) -> list[int]:
        return sorted(self.worth)

    def serials(self, card: int) -> list[bytes]:
        try:
            return self.ca.serials(card)
        except ValueError:  # nothing on it is issued
            return []

    def issue(self, chosen: int, place: int) -> None:
        """Issue a unit: both certificates of a card, or one of them."""
        if not self.ca.issue_next():
            self.ca.plan(1, unit_size=place + 1)
            self.ca.issue_next()
        for card in self.ca.cards():
            serials = self.serials(card)
            if (
                card in self.worth
                and len(self.worth[card]) > 1
                and not self.worth[card][-1].keys() >= set(serials)
            ):
                self.worth[card].append(self.worth[card][-1].copy())
            for serial in serials:
                for revision in self.worth[card]:  # whenever it was, it was good
                    revision.setdefault(serial, 0)

    def act(self, chosen: int, place: int) -> None:
        if self.issued:
            card = self.issued[chosen % len(self.issued)]
            serials = self.serials(card)
            place %= len(serials)
            state = CertificateState(chosen % 3)
            self.ca.act(card, place, state)
            self.worth[card].append(self.worth[card][-1] | {serials[place]: int(state)})

    def prepare(self, chosen: int, place: int) -> None:
        work = self.ca.work()
        cards = [work.owed(10), work.new(None).cards, work.due(10), self.issued][chosen % 4]
        batch = work.prepare(cards, urgent=place == 0)
        if batch is not None:
            self.batches.append((work, batch))

    def complete(self, chosen: int, place: int) -> None:
        if self.batches:
            work, batch = self.batches.pop(chosen % len(self.batches))
            outcomes = self.ca.sign(batch)
            if chosen % 5 == 0:
                outcomes[-1] = SignerUnavailable("away")
                with pytest.raises(SignerUnavailable):
                    work.complete(batch, outcomes)
            else:
                work.complete(batch, outcomes)

    def lose(self, chosen: int, place: int) -> None:
        """The signer is killed: what it had in hand never comes."""
        self.batches.clear()

    def wait(self, chosen: int, place: int) -> None:
        self.ca.clock.move(timedelta(hours=chosen % 20))

    def step(self, chosen: int, place: int) -> None:
        self.ca.follower.step()

    def rebuild(self, chosen: int, place: int) -> None:
        self.ca.follower.rebuild()

    def start_again(self, chosen: int, place: int) -> None:
        self.ca.follower.close()
        self.ca.follower.open()

    def assert_nothing_older_is_told(self) -> None:
        """Each card stands as it stood at the revision that the store names, and so does its answer."""
        self.ca.follower.close()
        for card, record in records(self.ca.status_store).items():
            worth = self.worth[card][record.revision]
            assert {one.serial: one.state for one in record.certificates}.items() <= worth.items()
            if record.answer:
                head = answer_head(record.answer)
                assert head.revision == record.revision
                assert head.covered == (1 << len(record.certificates)) - 1
        self.ca.follower.open()

    def assert_caught_up(self) -> None:
        """At the end of the feed the store is as the model, and as one built from nothing."""
        while self.ca.follower.step():
            pass
        self.ca.clock.move(timedelta(seconds=follower.HEARTBEAT_SECONDS))
        self.ca.follower.step()  # issuers and responders
        self.ca.follower.close()
        found = records(self.ca.status_store)
        assert {card: record.revision for card, record in found.items()} == {
            card: len(revisions) - 1 for card, revisions in self.worth.items()
        }
        assert {
            card: {one.serial: one.state for one in record.certificates} for card, record in found.items()
        } == {card: revisions[-1] for card, revisions in self.worth.items()}
        again = Follower(self.ca.context, self.directory / "again")
        again.rebuild()
        again.close()
        assert contents(self.directory / "again") == contents(self.ca.status_store)


_KINDS = [Events.issue, Events.act, Events.prepare, Events.complete, Events.step]
_RARER = [Events.wait, Events.lose, Events.rebuild, Events.start_again]
EVENTS = st.tuples(st.sampled_from(4 * _KINDS + _RARER), st.integers(0, 59), st.integers(0, 1))


@settings(
    derandomize=True,
    max_examples=15,
    deadline=None,
    database=None,
    phases=[Phase.generate],  # an example takes a quarter of a second: to shrink one takes minutes
)
@given(events=st.lists(EVENTS, min_size=30, max_size=60))
def test_any_order_of_events(
    migrated_file: Path, events: list[tuple[Callable[[Events, int, int], None], int, int]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        world = Events(migrated_file, Path(directory))
        try:
            for event, chosen, place in events:
                event(world, chosen, place)
                world.assert_nothing_older_is_told()
            world.assert_caught_up()
        finally:
            world.ca.follower.close()
            world.store.close()
