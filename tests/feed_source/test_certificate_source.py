"""CERTIFICATES and CERTIFICATES_SNAPSHOT: what was accepted, and nothing else."""

from __future__ import annotations

from functools import partial

import pytest
from cryptography import x509

from engine.errors import StoreError
from engine.feed import certificate_source
from engine.feed.body import page_of
from engine.feed.entries import AcceptedCertificate
from engine.feed.piece import PieceKind
from engine.status.origins import Verb
from tests.feed_source.source_home import ACCEPTED, FeedSource

SNAPSHOT, CHANGES = PieceKind.CERTIFICATES_SNAPSHOT, PieceKind.CERTIFICATES


@pytest.mark.cps("4.3.1")
@pytest.mark.parametrize("kind", [SNAPSHOT, CHANGES])
async def test_what_is_accepted_is_published_and_nothing_else(source: FeedSource, kind: PieceKind) -> None:
    source.act(Verb.REVOKE, 2, "not-needed")  # it was published, and stays
    source.act(Verb.SUSPEND, ACCEPTED + 1, "token-lost")
    entries = await source.everything(kind)
    assert sorted(entries) == list(range(1, ACCEPTED + 1))
    ca = x509.load_der_x509_certificate(source.context.authority.ca.certificate)
    for item, content in entries.items():
        accepted_at, der = AcceptedCertificate.unpacked(content)
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(ca)
        assert f"{certificate.serial_number:032X}" == source.serial(item)
        stored = source.home.number("SELECT accepted_at FROM acceptance WHERE item_id = ?", item)
        assert accepted_at == stored // 1_000_000


@pytest.mark.parametrize("kind", [SNAPSHOT, CHANGES])
@pytest.mark.parametrize("at_once", [1, 4, ACCEPTED])
async def test_pages_follow_each_other(
    source: FeedSource, monkeypatch: pytest.MonkeyPatch, kind: PieceKind, at_once: int
) -> None:
    whole = await source.everything(kind)
    monkeypatch.setattr(certificate_source, "CERTIFICATES_AT_ONCE", at_once)
    monkeypatch.setattr(certificate_source, "ENTRIES_AT_ONCE", 11)
    pages = await source.pages(kind)
    assert len(pages) > 1
    assert {number: one for _, page in pages for number, one in page.items()} == whole


@pytest.mark.parametrize("kind", [SNAPSHOT, CHANGES])
async def test_pages_are_cut_by_octets_too(
    source: FeedSource, monkeypatch: pytest.MonkeyPatch, kind: PieceKind
) -> None:
    whole = await source.everything(kind)
    most = 2 * max(map(len, whole.values())) + 100
    monkeypatch.setattr(certificate_source, "page_of", partial(page_of, most_octets=most))
    pages = await source.pages(kind)
    assert all(statement.octets <= most for statement, _ in pages)
    assert {number: one for _, page in pages for number, one in page.items()} == whole
    monkeypatch.setattr(certificate_source, "page_of", partial(page_of, most_octets=100))
    with pytest.raises(StoreError, match="larger"):
        await source.ask(kind)


async def test_what_is_accepted_between_two_pages_comes_afterwards(
    source: FeedSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_source, "CERTIFICATES_AT_ONCE", 5)
    first, _ = await source.ask(SNAPSHOT)
    source.act(Verb.ACCEPT, ACCEPTED + 3, "content-confirmed")
    ((_, page),) = await source.pages(CHANGES, first.sequence, first.mark)
    assert list(page) == [ACCEPTED + 3]
