"""Conditional requests, from clients to the edge and from the edge to the origin."""

from __future__ import annotations

import pytest

from tests.cli.prepared_home import wait_until
from tests.edge.running_edge import Edge
from tests.edge.stand_in_origin import Asked, Origin, Said, kept
from tests.edge.test_cache import BASE64, PATH

pytestmark = pytest.mark.judge("nginx")

CRL = "/repository/MOEACA/CRL2/complete.crl"


def test_a_client_that_has_the_answer_gets_304_from_the_copy(edge: Edge, origin: Origin) -> None:
    target = f"{PATH}/{BASE64}etag"
    origin.answer = lambda asked: kept(b"0answer", ETag='"0123"')
    assert edge.get(target).status == 200
    answer = edge.get(target, If_None_Match='"0123"')
    assert (answer.status, answer.body, answer.cache) == (304, b"", "hit")
    assert answer.headers["etag"] == '"0123"'
    assert edge.get(target, If_None_Match='"other"').status == 200
    assert len(origin.asked) == 1


def test_the_condition_of_one_client_is_not_the_answer_of_the_next(edge: Edge, origin: Origin) -> None:
    """The first asks with a condition that the origin would answer with 304: the copy must be whole all the same."""
    target = f"{PATH}/{BASE64}first"
    origin.answer = lambda asked: kept(b"0answer", ETag='"0123"')
    assert edge.get(target, If_None_Match='"0123"').status == 304
    assert edge.get(target).body == b"0answer"
    (asked,) = origin.asked
    assert "if-none-match" not in asked.headers


def test_a_list_that_has_not_changed_is_not_sent_again(edge: Edge, origin: Origin) -> None:
    target = "/repository/MOEACA/CRL2/CRL_0001.crl"

    def unless_known(asked: Asked) -> Said:
        status, fields, body = kept(b"the list", seconds=1, ETag='"0123"')
        known = asked.headers.get("if-none-match") == '"0123"'
        return (304, fields, b"") if known else (status, fields, body)

    origin.answer = unless_known
    edge.get(target)
    caches: list[str] = []

    def is_asked_again() -> bool:
        answer = edge.get(target)
        assert (answer.status, answer.body) == (200, b"the list")
        caches.append(answer.cache)
        return caches[-1] not in ("hit", "")

    assert wait_until(is_asked_again)
    assert caches[-1] == "hit; fwd=stale; fwd-status=304"
    assert [asked.headers.get("if-none-match") for asked in origin.asked] == [None, '"0123"']


def test_a_list_that_has_changed_comes_whole(edge: Edge, origin: Origin) -> None:
    target = "/repository/MOEACA/CRL2/CRL_0002.crl"
    origin.answer = lambda asked: kept(b"number 1", seconds=1, ETag='"1"')
    edge.get(target)
    origin.answer = lambda asked: kept(b"number 2", ETag='"2"')
    assert wait_until(lambda: edge.get(target).body == b"number 2")
    assert edge.get(target).headers["etag"] == '"2"'


def test_whoever_wants_a_part_gets_the_whole_and_leaves_a_whole_copy(edge: Edge, origin: Origin) -> None:
    """RFC 9110 section 14.2: a server may ignore Range."""
    origin.answer = lambda asked: kept(b"0123456789")
    for _ in range(2):
        answer = edge.get(CRL, Range="bytes=2-4")
        assert (answer.status, answer.body) == (200, b"0123456789")
    assert answer.cache == "hit"
    (asked,) = origin.asked
    assert "range" not in asked.headers


@pytest.mark.parametrize(
    "spelling",
    [
        f"{CRL}?1",
        "/repository/MOEACA/CRL2/com%70lete.crl",
        f"/x/..{CRL}",
        f"{CRL}/../complete.crl",
        f"/.{CRL}",
    ],
)
def test_a_list_has_one_spelling(edge: Edge, origin: Origin, spelling: str) -> None:
    """Or each of a thousand spellings would be a copy of its own, some megabytes long."""
    answer = edge.get(spelling)
    assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")
    assert not origin.asked
