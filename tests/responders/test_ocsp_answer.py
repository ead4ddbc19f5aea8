"""What is answered at once, what goes to the live signer, and what without one; over a real status store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.algorithms import SignatureAlgorithm
from engine.clock import SetClock
from engine.status.status_store import StatusReader
from engine.x509 import der
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS
from engine.x509.ocsp_response import HASH_NAMES
from engine.x509.serial_numbers import SERIAL_OCTETS
from responders.ocsp_answer import MALFORMED, TRY_LATER, UNAUTHORIZED, Caching, OcspAnswer, OcspResponder
from tests.cli.prepared_home import ROOT
from tests.judges.toy_authority import NOW
from tests.responders.ocsp_requests import certificate_id, nonce, plain, preferred, request, single
from tests.responders.synthetic_status import (
    ENCRYPTION,
    EXPIRED,
    GOOD,
    HELD,
    HOUR,
    NEVER_ISSUED,
    OTHER_GOOD,
    REVOKED,
    START,
    WITHDRAWN,
    SyntheticStatus,
    configuration,
)

LIVE = b"a live answer"


class ScriptedLiveSigner:
    """Says what it was told to, and remembers what it was asked."""

    def __init__(self, response: bytes = LIVE) -> None:
        self.response = response
        self.asked: list[bytes] = []

    async def ask(self, request: bytes) -> bytes:
        self.asked.append(request)
        return self.response


@pytest.fixture
def status(synthetic_status: SyntheticStatus) -> SyntheticStatus:
    return synthetic_status


@pytest.fixture
def reader(status: SyntheticStatus) -> Iterator[StatusReader]:
    with StatusReader(status.directory) as opened:
        yield opened


@pytest.fixture
def clock() -> SetClock:
    return SetClock(NOW)


@pytest.fixture
def alone(reader: StatusReader, clock: SetClock) -> OcspResponder:
    return OcspResponder(reader, configuration(), clock, None)


@pytest.fixture
def with_live(reader: StatusReader, clock: SetClock) -> OcspResponder:
    return OcspResponder(reader, configuration(), clock, ScriptedLiveSigner())


def asked(
    status: SyntheticStatus, *serials: bytes, hash_name: str = "sha1", parameters: bool = True
) -> bytes:
    return request(
        *(single(certificate_id(status.issuer, one, hash_name, parameters=parameters)) for one in serials)
    )


def with_nonce(status: SyntheticStatus, serial: bytes = GOOD) -> bytes:
    return request(single(certificate_id(status.issuer, serial)), extensions=[nonce(b"n" * 16)])


def statuses(answer: OcspAnswer | None) -> dict[int, ocsp.OCSPCertStatus]:
    """What a response says, by serial."""
    assert answer is not None
    response = ocsp.load_der_ocsp_response(answer.response)
    assert response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    return {one.serial_number: one.certificate_status for one in response.responses}


@pytest.mark.cps("4.4.12")
@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
@pytest.mark.parametrize("parameters", [True, False])
def test_what_was_signed_ahead_goes_out(
    status: SyntheticStatus, with_live: OcspResponder, hash_name: str, parameters: bool
) -> None:
    for serial, expected in (
        (GOOD, ocsp.OCSPCertStatus.GOOD),
        (ENCRYPTION, ocsp.OCSPCertStatus.GOOD),
        (HELD, ocsp.OCSPCertStatus.REVOKED),
        (REVOKED, ocsp.OCSPCertStatus.REVOKED),
    ):
        octets = asked(status, serial, hash_name=hash_name, parameters=parameters)
        assert statuses(with_live.at_once(octets))[int.from_bytes(serial, "big")] is expected


def test_its_caching_is_that_of_the_signed_answer(status: SyntheticStatus, alone: OcspResponder) -> None:
    answer = alone.at_once(asked(status, GOOD))
    assert answer is not None
    signature = ocsp.load_der_ocsp_response(answer.response).signature
    assert answer.caching == Caching(START, START + 48 * HOUR, signature[:12].hex().encode())


def test_a_request_that_is_not_the_usual_octets_gets_the_same(
    status: SyntheticStatus, alone: OcspResponder
) -> None:
    one = single(certificate_id(status.issuer, GOOD))
    usual = alone.at_once(asked(status, GOOD))
    assert alone.at_once(request(one, version=der.integer(0))) == usual
    assert alone.at_once(request(one, extensions=[])) == usual
    assert alone.at_once(asked(status, GOOD, ENCRYPTION)) == usual  # one card, one answer
    assert alone.at_once(asked(status, ENCRYPTION, GOOD, GOOD)) == usual


@settings(
    derandomize=True,
    max_examples=300,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(HASH_NAMES),
    st.booleans(),
    st.sampled_from([GOOD, HELD, WITHDRAWN, NEVER_ISSUED]) | st.binary(max_size=20),
)
def test_recognising_changes_no_answer(
    status: SyntheticStatus, alone: OcspResponder, hash_name: str, parameters: bool, serial: bytes
) -> None:
    """A version that spells out its default is parsed; the same request without it may be recognised."""
    one = single(certificate_id(status.issuer, serial, hash_name, parameters=parameters))
    assert alone.at_once(request(one)) == alone.at_once(request(one, version=der.integer(0)))


@pytest.mark.parametrize("octets", [b"", b"\x30\x00", b"0" * SERIAL_OCTETS, plain()[:-1], plain() + b"\x00"])
def test_malformed_requests(alone: OcspResponder, with_live: OcspResponder, octets: bytes) -> None:
    assert alone.at_once(octets) == with_live.at_once(octets) == MALFORMED


def test_another_issuer_is_none_of_ours(status: SyntheticStatus, with_live: OcspResponder) -> None:
    assert with_live.at_once(plain(GOOD)) == UNAUTHORIZED
    mixed = request(single(certificate_id(status.issuer, GOOD)), single(certificate_id(serial=GOOD)))
    assert with_live.at_once(mixed) == UNAUTHORIZED
    assert (
        with_live.at_once(request(single(certificate_id(serial=GOOD)), extensions=[nonce(b"n")]))
        == UNAUTHORIZED
    )


async def test_what_was_not_signed_ahead_goes_to_the_live_signer(
    status: SyntheticStatus, reader: StatusReader, clock: SetClock
) -> None:
    live = ScriptedLiveSigner()
    responder = OcspResponder(reader, configuration(), clock, live)
    sha512 = preferred(ALGORITHM_IDENTIFIERS[SignatureAlgorithm.RSA_PKCS1_SHA512])
    octets = [
        with_nonce(status),
        asked(status, WITHDRAWN),
        asked(status, NEVER_ISSUED),
        asked(status, b"\x01"),
        asked(status, EXPIRED),
        asked(status, GOOD, hash_name="sha384"),
        asked(status, GOOD, OTHER_GOOD),
        request(single(certificate_id(status.issuer, GOOD)), extensions=[sha512]),
    ]
    for one in octets:
        assert responder.at_once(one) is None
        assert await responder.answer(one) == OcspAnswer(LIVE, None)
    assert live.asked == octets


async def test_without_a_live_signer(status: SyntheticStatus, alone: OcspResponder) -> None:
    usual = alone.at_once(asked(status, GOOD))
    sha512 = preferred(ALGORITHM_IDENTIFIERS[SignatureAlgorithm.RSA_PKCS1_SHA512])
    expected = [
        (with_nonce(status), usual),
        (request(single(certificate_id(status.issuer, GOOD)), extensions=[sha512]), usual),
        (with_nonce(status, WITHDRAWN), TRY_LATER),
        (asked(status, WITHDRAWN), TRY_LATER),
        (asked(status, NEVER_ISSUED), UNAUTHORIZED),
        (asked(status, b"\x01"), UNAUTHORIZED),
        (asked(status, EXPIRED), UNAUTHORIZED),
        (asked(status, GOOD, hash_name="sha384"), UNAUTHORIZED),
        (asked(status, GOOD, OTHER_GOOD), UNAUTHORIZED),
        (asked(status, GOOD, WITHDRAWN), UNAUTHORIZED),
    ]
    for octets, answer in expected:
        assert alone.at_once(octets) == await alone.answer(octets) == answer


def test_an_expired_certificate_within_the_archive_may_be_answered_for_later(
    status: SyntheticStatus, reader: StatusReader, clock: SetClock
) -> None:
    responder = OcspResponder(reader, configuration(archive_cutoff_years=1), clock, None)
    assert responder.at_once(asked(status, EXPIRED)) == TRY_LATER


def test_hashes_that_are_not_signed_ahead_are_not_recognised(
    status: SyntheticStatus, reader: StatusReader, clock: SetClock
) -> None:
    responder = OcspResponder(reader, configuration(hashes=["sha256"]), clock, None)
    assert responder.at_once(asked(status, GOOD)) == UNAUTHORIZED
    assert statuses(responder.at_once(asked(status, GOOD, hash_name="sha256")))


async def test_a_nonce_may_be_ignored_always(
    status: SyntheticStatus, reader: StatusReader, clock: SetClock
) -> None:
    live = ScriptedLiveSigner()
    responder = OcspResponder(reader, configuration(nonce="ignore"), clock, live)
    assert responder.at_once(with_nonce(status)) == responder.at_once(asked(status, GOOD))
    assert not live.asked


async def test_a_nonce_may_be_ignored_where_the_live_signer_has_too_much_to_do(
    status: SyntheticStatus, reader: StatusReader, clock: SetClock
) -> None:
    live = ScriptedLiveSigner()
    responder = OcspResponder(reader, configuration(nonce="live-or-ignore"), clock, live)
    assert await responder.answer(with_nonce(status)) == OcspAnswer(LIVE, None)
    live.response = TRY_LATER.response
    assert await responder.answer(with_nonce(status)) == responder.at_once(asked(status, GOOD))
    assert await responder.answer(with_nonce(status, WITHDRAWN)) == TRY_LATER
    assert await responder.answer(with_nonce(status, NEVER_ISSUED)) == TRY_LATER


async def test_by_default_an_overloaded_live_signer_means_try_later(
    status: SyntheticStatus, reader: StatusReader, clock: SetClock
) -> None:
    responder = OcspResponder(reader, configuration(), clock, ScriptedLiveSigner(TRY_LATER.response))
    assert await responder.answer(with_nonce(status)) == TRY_LATER


def test_past_next_update_an_answer_is_none(tmp_path: Path, status: SyntheticStatus, clock: SetClock) -> None:
    own = SyntheticStatus(tmp_path, status.toy)
    own.build()
    with StatusReader(tmp_path) as reader:
        responder = OcspResponder(reader, configuration(), clock, None)
        clock.move(timedelta(hours=48, seconds=-1))
        own.build(written_at=START + 48 * HOUR)
        assert statuses(responder.at_once(asked(own, GOOD)))
        clock.move(timedelta(seconds=1))
        assert responder.at_once(asked(own, GOOD)) == TRY_LATER


async def test_a_store_that_is_not_kept_up_is_not_trusted(
    tmp_path: Path, status: SyntheticStatus, clock: SetClock
) -> None:
    own = SyntheticStatus(tmp_path, status.toy)
    own.build()
    with StatusReader(tmp_path) as reader:
        responder = OcspResponder(reader, configuration(), clock, ScriptedLiveSigner())
        clock.move(timedelta(seconds=60))
        assert statuses(responder.at_once(asked(own, GOOD)))
        clock.move(timedelta(seconds=1))
        for octets in (asked(own, GOOD), with_nonce(own), asked(own, NEVER_ISSUED)):
            assert responder.at_once(octets) == TRY_LATER
        assert responder.at_once(plain(GOOD)) == UNAUTHORIZED
        own.build(written_at=START + 61)
        clock.move(timedelta(seconds=1))
        assert statuses(responder.at_once(asked(own, GOOD)))


def test_a_clock_put_back_does_not_make_a_store_current_that_nobody_keeps_up(
    status: SyntheticStatus, reader: StatusReader, clock: SetClock
) -> None:
    responder = OcspResponder(reader, configuration(), clock, None)
    clock.move(timedelta(seconds=-60))
    assert statuses(responder.at_once(asked(status, GOOD)))
    clock.move(timedelta(seconds=-1))
    assert responder.at_once(asked(status, GOOD)) == TRY_LATER


async def test_a_store_that_went_stale_while_the_live_signer_was_waited_for_is_not_trusted(
    status: SyntheticStatus, reader: StatusReader, clock: SetClock
) -> None:
    class Slow(ScriptedLiveSigner):
        async def ask(self, request: bytes) -> bytes:
            clock.move(timedelta(seconds=61))
            return TRY_LATER.response

    responder = OcspResponder(reader, configuration(nonce="live-or-ignore"), clock, Slow())
    assert await responder.answer(with_nonce(status)) == TRY_LATER


def test_a_rebuilt_store_is_taken_up(tmp_path: Path, status: SyntheticStatus, clock: SetClock) -> None:
    own = SyntheticStatus(tmp_path, status.toy)
    own.build(cards=[1])
    with StatusReader(tmp_path) as reader:
        responder = OcspResponder(reader, configuration(), clock, None)
        assert responder.at_once(asked(own, HELD)) == UNAUTHORIZED
        own.build()
        clock.move(timedelta(seconds=1))
        assert statuses(responder.at_once(asked(own, HELD)))


@pytest.mark.cps("2.6.3")
def test_whoever_answers_outside_loads_nothing_that_speaks_to_a_token() -> None:
    program = (
        "import sys, responders.ocsp_answer, responders.live_signing.client;"
        "print([name for name in sys.modules if 'pkcs11' in name])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "[]\n"
