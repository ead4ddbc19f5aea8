"""The judge of a run sees what it is there to see."""

from __future__ import annotations

import base64
import random
from urllib.parse import quote

import pytest

from engine.repository.published_certificate import PublishedCertificate
from tests.fuzz.judge import Judge
from tests.fuzz.known_things import Known, Unaccepted
from tests.fuzz.raw_requests import Sent

_OCTETS = random.Random(4)


def certificate(item: int, name: str, number: str) -> PublishedCertificate:
    return PublishedCertificate(
        item_id=item,
        serial=_OCTETS.randbytes(16),
        subject_kind="company",
        name=name,
        unit_name=None,
        county=None,
        number=number,
        usage="signature",
        rank="primary",
        not_before=0,
        not_after=1,
        accepted_at=0,
        certificate=_OCTETS.randbytes(1_200),
    )


ACCEPTED, HIDDEN = certificate(1, "台灣水泥", "11913502"), certificate(2, "亞洲水泥", "03244509")
UNACCEPTED = Unaccepted(Known([ACCEPTED], [HIDDEN, certificate(3, "台灣水泥", "11913502")]))
OK = b"HTTP/1.1 200 \r\nContent-Type: application/json\r\n\r\n"
STATUS = b"HTTP/1.1 200 \r\nContent-Type: application/ocsp-response\r\n\r\n"
PLAIN = Sent(b"GET / HTTP/1.1\r\n\r\n", 1, True)


def wrong(told: bytes, asked: bytes = PLAIN.octets) -> list[str]:
    judge = Judge(UNACCEPTED)
    judge.judge(Sent(asked, 1, True), told)
    return judge.findings.wrong


@pytest.mark.parametrize(
    "told",
    [
        HIDDEN.certificate,
        HIDDEN.certificate.hex().encode(),
        b"x" + base64.b64encode(HIDDEN.certificate),
        base64.b64encode(b"1" + HIDDEN.certificate),
        base64.urlsafe_b64encode(b"12" + HIDDEN.certificate),
        HIDDEN.name.encode(),
        b"03244509",
        HIDDEN.serial,
        HIDDEN.serial.hex().upper().encode(),
    ],
)
def test_what_is_told_of_an_unaccepted_certificate_is_found(told: bytes) -> None:
    assert len(wrong(OK + b"before" + told + b"after")) == 1


def test_what_may_be_told_is_not_held_against_a_host() -> None:
    assert wrong(OK + ACCEPTED.certificate + ACCEPTED.serial.hex().encode() + ACCEPTED.name.encode()) == []
    assert wrong(STATUS + HIDDEN.serial) == []
    assert len(wrong(STATUS + HIDDEN.certificate)) == 1
    asked = f"GET /zh/certificates?q={quote(HIDDEN.name)} HTTP/1.1".encode()
    assert wrong(OK + HIDDEN.name.encode(), asked) == []
    assert len(wrong(OK + HIDDEN.name.encode() + HIDDEN.serial.hex().encode(), asked)) == 1
    by_serial = f"GET /en/status?serial={HIDDEN.serial.hex(':')} HTTP/1.1".encode()
    assert wrong(OK + HIDDEN.serial.hex().upper().encode(), by_serial) == []
    assert len(wrong(OK + HIDDEN.serial.hex().encode() + HIDDEN.name.encode(), by_serial)) == 1


def test_server_errors_are_found() -> None:
    assert wrong(b"HTTP/1.1 503 \r\nRetry-After: 5\r\n\r\n") == []
    assert wrong(b"HTTP/1.1 501 \r\nContent-Length: 0\r\n\r\n") == []
    for told in (b"HTTP/1.1 500 \r\nA: b\r\n\r\n", OK + b"HTTP/1.1 503 \r\nA: b\r\n\r\n", b"", b"\0\0\4"):
        assert wrong(told) != []
