"""What the kinds ask, and what they make of answers, without a network."""

from __future__ import annotations

from base64 import b64decode
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from bench.load.changes import subjects
from bench.load.expected_status import Acknowledged, ExpectedStatus
from bench.load.failures import NoAnswer, WrongAnswer
from bench.load.ocsp_questions import Caching, OcspCa, Posting
from bench.load.ocsp_verdict import OcspVerdict
from bench.load.page_questions import CrlFetching, Searching
from bench.load.popularity import Popularity
from bench.load.question import HttpAnswer, Question
from bench.load.scenario import Acts
from bench.load.server_samples import sample_of
from bench.load.targets import Targets
from engine.control.client import RunningProcess
from engine.errors import InputRejected
from engine.x509 import der
from responders.ocsp_request import parse_request
from tests.judges.toy_authority import NOW, Holder
from tests.load.toy_responder import START, ToyAnswers, serial_of

URL = "http://127.0.0.1:2560/"
SERIAL = serial_of(0)
KEPT: dict[str, Any] = {"etag": '"a"', "cache-control": "max-age=300, public"}


@pytest.fixture(scope="module")
def toy() -> ToyAnswers:
    return ToyAnswers()


@pytest.fixture(scope="module")
def ca(toy: ToyAnswers, tmp_path_factory: pytest.TempPathFactory) -> OcspCa:
    directory = tmp_path_factory.mktemp("targets")
    toy.write_targets(directory / "targets", 10, revoked=frozenset({1, 2}))
    expected = ExpectedStatus(START, Acknowledged(directory / "none"), 2.0)
    return OcspCa(URL, Targets(directory / "targets"), OcspVerdict(toy.ca, 2.0), expected)


def came(body: bytes, status: int = 200, at: float = START, **headers: str) -> HttpAnswer:
    return HttpAnswer(status, headers, body, at, at)


class FirstOnly(Popularity):
    """Everybody asks about the first."""

    def __init__(self) -> None:
        """Without a distribution."""

    def index(self, draw: float) -> int:
        return 0


def caching(ca: OcspCa, keep_seconds: float = 1_000) -> Caching:
    return Caching(ca, FirstOnly(), "sha1", caches=1, keep_seconds=keep_seconds, seed=1)


def asked(kind: Caching | Posting | CrlFetching, now: float) -> Question:
    question = kind.question(0.5, now)
    assert question is not None
    return question


# ---- OCSP ----


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_what_is_posted_is_read_by_our_own_reader(ca: OcspCa, hash_name: str) -> None:
    question = asked(Posting(ca, FirstOnly(), hash_name, with_nonce=False), START)
    assert question.body is not None
    (one,) = parse_request(question.body).asked
    assert (one.serial, one.hash_name, one.issuer_key_hash) == (
        SERIAL,
        hash_name,
        ca.targets.issuer.hashes(hash_name)[1],
    )


def test_each_nonce_is_another_and_must_come_back(ca: OcspCa, toy: ToyAnswers) -> None:
    kind = Posting(ca, FirstOnly(), "sha1", with_nonce=True)
    bodies = [asked(kind, START).body for _ in range(2)]
    assert bodies[0] != bodies[1]
    question = asked(kind, START)
    assert question.body is not None
    nonce = question.body[-32:]
    assert question.judge(came(toy.answer(SERIAL, nonce=der.octet_string(nonce))), True)
    with pytest.raises(NoAnswer, match="nonce-ignored"):
        question.judge(came(toy.answer(SERIAL)), False)
    with pytest.raises(WrongAnswer, match="nonce"):
        question.judge(came(toy.answer(SERIAL, nonce=der.octet_string(bytes(32)))), True)


def test_a_cache_keeps_an_answer_as_long_as_it_may_and_then_asks_whether_it_holds(
    ca: OcspCa, toy: ToyAnswers
) -> None:
    kind, body = caching(ca), toy.answer(SERIAL)
    first = asked(kind, START)
    assert first.body is None
    assert first.headers == {}
    assert b64decode(unquote(first.url.removeprefix(URL))) == ca.request(SERIAL, "sha1")
    assert first.judge(came(body, **KEPT), True)
    assert kind.question(0.5, START + 299) is None
    again = asked(kind, START + 301)
    assert again.headers == {"If-None-Match": '"a"'}
    assert again.judge(came(b"", 304, START + 301, **KEPT), True)
    assert kind.question(0.5, START + 600) is None


def test_a_cache_may_keep_for_less(ca: OcspCa, toy: ToyAnswers) -> None:
    kind = caching(ca, keep_seconds=10)
    asked(kind, START).judge(came(toy.answer(SERIAL), **KEPT), False)
    assert kind.question(0.5, START + 9) is None
    assert kind.question(0.5, START + 11) is not None


@pytest.mark.parametrize(
    "headers", [{}, KEPT | {"cache-control": "private, no-store"}, {"cache-control": "max-age=300"}]
)
def test_what_may_not_be_kept_is_not(ca: OcspCa, toy: ToyAnswers, headers: dict[str, Any]) -> None:
    kind = caching(ca)
    asked(kind, START).judge(came(toy.answer(SERIAL), **headers), False)
    assert asked(kind, START + 1).headers == {}


def test_a_304_for_what_nobody_has_is_wrong(ca: OcspCa, toy: ToyAnswers) -> None:
    kind = caching(ca, keep_seconds=1)
    with pytest.raises(WrongAnswer, match="not-modified"):
        asked(kind, START).judge(came(b"", 304, **KEPT), False)
    asked(kind, START).judge(came(toy.answer(SERIAL), **KEPT), False)
    with pytest.raises(WrongAnswer, match="not-modified"):
        asked(kind, START + 2).judge(came(b"", 304, etag='"b"'), False)


def test_a_304_that_keeps_an_answer_alive_too_long_is_wrong(ca: OcspCa, toy: ToyAnswers) -> None:
    kind = caching(ca, keep_seconds=1)
    asked(kind, START).judge(came(toy.answer(SERIAL, next_update=timedelta(minutes=1)), **KEPT), True)
    with pytest.raises(WrongAnswer, match="times"):
        asked(kind, START + 100).judge(came(b"", 304, START + 100, **KEPT), True)


# ---- CRLs ----


def crl(signer: Holder, *, days: int = 1) -> bytes:
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(NOW - timedelta(days=2))
        .next_update(NOW + timedelta(days=days))
    )
    return made.sign(signer.key, SHA256()).public_bytes(Encoding.DER)


def fetching(toy: ToyAnswers) -> CrlFetching:
    popularity = Popularity(1, 1.0, 1)
    return CrlFetching(URL, ["crl/1.crl"], popularity, toy.ca, fetchers=1, clock_skew=2.0, seed=1)


def test_a_fetcher_says_what_it_has(toy: ToyAnswers) -> None:
    kind = fetching(toy)
    first = asked(kind, START)
    assert (first.url, first.headers) == (f"{URL}crl/1.crl", {})
    assert first.judge(came(crl(toy.toy.ca), etag='"a"'), True)
    again = asked(kind, START)
    assert again.headers == {"If-None-Match": '"a"'}
    assert not again.judge(came(b"", 304, etag='"a"'), True)
    with pytest.raises(WrongAnswer, match="not-modified"):
        again.judge(came(b"", 304, etag='"b"'), True)
    with pytest.raises(NoAnswer, match="http-503"):
        again.judge(came(b"", 503), True)


def test_a_list_that_is_none_is_found(toy: ToyAnswers) -> None:
    for name, body in (
        ("signature", crl(toy.toy.impostor)),
        ("signer", crl(toy.toy.root)),
        ("times", crl(toy.toy.ca, days=-1)),
        ("unreadable", b"no list"),
    ):
        with pytest.raises(WrongAnswer) as raised:
            asked(fetching(toy), START).judge(came(body), True)
        assert raised.value.name == name


# ---- searches ----


@pytest.mark.parametrize(
    ("search", "body", "wrong"),
    [
        ("serial=4a", {"certificates": [{"serial": "4A"}]}, None),
        ("serial=4a", {"certificates": []}, None),
        ("serial=4a", {"certificates": [{"serial": "4b"}]}, "content"),
        ("name=x", {"certificates": [{"serial": "4b"}]}, None),
        ("name=x", {"found": []}, "unreadable"),
        ("name=x", [], "unreadable"),
    ],
)
def test_what_a_search_may_find(search: str, body: Any, wrong: str | None) -> None:
    question = Searching("http://h", [search], Popularity(1, 1.0, 1)).question(0.1, START)
    assert question.url == f"http://h/api/v1/certificates?{search}"
    if wrong is None:
        assert question.judge(came(orjson.dumps(body)), True)
    else:
        with pytest.raises(WrongAnswer, match=wrong):
            question.judge(came(orjson.dumps(body)), True)


# ---- beside the load ----


def test_acts_touch_good_certificates_once_each(ca: OcspCa) -> None:
    acts = Acts(per_second=1, count=8)
    chosen = subjects(acts, ca.targets, Popularity(10, 0.5, 1), seed=1)
    assert sorted(chosen) == [serial_of(number) for number in (0, *range(3, 10))]
    fewer = subjects(Acts(per_second=1, count=3), ca.targets, Popularity(10, 0.5, 1), seed=1)
    assert fewer == chosen[:3]


def test_a_sample_adds_what_all_processes_say() -> None:
    def pool(waiting: int, p99: float, *states: str) -> dict[str, Any]:
        lane = {"waiting": waiting, "in_flight": 1, "done": 10, "refused": 0}
        recent = {"wait": {"p99_ms": p99}, "sign": {"p99_ms": 1.0}}
        return {"lanes": {"live": lane | {"recent": recent}}, "sessions": [{"state": one} for one in states]}

    one, other = (RunningProcess(name, 1, Path(name)) for name in ("live-signer", "pre-signer-1"))
    described = {"cpu_seconds": 1.5, "memory_bytes": 7, "pid": 1}
    sample = sample_of(
        3.14159, [(one, pool(2, 5.0, "busy", "idle")), (other, pool(3, 4.0, "idle"))], [(one, described)]
    )
    assert sample["second"] == 3.14
    assert sample["lanes"]["live"] | {} == {
        "waiting": 5,
        "in_flight": 2,
        "done": 20,
        "refused": 0,
        "wait_p99_ms": 5.0,
        "sign_p99_ms": 1.0,
    }
    assert sample["sessions"] == {"busy": 1, "idle": 2}
    assert sample["processes"] == {"live-signer": {"cpu_seconds": 1.5, "memory_bytes": 7}}


@pytest.mark.parametrize("content", [b"", b"something", b"sealmint load targets 1\nno json\n"])
def test_a_file_that_has_no_targets_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "targets"
    path.write_bytes(content)
    with pytest.raises(InputRejected):
        Targets(path)
    with pytest.raises(InputRejected):
        Targets(tmp_path / "none")


def test_targets_without_a_certificate_are_none(tmp_path: Path, toy: ToyAnswers) -> None:
    toy.write_targets(tmp_path / "targets", 0)
    with pytest.raises(InputRejected, match="no certificate"):
        Targets(tmp_path / "targets")
