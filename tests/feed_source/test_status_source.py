"""STATUS, STATUS_SNAPSHOT, PARTIES: a public host that reads them has what the CA host's own status store has."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import StoreError
from engine.feed import status_source
from engine.feed.body import page_of
from engine.feed.entries import pack_entries, unpack_entries
from engine.feed.marks import mark_of
from engine.feed.piece import PieceKind
from engine.feed.refusals import PositionUnknown
from engine.status.card_record import unpack
from engine.status.follower import Follower
from engine.status.origins import Verb
from engine.status.status_store import CARD_KEY, CARDS, META, PARTIES
from engine.store.schema import CertificateState
from engine.store.status_changes import ChangeKind, last_change
from tests.cli.prepared_home import COMPANIES
from tests.feed_source.source_home import FeedSource
from tests.status.ocsp_authority import contents

SNAPSHOT, STATUS = PieceKind.STATUS_SNAPSHOT, PieceKind.STATUS


def followed(source: FeedSource, directory: Path) -> dict[bytes, dict[bytes, bytes]]:
    """What the follower writes on the CA host."""
    follower = Follower(source.context, directory)
    follower.open()
    follower.close()
    return contents(directory)


def position(source: FeedSource) -> tuple[int, str]:
    with source.context.store.read() as connection:
        sequence = last_change(connection)
        return sequence, mark_of(connection, sequence)


@pytest.mark.cps("2.6.3")
async def test_snapshot_and_changes_say_what_the_follower_says(source: FeedSource, tmp_path: Path) -> None:
    source.act(Verb.SUSPEND, 3, "token-lost")
    source.act(Verb.REVOKE, 8, "not-needed")
    store = followed(source, tmp_path / "status-store")
    cards = {CARD_KEY.unpack(key)[0]: record for key, record in store[CARDS].items()}
    assert len(cards) == COMPANIES
    assert await source.everything(SNAPSHOT) == cards
    assert await source.everything(STATUS) == cards
    statement, body = await source.ask(PieceKind.PARTIES)
    assert body == store[META][PARTIES]
    assert (statement.after, statement.through, statement.is_last) == (0, 0, True)


async def test_pages_follow_each_other_and_leave_nothing_out(
    source: FeedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {kind: await source.everything(kind) for kind in (SNAPSHOT, STATUS)}
    monkeypatch.setattr(status_source, "CARDS_AT_ONCE", 7)
    monkeypatch.setattr(status_source, "ENTRIES_AT_ONCE", 3)
    for kind in (SNAPSHOT, STATUS):
        pages = await source.pages(kind)
        assert len(pages) > 4
        assert {number: one for _, page in pages for number, one in page.items()} == whole[kind]
    sequences = {statement.sequence for statement, _ in await source.pages(SNAPSHOT)}
    assert sequences == {position(source)[0]}


async def test_pages_are_cut_by_octets_too(source: FeedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    # The one batch of answers touches every card; without its entry each touches a few.
    source.home.change("UPDATE status_change SET subject = 99 WHERE kind = ?", int(ChangeKind.ANSWERED))
    whole = {kind: await source.everything(kind) for kind in (SNAPSHOT, STATUS)}
    most = 6_000
    monkeypatch.setattr(status_source, "page_of", partial(page_of, most_octets=most))
    for kind in (SNAPSHOT, STATUS):
        pages = await source.pages(kind)
        assert len(pages) > 1
        assert all(statement.octets <= most for statement, _ in pages)
        assert {number: one for _, page in pages for number, one in page.items()} == whole[kind]


async def test_an_entry_that_no_piece_has_room_for_is_an_error(
    source: FeedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_source, "page_of", partial(page_of, most_octets=500))
    with pytest.raises(StoreError, match="more cards"):
        await source.ask(STATUS)


async def test_what_changes_between_two_pages_comes_afterwards(
    source: FeedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_source, "CARDS_AT_ONCE", COMPANIES // 2)
    first, page = await source.ask(SNAPSHOT)
    assert not first.is_last
    source.act(Verb.REVOKE, 1, "key-compromise")
    second, _ = await source.ask(SNAPSHOT, after=first.through)
    assert (second.is_last, second.sequence) == (True, first.sequence + 1)
    found = dict(unpack_entries(page)) | {
        number: one
        for _, entries in await source.pages(STATUS, first.sequence, first.mark)
        for number, one in entries.items()
    }
    record = unpack(found[source.card_of(1)])
    assert (record.certificates[0].state, record.revision) == (CertificateState.REVOKED, 1)


async def test_a_reader_that_is_up_to_date_gets_an_empty_piece(source: FeedSource) -> None:
    sequence, mark = position(source)
    statement, body = await source.ask(STATUS, after=sequence, mark=mark)
    assert (statement.after, statement.through, statement.is_last) == (sequence, sequence, True)
    assert (statement.mark, body) == (mark, b"")
    beyond, body = await source.ask(SNAPSHOT, after=1_000_000)
    assert (beyond.after, beyond.through, beyond.is_last, body) == (1_000_000, 1_000_000, True, b"")


async def test_a_position_that_the_record_never_had_is_refused(source: FeedSource) -> None:
    sequence, mark = position(source)
    for kind in (STATUS, PieceKind.CERTIFICATES):
        for after, told in ((sequence + 1, mark), (sequence, "0" * 32), (sequence, ""), (0, mark)):
            with pytest.raises(PositionUnknown):
                await source.ask(kind, after=after, mark=told)


async def test_a_record_that_was_put_back_and_went_on_is_another(source: FeedSource) -> None:
    source.act(Verb.SUSPEND, 3, "token-lost")
    sequence, mark = position(source)
    source.home.change("DELETE FROM status_change WHERE sequence = ?", sequence)
    source.home.change("UPDATE status_change_head SET sequence = ?", sequence - 1)
    with pytest.raises(PositionUnknown):
        await source.ask(STATUS, after=sequence, mark=mark)
    source.act(Verb.SUSPEND, 5, "token-lost")
    assert position(source)[0] == sequence
    with pytest.raises(PositionUnknown):
        await source.ask(STATUS, after=sequence, mark=mark)


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(0, 400))
def test_a_page_is_the_beginning_of_what_there_is(contents: list[bytes], most: int) -> None:
    entries = list(enumerate(contents, 1))
    page = page_of(iter(entries), most)
    taken = list(unpack_entries(page.octets))
    assert taken == entries[: len(taken)]
    assert page.is_whole == (taken == entries)
    assert page.last_taken == (taken[-1][0] if taken else None)
    assert len(page.octets) <= most
    if not page.is_whole:
        assert len(pack_entries(entries[: len(taken) + 1])) > most
