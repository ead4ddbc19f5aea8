"""CRLS and CRL: every list that is published, whole, and never two of them put together."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from cryptography import x509

from engine.feed import crl_source
from engine.feed.listings import ListedCrl, listing_from
from engine.feed.piece import PieceKind
from engine.feed.refusals import DigestUnknown
from engine.status.crl_files import PublishedCrl, delta_uri_of, file_of
from tests.feed_source.source_home import FeedSource

PIECE = 300


async def listing(source: FeedSource) -> dict[str, ListedCrl]:
    _, body = await source.ask(PieceKind.CRLS)
    listed = listing_from(body, ListedCrl)
    assert len({one.uri for one in listed}) == len(listed)
    return {one.uri: one for one in listed}


def files(source: FeedSource) -> dict[Path, bytes]:
    directory = Path(source.context.configuration.crl.directory)
    return {path: path.read_bytes() for path in directory.rglob("*.crl")}


def path_of(source: FeedSource, uri: str) -> Path:
    return file_of(Path(source.context.configuration.crl.directory), uri)


async def fetched(source: FeedSource, one: ListedCrl) -> bytes:
    octets = b""
    while len(octets) < one.octets:
        statement, body = await source.ask(PieceKind.CRL, digest=one.sha256, after=len(octets))
        assert statement.after == len(octets)
        octets += body
        assert (statement.through, statement.is_last) == (len(octets), len(octets) == one.octets)
    return octets


async def test_every_published_list_is_listed_and_can_be_fetched(
    source: FeedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crl_source, "MOST_BODY_OCTETS", PIECE)
    listed = await listing(source)
    there = files(source)
    assert {path_of(source, uri) for uri in listed} == set(there)
    assert len(listed) > 2
    for uri, one in listed.items():
        octets = there[path_of(source, uri)]
        number = x509.load_der_x509_crl(octets).extensions.get_extension_for_class(x509.CRLNumber).value
        assert (one.sha256, one.octets) == (hashlib.sha256(octets).hexdigest(), len(octets))
        assert one.number == number.crl_number
        assert await fetched(source, one) == octets


async def test_a_delta_is_listed_as_long_as_it_is_there(source: FeedSource) -> None:
    uri, one = next(iter((await listing(source)).items()))
    delta = path_of(source, delta_uri_of(uri))
    delta.write_bytes(path_of(source, uri).read_bytes())
    assert (await listing(source))[delta_uri_of(uri)].sha256 == one.sha256
    delta.unlink()
    assert delta_uri_of(uri) not in await listing(source)


async def test_a_list_that_is_replaced_while_it_is_fetched_is_gone(
    source: FeedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crl_source, "MOST_BODY_OCTETS", PIECE)
    uri, one = next(iter((await listing(source)).items()))
    await source.ask(PieceKind.CRL, digest=one.sha256)
    before = path_of(source, uri).read_bytes()
    source.home.sealmint("crl", "publish")
    with pytest.raises(DigestUnknown):
        await source.ask(PieceKind.CRL, digest=one.sha256, after=PIECE)
    after = (await listing(source))[uri]
    assert after.number > one.number
    assert await fetched(source, after) != before


async def test_a_list_whose_publication_is_not_recorded_yet_says_its_number_itself(
    source: FeedSource,
) -> None:
    source.home.change("UPDATE crl_issue SET file_sha256 = NULL")
    numbers = {number for (number,) in source.home.query("SELECT number FROM crl_issue")}
    assert {one.number for one in (await listing(source)).values()} == numbers


async def test_an_unchanged_file_is_hashed_once(source: FeedSource, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    really = crl_source._opened

    def noted(file: PublishedCrl) -> object:
        opened.append(file.path)
        return really(file)

    monkeypatch.setattr(crl_source, "_opened", noted)
    before = await listing(source)
    assert await listing(source) == before
    assert len(opened) == len(before)
    path = path_of(source, next(iter(before)))
    os.utime(path, ns=(1, 1))
    assert await listing(source) == before
    assert opened[len(before) :] == [path]


async def test_what_is_no_list_is_not_there(source: FeedSource) -> None:
    uri, one = next(iter((await listing(source)).items()))
    for digest, after in (("0" * 64, 0), (one.sha256, one.octets), (one.sha256, one.octets + 1)):
        with pytest.raises(DigestUnknown):
            await source.ask(PieceKind.CRL, digest=digest, after=after)
    path_of(source, uri).write_bytes(b"no list")
    assert uri not in await listing(source)
