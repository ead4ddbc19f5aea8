"""Answers out of the layout are those that are built piece by piece, and are read with the right status."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.algorithms import SignatureAlgorithm
from engine.status import answer_layout
from engine.status.answer_layout import AnswerLayout
from engine.status.card_record import NO_REASON, AnswerHead, CertificateStanding, serials_check
from engine.status.parties import layout_of
from engine.store.schema import CertificateState
from engine.x509.ocsp_response import (
    HASH_NAMES,
    IssuerNames,
    SingleStatus,
    archive_cutoff,
    assemble_response,
    cert_id,
    response_data,
    single_response,
)
from tests.judges.pkilint_judge import ocsp_findings
from tests.judges.toy_authority import ToyAuthority
from tests.status.answer_cases import RESPONDER, cards, heads

SETTINGS = settings(derandomize=True, max_examples=150, deadline=None, database=None)
TOY = ToyAuthority()
ALGORITHM = SignatureAlgorithm.RSA_PKCS1_SHA256
CERTIFICATE = TOY.responder.certificate.public_bytes(Encoding.DER)
ISSUER = IssuerNames.from_certificate(TOY.ca.certificate.public_bytes(Encoding.DER))
REASON_NAMES = {
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}
STATUS = {0: ocsp.OCSPCertStatus.GOOD, 1: ocsp.OCSPCertStatus.REVOKED, 2: ocsp.OCSPCertStatus.REVOKED}


@pytest.fixture(scope="module")
def layout() -> AnswerLayout:
    """One for all examples, as a process has it: what it remembers must not show."""
    return layout_of(ISSUER, CERTIFICATE, ALGORITHM)


def covered(certificates: tuple[CertificateStanding, ...], head: AnswerHead) -> list[CertificateStanding]:
    return [one for place, one in enumerate(certificates) if head.covered >> place & 1]


def asked_under(head: AnswerHead) -> list[str]:
    return [name for place, name in enumerate(HASH_NAMES) if head.hashes >> place & 1]


def built(certificates: tuple[CertificateStanding, ...], head: AnswerHead) -> bytes:
    """The tbsResponseData piece by piece: hash by hash, certificate by certificate."""
    singles = [
        single_response(
            cert_id(hash_name, ISSUER, one.serial),
            status_of(one),
            head.this_update,
            head.next_update,
            archive_cutoff(head.archive_cutoff)
            if head.archive_cutoff and one.not_after < head.produced_at
            else b"",
        )
        for hash_name in asked_under(head)
        for one in covered(certificates, head)
    ]
    return response_data(TOY.responder.key_hash, head.produced_at, singles)


def status_of(certificate: CertificateStanding) -> SingleStatus:
    if certificate.state == CertificateState.GOOD:
        return SingleStatus("good")
    reason = None if certificate.reason == NO_REASON else certificate.reason
    return SingleStatus("revoked", certificate.since, reason)


def assert_told(response: bytes, certificates: tuple[CertificateStanding, ...], head: AnswerHead) -> None:
    """Cryptography finds every covered certificate under every hash, with its status and times, and nothing else."""
    told = {
        (one.hash_algorithm.name, one.serial_number): (
            one.certificate_status,
            one.revocation_time_utc and int(one.revocation_time_utc.timestamp()),
            None if one.revocation_reason is None else one.revocation_reason,
            int(one.this_update_utc.timestamp()),
            one.next_update_utc and int(one.next_update_utc.timestamp()),
        )
        for one in ocsp.load_der_ocsp_response(response).responses
    }
    assert told == {
        (hash_name, int.from_bytes(one.serial, "big")): (
            STATUS[one.state],
            one.since if one.state else None,
            x509.ReasonFlags(REASON_NAMES[one.reason]) if one.state and one.reason != NO_REASON else None,
            head.this_update,
            head.next_update,
        )
        for hash_name in asked_under(head)
        for one in covered(certificates, head)
    }


@pytest.mark.judge("cryptography")
@SETTINGS
@given(st.data())
def test_an_answer_is_what_is_built_piece_by_piece(layout: AnswerLayout, data: st.DataObject) -> None:
    certificates = data.draw(cards())
    head = data.draw(heads(certificates))
    signature = data.draw(st.binary(min_size=64, max_size=512))
    tbs = built(certificates, head)
    assert layout.tbs(certificates, head) == tbs
    response = layout.response(certificates, head, signature)
    assert response == assemble_response(tbs, ALGORITHM, signature, [CERTIFICATE])
    assert_told(response, certificates, head)


@SETTINGS
@given(st.data())
def test_the_short_way_for_good_cards_gives_the_same(layout: AnswerLayout, data: st.DataObject) -> None:
    certificates = tuple(one._replace(state=0, since=0, reason=NO_REASON) for one in data.draw(cards()))
    head = data.draw(heads(certificates))._replace(covered=(1 << len(certificates)) - 1, archive_cutoff=0)
    signature = data.draw(st.binary(min_size=64, max_size=512))
    serials = tuple(one.serial for one in certificates)
    assert layout.tbs_all_good(serials, head) == built(certificates, head)
    assert layout.response_all_good(serials, tuple(head), signature) == layout.response(
        certificates, head, signature
    )


@pytest.mark.parametrize("algorithm", SignatureAlgorithm, ids=lambda algorithm: algorithm.value)
def test_signatures_of_every_algorithm_and_length(algorithm: SignatureAlgorithm) -> None:
    """Those of one batch have the same times and, with ECDSA, several lengths."""
    layout = layout_of(ISSUER, CERTIFICATE, algorithm)
    certificates, head = a_card(), a_head()
    serials = tuple(one.serial for one in certificates)
    for octets in (70, 71, 72, 71, 256, 384, 512, 70):
        signature = bytes((octets & 0xFF,)) * octets
        response = assemble_response(built(certificates, head), algorithm, signature, [CERTIFICATE])
        assert layout.response(certificates, head, signature) == response
        assert layout.response_all_good(serials, head, signature) == response


def a_card() -> tuple[CertificateStanding, ...]:
    return tuple(CertificateStanding(bytes((0x41, n)) * 8, 0, 0, NO_REASON, 2_000_000_000) for n in (1, 2))


def a_head(produced_at: int = 1_790_000_000, until: int = 1_790_172_800) -> AnswerHead:
    check = serials_check([one.serial for one in a_card()])
    return AnswerHead(0, check, RESPONDER, 0b11, 0b11, produced_at, produced_at, until, 0)


def test_an_answer_without_certificates_along() -> None:
    bare = AnswerLayout(ISSUER, TOY.responder.key_hash, ALGORITHM, [])
    expected = assemble_response(built(a_card(), a_head()), ALGORITHM, b"s" * 256, [])
    assert bare.response(a_card(), a_head(), b"s" * 256) == expected
    serials = tuple(one.serial for one in a_card())
    assert bare.response_all_good(serials, a_head(), b"s" * 256) == expected


def test_a_memory_that_overflows_changes_nothing(
    layout: AnswerLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_layout, "_TIMES_REMEMBERED", 3)
    monkeypatch.setattr(answer_layout, "_FRAMES_REMEMBERED", 3)
    serials = tuple(one.serial for one in a_card())
    for moment in range(1_700_000_000, 1_700_000_010):
        head = a_head(moment, moment + 1)
        assert layout.tbs_all_good(serials, head) == built(a_card(), head)
        assert layout.response_all_good(serials, head, b"s" * 256) == layout.response(
            a_card(), head, b"s" * 256
        )
        assert layout.tbs(a_card(), head._replace(covered=1)) == built(a_card(), head._replace(covered=1))


@pytest.mark.judge("pkilint")
@pytest.mark.parametrize("state", CertificateState, ids=lambda state: state.name)
@pytest.mark.parametrize("cutoff", [0, 1_700_000_000])
def test_pkilint_finds_nothing_in_a_signed_answer(
    layout: AnswerLayout, state: CertificateState, cutoff: int
) -> None:
    first, second = a_card()
    if state is not CertificateState.GOOD:
        first = first._replace(state=int(state), since=1_780_000_000, reason=6)
    certificates = (first, second._replace(not_after=1_780_000_000))
    head = a_head()._replace(archive_cutoff=cutoff)
    tbs = layout.tbs(certificates, head)
    signature = TOY.responder.key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    response = layout.response(certificates, head, signature)
    assert ocsp_findings(response) == []
    parsed = ocsp.load_der_ocsp_response(response)
    assert parsed.responder_key_hash == TOY.responder.key_hash
    TOY.responder.key.public_key().verify(
        parsed.signature, parsed.tbs_response_bytes, padding.PKCS1v15(), hashes.SHA256()
    )
    assert parsed.tbs_response_bytes == tbs
