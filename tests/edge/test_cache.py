"""What the edge keeps, for how long, and for which requests: by the origin's own fields, and no longer."""

from __future__ import annotations

import threading
import time

import pytest

from tests.cli.prepared_home import wait_until
from tests.edge.running_edge import Answer, Edge
from tests.edge.stand_in_origin import Asked, Origin, Said, kept, not_kept

pytestmark = pytest.mark.judge("nginx")

BASE64 = "MFEwTzBNMEswSTAJBgUrDgMCGgUABBT" + "A" * 60
"""Like a request's: long enough to be told from a page."""

PATH = "/cgi-bin/OCSP2/ocsp_server.exe"


def test_get_is_asked_once(edge: Edge, origin: Origin) -> None:
    first, second = (edge.get(f"{PATH}/{BASE64}") for _ in range(2))
    assert (first.cache, second.cache) == ("fwd=uri-miss", "hit")
    assert first.body == second.body == f"GET {PATH}/{BASE64} ".encode()
    assert len(origin.asked) == 1


@pytest.mark.parametrize("target", ["/", PATH])
def test_post_is_asked_once_for_each_body(edge: Edge, origin: Origin, target: str) -> None:
    bodies = [b"0\x03one", b"0\x03two", b"0\x03\x00\xff\r\n", b"0\x03\x00\xff\r\n\x00"]
    for cache in ("fwd=uri-miss", "hit"):
        answers = [edge.post(body, target) for body in bodies]
        assert [answer.cache for answer in answers] == [cache] * len(bodies)
        assert [answer.body for answer in answers] == [
            b"POST %b %b" % (target.encode(), one) for one in bodies
        ]
    assert len(origin.asked) == len(bodies)


def test_method_target_and_body_cannot_stand_in_for_each_other(edge: Edge, origin: Origin) -> None:
    """Requests whose parts, one after the other, are the same octets."""
    target, rest = f"{PATH}/{BASE64}0", b"0\x01"
    answers = [
        edge.post(b"0" + rest, target[:-1]),
        edge.post(rest, target),
        edge.ask("GET", target, rest),
        edge.get(target),
    ]
    assert {answer.cache for answer in answers} == {"fwd=uri-miss"}
    assert len({answer.body for answer in answers}) == 4
    assert len(origin.asked) == 4


@pytest.mark.parametrize(
    "spelling", ["//ab//cd///", "%2Fab%2fcd%2B+%3D=", "a%20b%0a", "-_", "%252F%252B"], ids=str
)
def test_the_target_goes_on_as_it_was_sent(edge: Edge, origin: Origin, spelling: str) -> None:
    """Slashes side by side are base64's own, and the responders read every spelling."""
    for start in (f"{PATH}/", "/", "//"):
        target = f"{start}{BASE64}{spelling}"
        assert edge.get(target).body == f"GET {target} ".encode()
        assert edge.get(target).cache == "hit"


def test_two_spellings_are_two_requests(edge: Edge, origin: Origin) -> None:
    plain, merged = f"{PATH}/{BASE64}//x", f"{PATH}/{BASE64}/x"
    assert edge.get(plain).body != edge.get(merged).body


def test_the_name_that_a_client_gives_does_not_matter(edge: Edge, origin: Origin) -> None:
    target = f"{PATH}/{BASE64}host"
    answers = [edge.get(target, Host=name) for name in ("one.example", "two.example")]
    assert [answer.cache for answer in answers] == ["fwd=uri-miss", "hit"]
    assert [asked.headers["host"] for asked in origin.asked] == ["moeaca.nat.gov.tw"]


def test_head_gives_what_get_gives_without_its_body(edge: Edge, origin: Origin) -> None:
    target = f"{PATH}/{BASE64}head"
    head, get = edge.ask("HEAD", target), edge.get(target)
    assert (head.status, head.body, get.cache) == (200, b"", "hit")
    assert head.headers["content-length"] == str(len(get.body))
    assert [asked.method for asked in origin.asked] == ["GET"]


def test_the_fields_of_an_answer_come_through_with_its_own_date(edge: Edge, origin: Origin) -> None:
    """A Date of nginx's own would make an old copy look new, and the next cache keep it beyond its time."""
    said = kept(b"0", ETag='"0123"', Date="Mon, 02 Mar 2026 12:00:00 GMT")
    origin.answer = lambda asked: said
    for _ in range(2):
        answer = edge.get(f"{PATH}/{BASE64}date")
        fields = {name.lower(): value for name, value in said[1].items()}
        assert fields.items() <= answer.headers.items()
    assert answer.cache == "hit"


@pytest.mark.parametrize(
    "said",
    [
        not_kept(b"0\x03\n\x01\x03"),  # tryLater
        not_kept(b"0\x04live", "private, no-store"),  # with a nonce
        kept(b"0\x04once", Cache_Control="max-age=300, private, no-transform, must-revalidate"),  # paid for
        kept(b"0\x04done", seconds=0),  # at its nextUpdate
        (200, {"Content-Type": "text/plain"}, b"which says nothing"),
        (404, {"Cache-Control": "no-store"}, b""),
        (503, {"Cache-Control": "no-store", "Retry-After": "1"}, b""),
    ],
    ids=["error", "nonce", "private", "lapsed", "silent", "not found", "overload"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_must_not_be_kept_is_not(edge: Edge, origin: Origin, said: Said, method: str) -> None:
    origin.answer = lambda asked: said
    body = b"0never" + said[2] if method == "POST" else None
    target = PATH if body else f"{PATH}/{BASE64}{said[0]}{len(said[2])}{len(said[1])}"
    for _ in range(3):
        answer = edge.ask(method, target, body)
        assert (answer.status, answer.body) == (said[0], said[2])
        assert answer.cache == "fwd=uri-miss"
        assert answer.headers.get("cache-control") == said[1].get("Cache-Control")
        assert answer.headers.get("retry-after") == said[1].get("Retry-After")
    assert {asked.target for asked in origin.asked} == {target}
    assert len(origin.asked) >= 3


def ask_until(edge: Edge, target: str, is_so: object) -> list[tuple[float, Answer]]:
    """Ask until an answer's body or status is what is waited for; all answers, with the times they were asked at."""
    answers: list[tuple[float, Answer]] = []

    def asked() -> bool:
        answers.append((time.time(), edge.get(target)))
        return is_so in (answers[-1][1].body, answers[-1][1].status)

    assert wait_until(asked)
    return answers


def test_a_copy_is_used_to_the_end_of_its_last_second(edge: Edge, origin: Origin) -> None:
    """max-age 1: by time alone the new answer comes, though the old file is open in the worker."""
    target = f"{PATH}/{BASE64}expiry"
    origin.answer = lambda asked: kept(b"old", seconds=1)
    assert edge.get(target).body == b"old"
    fetched = time.time()
    origin.answer = lambda asked: kept(b"new")
    answers = ask_until(edge, target, b"new")
    assert answers[0][1].cache == "hit"
    assert answers[-1][1].cache == "fwd=stale"
    last_old = max(when for when, answer in answers if answer.body == b"old")
    assert last_old < fetched + 2  # max-age, and nginx's whole second
    assert edge.get(target).body == b"new"


def test_cache_control_goes_before_expires(edge: Edge, origin: Origin) -> None:
    """RFC 9919 section 7.2 wants Expires to be nextUpdate, which is days away."""
    target = f"{PATH}/{BASE64}both"
    origin.answer = lambda asked: kept(b"old", seconds=1)
    edge.get(target)
    origin.answer = lambda asked: kept(b"new")
    assert ask_until(edge, target, b"new")[-1][1].cache == "fwd=stale"


def test_many_who_ask_for_the_same_are_one_question(edge: Edge, origin: Origin) -> None:
    """The origin is held back until all of them are waiting."""
    target = f"{PATH}/{BASE64}crowd"
    arrived, let_go = threading.Event(), threading.Event()

    def slowly(asked: Asked) -> Said:
        arrived.set()
        let_go.wait()
        return kept(b"one for all")

    origin.answer = slowly
    answers: list[Answer] = []
    crowd = [threading.Thread(target=lambda: answers.append(edge.get(target))) for _ in range(8)]
    try:
        for one in crowd:
            one.start()
        assert arrived.wait(60)
    finally:
        let_go.set()
        for one in crowd:
            one.join()
    assert [answer.body for answer in answers] == [b"one for all"] * 8
    assert origin.times(target) == 1
