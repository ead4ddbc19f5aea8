"""Answers that are wrong on purpose, each in one way: the verdict names it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from bench.load.expected_status import Acknowledged, ExpectedStatus, Said
from bench.load.failures import NoAnswer, WrongAnswer
from bench.load.ocsp_verdict import Asked, OcspVerdict
from bench.load.targets import Target
from engine.store.schema import CertificateState
from engine.x509 import der
from engine.x509.ocsp_response import IssuerNames
from tests.load.toy_responder import KEY_COMPROMISE, REVOKED_AT, START, ToyAnswers, der_of, serial_of

SERIAL, OTHER = serial_of(1), serial_of(2)
SKEW = 2.0
NONCE = bytes(range(32))


@pytest.fixture(scope="module")
def toy() -> ToyAnswers:
    return ToyAnswers()


@pytest.fixture(scope="module")
def verdict(toy: ToyAnswers) -> OcspVerdict:
    return OcspVerdict(toy.ca, SKEW)


def test_a_right_answer_is_read(toy: ToyAnswers, verdict: OcspVerdict) -> None:
    good = verdict.said(toy.answer(SERIAL), Asked(SERIAL, "sha1"), START)
    assert good == Said("good", None, None, START - 3_600)
    revoked = verdict.said(toy.answer(SERIAL, state="revoked"), Asked(SERIAL, "sha1"), START)
    assert revoked == Said("revoked", REVOKED_AT, KEY_COMPROMISE, START - 3_600)
    of_ca = toy.answer(SERIAL, signer=toy.toy.ca, certificates=[])
    assert verdict.said(of_ca, Asked(SERIAL, "sha1"), START).state == "good"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("signature", {"spoilt": True}),
        ("signer", {"signer": "impostor_responder"}),
        ("signer", {"signer": "unauthorised_responder"}),
        ("signer", {"signer": "expired_responder"}),
        ("signer", {"key_hash": bytes(20)}),
        ("signer", {"signer": "impostor", "certificates": "own"}),
        ("certificate-id", {"about": OTHER}),
        ("certificate-id", {"hash_name": "sha256"}),
        ("certificate-id", {"issuer": IssuerNames(der.sequence(), b"another key")}),
        ("times", {"next_update": -timedelta(minutes=5)}),
        ("times", {"next_update": None}),
        ("times", {"this_update": timedelta(minutes=5)}),
        ("times", {"this_update": timedelta(hours=3)}),
        ("nonce", {"nonce": der.octet_string(bytes(32))}),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_each_lie_is_found(toy: ToyAnswers, verdict: OcspVerdict, name: str, wrong: dict[str, Any]) -> None:
    made = dict(wrong)
    if "signer" in made:
        made["signer"] = getattr(toy.toy, made["signer"])
    if made.get("certificates") == "own":
        made["certificates"] = [der_of(made["signer"])]
    with pytest.raises(WrongAnswer) as raised:
        verdict.said(
            toy.answer(SERIAL, **made), Asked(SERIAL, "sha1", NONCE if "nonce" in made else None), START
        )
    assert raised.value.name == name


def test_the_signature_of_another_answer_does_not_do(toy: ToyAnswers, verdict: OcspVerdict) -> None:
    body = toy.answer(SERIAL)
    place = body.index(SERIAL) + len(SERIAL) - 1
    changed = body[:place] + bytes((body[place] ^ 1,)) + body[place + 1 :]
    with pytest.raises(WrongAnswer):
        verdict.said(changed, Asked(SERIAL, "sha1"), START)


def test_every_cut_is_unreadable_or_wrong(toy: ToyAnswers, verdict: OcspVerdict) -> None:
    body = toy.answer(SERIAL)
    for end in range(0, len(body), 7):
        with pytest.raises(WrongAnswer):
            verdict.said(body[:end], Asked(SERIAL, "sha1"), START)


def test_the_clocks_may_differ_a_little(toy: ToyAnswers, verdict: OcspVerdict) -> None:
    ended = toy.answer(SERIAL, next_update=timedelta(seconds=-1))
    assert verdict.said(ended, Asked(SERIAL, "sha1"), START).state == "good"
    with pytest.raises(WrongAnswer, match="times"):
        verdict.said(ended, Asked(SERIAL, "sha1"), START + 2 * SKEW)


def test_a_nonce_that_is_left_out_is_no_lie(toy: ToyAnswers, verdict: OcspVerdict) -> None:
    asked = Asked(SERIAL, "sha1", NONCE)
    with pytest.raises(NoAnswer, match="nonce-ignored"):
        verdict.said(toy.answer(SERIAL), asked, START)
    answered = toy.answer(SERIAL, nonce=der.octet_string(NONCE))
    assert verdict.said(answered, asked, START).state == "good"


# ---- what may be said ----

READ_AT = START
BOUND = 2.0
GOOD = Target(SERIAL, CertificateState.GOOD, 0, None)
HELD = Target(SERIAL, CertificateState.HELD, READ_AT - 50, 6)
REVOKED = Target(SERIAL, CertificateState.REVOKED, READ_AT - 50, 1)


def said(
    state: str, since: int | None = None, reason: int | None = None, this_update: int = READ_AT - 9
) -> Said:
    return Said(state, since, reason, this_update)  # type: ignore[arg-type]  # a name


@pytest.mark.parametrize(
    ("target", "answer", "fault"),
    [
        (GOOD, said("good"), None),
        (GOOD, said("unknown"), "status"),
        (GOOD, said("revoked", READ_AT - 1, 1), "status"),
        (GOOD, said("revoked", READ_AT, 1), None),  # since the record was read
        (REVOKED, said("revoked", READ_AT - 50, 1), None),
        (REVOKED, said("revoked", READ_AT - 51, 1), "status"),
        (REVOKED, said("revoked", READ_AT - 50, 4), "status"),
        (REVOKED, said("revoked", READ_AT + 5, 1), "status"),  # for good is for good
        (REVOKED, said("good", this_update=READ_AT + 5), "status"),
        (HELD, said("revoked", READ_AT - 50, 6), None),
        (HELD, said("revoked", READ_AT + 5, 1), None),
        (HELD, said("good"), "status"),
        (HELD, said("good", this_update=READ_AT + 5), None),  # resumed since
    ],
)
def test_what_may_be_said_of_a_certificate(
    tmp_path: Any, target: Target, answer: Said, fault: str | None
) -> None:
    expected = ExpectedStatus(READ_AT, Acknowledged(tmp_path / "none"), BOUND)
    assert expected.fault(target, answer, READ_AT + 10) == fault


def test_after_an_acknowledged_act_the_old_answer_has_its_time(tmp_path: Any) -> None:
    writer, reader = (Acknowledged(tmp_path / "acts.jsonl") for _ in range(2))
    expected = ExpectedStatus(READ_AT, reader, BOUND)
    reader.read_on()
    writer.append([OTHER, SERIAL], READ_AT + 5)
    assert expected.fault(GOOD, said("good"), READ_AT + 60) is None  # not known yet
    reader.read_on()
    assert len(reader) == 2
    assert expected.fault(GOOD, said("good"), READ_AT + 5 + BOUND) is None
    assert expected.fault(GOOD, said("good"), READ_AT + 5.1 + BOUND) == "stale-good"
    assert expected.fault(GOOD, said("revoked", READ_AT + 5, 1), READ_AT + 60) is None


def test_a_line_that_is_not_whole_yet_waits(tmp_path: Any) -> None:
    path = tmp_path / "acts.jsonl"
    reader = Acknowledged(path)
    line = b'["%b",12.5]\n' % SERIAL.hex().encode()
    path.write_bytes(line[:10])
    reader.read_on()
    assert reader.moment(SERIAL) is None
    path.write_bytes(line)
    reader.read_on()
    assert reader.moment(SERIAL) == 12.5


def test_the_toy_lives_now() -> None:
    assert abs(time.time() - START) < 86_400
