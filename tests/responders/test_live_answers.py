"""Every kind of live answer, made over a real status store, signed, and judged by OpenSSL and cryptography."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from engine.algorithms import SignatureAlgorithm
from engine.clock import SetClock
from engine.errors import SignatureInvalid
from engine.status.status_store import StatusReader
from engine.x509 import der
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS
from engine.x509.ocsp_response import HASH_NAMES, ResponseStatus, assemble_response
from responders.live_signing.live_answers import VALIDITY_SECONDS, LiveAnswers, Responder, ToSign
from tests.judges.program import tell
from tests.judges.toy_authority import NOW
from tests.responders.ocsp_requests import (
    NONCE,
    certificate_id,
    extension,
    nonce,
    plain,
    preferred,
    request,
    single,
)
from tests.responders.synthetic_status import (
    EXPIRED,
    GOOD,
    HELD,
    HOUR,
    LONG_EXPIRED,
    NEVER_ISSUED,
    OTHER_GOOD,
    REVOKED,
    START,
    WITHDRAWN,
    YEAR,
    SyntheticStatus,
    configuration,
    sign,
)

EXTENDED_REVOKE = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.9")
ARCHIVE_CUTOFF = x509.ObjectIdentifier("1.3.6.1.5.5.7.48.1.6")
LATER = 30
"""Seconds between the store's sign of life and the question."""


@dataclass
class Asking:
    """The toy's live answers, and the judges' look at them."""

    status: SyntheticStatus
    reader: StatusReader
    directory: Path

    def prepare(self, octets: bytes, later: int = LATER, **ocsp_settings: object) -> ToSign | ResponseStatus:
        clock = SetClock(NOW + timedelta(seconds=later))
        responder = Responder(self.status.issued_responder())
        return LiveAnswers(self.reader, [responder], configuration(**ocsp_settings), clock).prepare(octets)

    def answer(self, octets: bytes, later: int = LATER, **ocsp_settings: object) -> ocsp.OCSPResponse:
        """The signed answer, after OpenSSL verified it against the request."""
        to_sign = self.prepare(octets, later, **ocsp_settings)
        assert isinstance(to_sign, ToSign)
        response = to_sign.signed(sign(self.status.responder, to_sign.tbs, to_sign.algorithm))
        self._judge(octets, response)
        return ocsp.load_der_ocsp_response(response)

    def _judge(self, octets: bytes, response: bytes) -> None:
        text = self.told(octets, response)
        assert "Response verify OK" in text, text
        assert "once" not in text, text  # neither missing nor another

    def told(self, octets: bytes, response: bytes) -> str:
        """What OpenSSL says to a response to a request."""
        trusted = b"".join(
            one.certificate.public_bytes(Encoding.PEM) for one in (self.status.toy.ca, self.status.toy.root)
        )
        files = {"request": octets, "response": response, "trusted": trusted}
        for name, content in files.items():
            (self.directory / name).write_bytes(content)
        request_file, response_file, trusted_file = (self.directory / name for name in files)
        told = tell(
            "openssl", "ocsp", "-reqin", request_file, "-respin", response_file, "-CAfile", trusted_file
        )
        return told.text

    def id(self, serial: bytes, hash_name: str = "sha1", *, parameters: bool = True) -> bytes:
        return certificate_id(self.status.issuer, serial, hash_name, parameters=parameters)

    def about(self, *serials: bytes) -> bytes:
        return request(*(single(self.id(serial)) for serial in serials))


@pytest.fixture
def status(synthetic_status: SyntheticStatus) -> SyntheticStatus:
    return synthetic_status


@pytest.fixture
def asking(status: SyntheticStatus, tmp_path: Path) -> Iterator[Asking]:
    with StatusReader(status.directory) as reader:
        yield Asking(status, reader, tmp_path)


def at(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def only(response: ocsp.OCSPResponse) -> ocsp.OCSPSingleResponse:
    (one,) = response.responses
    return one


@pytest.mark.judge("openssl")
@pytest.mark.judge("cryptography")
def test_good_revoked_held_and_unknown(asking: Asking) -> None:
    good = only(asking.answer(asking.about(GOOD)))
    assert good.certificate_status is ocsp.OCSPCertStatus.GOOD
    revoked = only(asking.answer(asking.about(REVOKED)))
    assert revoked.revocation_time_utc == at(START - 5_000)
    assert revoked.revocation_reason is x509.ReasonFlags.key_compromise
    held = only(asking.answer(asking.about(HELD)))
    assert held.certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert held.revocation_reason is x509.ReasonFlags.certificate_hold
    assert only(asking.answer(asking.about(NEVER_ISSUED))).certificate_status is ocsp.OCSPCertStatus.UNKNOWN
    assert only(asking.answer(asking.about(WITHDRAWN))).certificate_status is ocsp.OCSPCertStatus.GOOD


@pytest.mark.judge("openssl")
def test_a_serial_of_any_length_that_was_never_issued_is_unknown(asking: Asking) -> None:
    for serial in (b"\x00", b"\x01", b"\xff", b"\x41" * 15, b"\x41" * 17, b"\x41" * 40):
        assert only(asking.answer(asking.about(serial))).certificate_status is ocsp.OCSPCertStatus.UNKNOWN


@pytest.mark.judge("openssl")
@pytest.mark.judge("cryptography")
def test_its_times_and_its_signer(asking: Asking, status: SyntheticStatus) -> None:
    response = asking.answer(asking.about(GOOD))
    assert response.produced_at_utc == at(START + LATER)
    assert only(response).this_update_utc == at(START)  # when it was known, not when it was asked
    assert only(response).next_update_utc == at(START + VALIDITY_SECONDS)
    assert response.responder_key_hash == status.responder.key_hash
    assert response.certificates == [status.responder.certificate]


def test_what_changed_since_the_last_sign_of_life_is_not_dated_after_this_update(
    status: SyntheticStatus, tmp_path: Path
) -> None:
    own = SyntheticStatus(tmp_path / "store", status.toy)
    own.build(written_at=START - 55)  # the hold is five seconds younger than that
    with StatusReader(own.directory) as reader:
        held = only(Asking(own, reader, tmp_path).answer(plain(HELD, own.issuer), later=0))
    assert held.this_update_utc == held.revocation_time_utc == at(START - 50)


@pytest.mark.judge("openssl")
@pytest.mark.judge("cryptography")
@pytest.mark.parametrize("octets", [1, 16, 23, 32, 128])
def test_a_nonce_comes_back(asking: Asking, octets: int) -> None:
    value = bytes(range(100, 100 + octets))
    response = asking.answer(request(single(asking.id(GOOD)), extensions=[nonce(value)]))
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == value


@pytest.mark.judge("openssl")
def test_the_judge_notices_another_nonce_and_another_signer(asking: Asking, status: SyntheticStatus) -> None:
    first, second = (request(single(asking.id(GOOD)), extensions=[nonce(value)]) for value in (b"1", b"2"))
    to_sign = asking.prepare(first)
    assert isinstance(to_sign, ToSign)
    response = to_sign.signed(sign(status.responder, to_sign.tbs))
    assert "Nonce Verify error" in asking.told(second, response)
    wrong = assemble_response(
        to_sign.tbs, to_sign.algorithm, sign(status.toy.ca, to_sign.tbs), [to_sign.responder.certificate]
    )
    assert "Response Verify Failure" in asking.told(first, wrong)


@pytest.mark.judge("openssl")
def test_a_nonce_of_the_old_form_comes_back_octet_for_octet(asking: Asking) -> None:
    octets = request(single(asking.id(GOOD)), extensions=[extension(NONCE, b"\x01" * 16)])
    to_sign = asking.prepare(octets)
    assert isinstance(to_sign, ToSign)
    assert extension(NONCE, b"\x01" * 16) in to_sign.tbs
    asking.answer(octets)


@pytest.mark.parametrize("octets", [0, 129])
def test_a_nonce_of_an_illegal_length_is_refused(asking: Asking, octets: int) -> None:
    bad = request(single(asking.id(GOOD)), extensions=[nonce(bytes(octets))])
    assert asking.prepare(bad) is ResponseStatus.MALFORMED_REQUEST


def test_a_nonce_is_left_out_where_the_settings_say_so(asking: Asking) -> None:
    octets = request(single(asking.id(NEVER_ISSUED)), extensions=[nonce(b"n" * 16)])
    to_sign = asking.prepare(octets, nonce="ignore")
    assert isinstance(to_sign, ToSign)
    assert b"n" * 16 not in to_sign.tbs


@pytest.mark.judge("openssl")
@pytest.mark.judge("cryptography")
def test_extended_revoke(asking: Asking) -> None:
    octets = request(single(asking.id(NEVER_ISSUED)), extensions=[nonce(b"n" * 16)])
    response = asking.answer(octets, extended_revoke=True)
    assert only(response).certificate_status is ocsp.OCSPCertStatus.REVOKED
    assert only(response).revocation_time_utc == at(0)
    assert only(response).revocation_reason is x509.ReasonFlags.certificate_hold
    found = response.extensions.get_extension_for_oid(EXTENDED_REVOKE)
    assert not found.critical
    assert isinstance(found.value, x509.UnrecognizedExtension)
    assert found.value.value == der.null()
    issued = asking.answer(asking.about(REVOKED), extended_revoke=True)
    assert EXTENDED_REVOKE not in [one.oid for one in issued.extensions]


@pytest.mark.judge("openssl")
@pytest.mark.judge("cryptography")
def test_several_certificates_under_several_hashes_are_answered_in_their_order(asking: Asking) -> None:
    asked = [
        asking.id(serial, hash_name, parameters=parameters)
        for serial, hash_name, parameters in zip(
            [GOOD, REVOKED, NEVER_ISSUED, OTHER_GOOD], HASH_NAMES, [True, False, True, False], strict=True
        )
    ]
    octets = request(*map(single, asked), extensions=[nonce(b"n" * 16)])
    answered = list(asking.answer(octets).responses)
    assert [one.hash_algorithm.name for one in answered] == list(HASH_NAMES)
    assert [one.certificate_status.name for one in answered] == ["GOOD", "REVOKED", "UNKNOWN", "GOOD"]
    to_sign = asking.prepare(octets)
    assert isinstance(to_sign, ToSign)
    assert all(one in to_sign.tbs for one in asked)  # each CertID as it came


@pytest.mark.judge("openssl")
@pytest.mark.judge("cryptography")
@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_a_preferred_algorithm_is_honoured(asking: Asking, hash_name: str) -> None:
    wanted = ALGORITHM_IDENTIFIERS[SignatureAlgorithm(f"rsa-pkcs1-{hash_name}")]
    impossible = ALGORITHM_IDENTIFIERS[SignatureAlgorithm.ECDSA_P256_SHA256]
    response = asking.answer(request(single(asking.id(GOOD)), extensions=[preferred(impossible, wanted)]))
    assert response.signature_hash_algorithm is not None
    assert response.signature_hash_algorithm.name == hash_name


def test_unknown_issuers_and_mixed_lists_are_unauthorized(asking: Asking) -> None:
    assert asking.prepare(plain(GOOD)) is ResponseStatus.UNAUTHORIZED
    mixed = request(single(asking.id(GOOD)), single(certificate_id(serial=GOOD)))
    assert asking.prepare(mixed) is ResponseStatus.UNAUTHORIZED


def test_expired_certificates_are_unauthorized(asking: Asking) -> None:
    assert asking.prepare(asking.about(EXPIRED)) is ResponseStatus.UNAUTHORIZED
    assert asking.prepare(asking.about(GOOD, EXPIRED)) is ResponseStatus.UNAUTHORIZED


@pytest.mark.judge("openssl")
@pytest.mark.judge("cryptography")
def test_with_an_archive_they_come_with_its_cutoff(asking: Asking) -> None:
    response = asking.answer(asking.about(EXPIRED), archive_cutoff_years=2)
    assert response.certificate_status is ocsp.OCSPCertStatus.GOOD
    found = response.single_extensions.get_extension_for_oid(ARCHIVE_CUTOFF)
    assert isinstance(found.value, x509.UnrecognizedExtension)
    cutoff = at(START + LATER - 2 * YEAR)
    assert found.value.value == der.element(der.GENERALIZED_TIME, f"{cutoff:%Y%m%d%H%M%SZ}".encode())
    assert not list(asking.answer(asking.about(GOOD), archive_cutoff_years=2).single_extensions)
    refused = asking.prepare(asking.about(LONG_EXPIRED), archive_cutoff_years=2)
    assert refused is ResponseStatus.UNAUTHORIZED


def test_a_store_that_is_not_kept_up_gives_no_answer(asking: Asking) -> None:
    assert asking.prepare(asking.about(GOOD), later=61) is ResponseStatus.TRY_LATER
    assert asking.prepare(plain(GOOD), later=61) is ResponseStatus.UNAUTHORIZED


def test_a_responder_whose_key_is_not_at_hand_gives_no_answer(asking: Asking) -> None:
    answers = LiveAnswers(asking.reader, [], configuration(), SetClock(NOW))
    assert answers.prepare(asking.about(GOOD)) is ResponseStatus.TRY_LATER
    assert answers.lacks_a_responder()


def test_a_wrong_signature_does_not_go_out(asking: Asking, status: SyntheticStatus) -> None:
    to_sign = asking.prepare(asking.about(GOOD))
    assert isinstance(to_sign, ToSign)
    with pytest.raises(SignatureInvalid):
        to_sign.signed(sign(status.toy.ca, to_sign.tbs))


def test_it_does_not_outlive_its_responder(asking: Asking) -> None:
    expiring = asking.status.issued_responder()
    end = NOW + timedelta(minutes=5)
    responder = Responder(type(expiring)(1, expiring.role, expiring.not_before, end))
    clock = SetClock(NOW)
    answers = LiveAnswers(asking.reader, [responder], configuration(stale_seconds=HOUR), clock)
    to_sign = answers.prepare(asking.about(GOOD))
    assert isinstance(to_sign, ToSign)
    assert f"{end:%Y%m%d%H%M%SZ}".encode() in to_sign.tbs
    clock.move(timedelta(minutes=5))
    assert answers.prepare(asking.about(GOOD)) is ResponseStatus.TRY_LATER
