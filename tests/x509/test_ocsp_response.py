"""OCSP responses in DER, held against what cryptography builds, and read by cryptography, asn1crypto and pkilint."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.algorithms import SignatureAlgorithm
from engine.errors import ConfigurationInvalid
from engine.x509.ocsp_response import (
    HASH_NAMES,
    IssuerNames,
    ResponseStatus,
    SingleStatus,
    archive_cutoff,
    assemble_response,
    cert_id,
    error_response,
    extension,
    hash_algorithm,
    key_octets,
    response_data,
    single_response,
)
from tests.judges.pkilint_judge import ocsp_findings
from tests.judges.toy_authority import Holder, ToyAuthority

SETTINGS = settings(derandomize=True, max_examples=100, deadline=None, database=None)
TOY = ToyAuthority()
SERIAL = bytes.fromhex("41aabbccddeeff001122334455667788")
NONCE = "1.3.6.1.5.5.7.48.1.2"
HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
STATES = {
    "good": ocsp.OCSPCertStatus.GOOD,
    "revoked": ocsp.OCSPCertStatus.REVOKED,
    "unknown": ocsp.OCSPCertStatus.UNKNOWN,
}
REASONS = {
    0: x509.ReasonFlags.unspecified,
    1: x509.ReasonFlags.key_compromise,
    2: x509.ReasonFlags.ca_compromise,
    3: x509.ReasonFlags.affiliation_changed,
    4: x509.ReasonFlags.superseded,
    5: x509.ReasonFlags.cessation_of_operation,
    6: x509.ReasonFlags.certificate_hold,
    8: x509.ReasonFlags.remove_from_crl,
    9: x509.ReasonFlags.privilege_withdrawn,
    10: x509.ReasonFlags.aa_compromise,
}
"""CRLReason (RFC 5280 section 5.3.1) as cryptography names them."""

MOMENTS = st.integers(0, 4_291_747_199)
"""1970 to the end of 2105."""

SERIALS = st.one_of(st.just(SERIAL), st.integers(1, (1 << 127) - 1).map(lambda n: content_of_integer(n)))
STATUSES = st.one_of(
    st.sampled_from([SingleStatus("good"), SingleStatus("unknown")]),
    st.builds(
        SingleStatus, st.just("revoked"), MOMENTS, st.one_of(st.none(), st.sampled_from(list(REASONS)))
    ),
)


def content_of_integer(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def der_of(holder: Holder) -> bytes:
    return holder.certificate.public_bytes(Encoding.DER)


def spki_of(holder: Holder) -> bytes:
    return holder.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def issuer() -> IssuerNames:
    return IssuerNames.from_certificate(der_of(TOY.ca))


def responder_key_hash() -> bytes:
    return hashlib.sha1(key_octets(spki_of(TOY.responder)), usedforsecurity=False).digest()


def signed(tbs: bytes, *, certificates: list[bytes] | None = None) -> bytes:
    """The response around a tbsResponseData, signed by the toy responder."""
    signature = TOY.responder.key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    along = [der_of(TOY.responder)] if certificates is None else certificates
    return assemble_response(tbs, SignatureAlgorithm.RSA_PKCS1_SHA256, signature, along)


def answer(status: SingleStatus, hash_name: str = "sha1", **more: Any) -> bytes:
    """A whole response about one certificate."""
    at = int(datetime.now(UTC).timestamp())
    single = single_response(cert_id(hash_name, issuer(), SERIAL), status, at, at + 3600, **more)
    return signed(response_data(responder_key_hash(), at, [single]))


@pytest.mark.judge("cryptography")
@SETTINGS
@given(
    st.sampled_from(HASH_NAMES),
    SERIALS,
    STATUSES,
    MOMENTS,
    st.one_of(st.none(), st.integers(0, 400 * 24 * 3600)),
    st.one_of(st.none(), st.binary(min_size=1, max_size=128)),
    st.booleans(),
)
def test_the_same_octets_as_cryptography(
    hash_name: str,
    serial: bytes,
    status: SingleStatus,
    this_update: int,
    validity: int | None,
    nonce: bytes | None,
    embeds: bool,
) -> None:
    next_update = None if validity is None else this_update + validity
    name_hash, key_hash = issuer().hashes(hash_name)
    builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
        issuer_name_hash=name_hash,
        issuer_key_hash=key_hash,
        serial_number=int.from_bytes(serial, "big"),
        algorithm=HASHES[hash_name],
        cert_status=STATES[status.state],
        this_update=moment(this_update),
        next_update=None if next_update is None else moment(next_update),
        revocation_time=None if status.since is None else moment(status.since),
        revocation_reason=None if status.reason is None else REASONS[status.reason],
    )
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, TOY.responder.certificate)
    if embeds:
        builder = builder.certificates([TOY.responder.certificate, TOY.ca.certificate])
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    theirs = builder.sign(TOY.responder.key, hashes.SHA256())

    single = single_response(cert_id(hash_name, issuer(), serial), status, this_update, next_update)
    echo = b"" if nonce is None else extension(NONCE, b"\x04" + _length(len(nonce)) + nonce)
    produced_at = int(theirs.produced_at_utc.timestamp())
    tbs = response_data(responder_key_hash(), produced_at, [single], echo)
    along = [der_of(TOY.responder), der_of(TOY.ca)] if embeds else []
    assert tbs == theirs.tbs_response_bytes
    assert signed(tbs, certificates=along) == theirs.public_bytes(Encoding.DER)


def _length(count: int) -> bytes:
    return bytes((count,)) if count < 128 else bytes((0x81, count))


@pytest.mark.judge("cryptography")
@SETTINGS
@given(
    st.lists(
        st.tuples(st.sampled_from(HASH_NAMES), SERIALS, STATUSES, MOMENTS, st.one_of(st.none(), MOMENTS)),
        min_size=1,
        max_size=8,
    ),
    MOMENTS,
)
def test_several_certificates_as_cryptography_and_asn1crypto_read_them(
    answers: list[tuple[str, bytes, SingleStatus, int, int | None]], produced_at: int
) -> None:
    singles = [
        single_response(cert_id(hash_name, issuer(), serial), status, this_update, next_update)
        for hash_name, serial, status, this_update, next_update in answers
    ]
    response = signed(response_data(responder_key_hash(), produced_at, singles))
    parsed = ocsp.load_der_ocsp_response(response)
    assert parsed.produced_at_utc == moment(produced_at)
    read = list(parsed.responses)
    assert [
        (
            one.hash_algorithm.name,
            one.serial_number,
            one.certificate_status,
            one.revocation_time_utc,
            one.revocation_reason,
            one.this_update_utc,
            one.next_update_utc,
        )
        for one in read
    ] == [
        (
            hash_name,
            int.from_bytes(serial, "big"),
            STATES[status.state],
            None if status.since is None else moment(status.since),
            None if status.reason is None else REASONS[status.reason],
            moment(this_update),
            None if next_update is None else moment(next_update),
        )
        for hash_name, serial, status, this_update, next_update in answers
    ]
    assert [(one.issuer_name_hash, one.issuer_key_hash) for one in read] == [
        issuer().hashes(hash_name) for hash_name, *_ in answers
    ]
    basic = asn1_ocsp.OCSPResponse.load(response, strict=True).basic_ocsp_response
    assert [one["cert_status"].name for one in basic["tbs_response_data"]["responses"]] == [
        status.state for _, _, status, *_ in answers
    ]
    assert basic.dump(force=True) in response


@pytest.mark.judge("asn1crypto")
def test_archive_cutoff_and_extensions_of_the_response() -> None:
    cutoff, at = 1_000_000_000, 1_790_000_000
    single = single_response(
        cert_id("sha256", issuer(), SERIAL), SingleStatus("good"), at, None, archive_cutoff(cutoff)
    )
    tbs = response_data(responder_key_hash(), at, [single], extension(NONCE, b"\x04\x02hi"))
    data = asn1_ocsp.OCSPResponse.load(signed(tbs), strict=True).response_data
    (one,) = data["responses"]
    assert [
        (e["extn_id"].native, e["critical"].native, e["extn_value"].native) for e in one["single_extensions"]
    ] == [("archive_cutoff", False, moment(cutoff))]
    assert [e["extn_id"].native for e in data["response_extensions"]] == ["nonce"]
    assert one["next_update"].native is None
    assert data["responder_id"].name == "by_key"


@pytest.mark.judge("pkilint")
@pytest.mark.parametrize("hash_name", HASH_NAMES)
@pytest.mark.parametrize(
    "status",
    [
        SingleStatus("good"),
        SingleStatus("unknown"),
        SingleStatus("revoked", 1_790_000_000),
        *(SingleStatus("revoked", 1_790_000_000, reason) for reason in (1, 3, 4, 5, 6, 9)),
    ],
    ids=lambda status: f"{status.state}-{status.reason}",
)
def test_pkilint_finds_nothing(status: SingleStatus, hash_name: str) -> None:
    assert ocsp_findings(answer(status, hash_name)) == []
    assert ocsp_findings(answer(status, hash_name, extensions=archive_cutoff(1_700_000_000))) == []


@pytest.mark.judge("pkilint")
def test_pkilint_would_find_something() -> None:
    good = answer(SingleStatus("good"))
    assert (
        ocsp_findings(good.replace(b"\x80\x00\x18", b"\x83\x00\x18")) != []
    )  # a CertStatus that there is not


@pytest.mark.judge("cryptography")
@pytest.mark.parametrize("status", [one for one in ResponseStatus if one], ids=lambda one: one.name)
def test_error_responses(status: ResponseStatus) -> None:
    theirs = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus[status.name])
    assert error_response(status) == theirs.public_bytes(Encoding.DER)


@pytest.mark.judge("cryptography")
@pytest.mark.parametrize("hash_name", HASH_NAMES)
def test_the_issuer_is_named_as_a_client_names_it(hash_name: str) -> None:
    request = ocsp.OCSPRequestBuilder().add_certificate(
        TOY.responder.certificate, TOY.ca.certificate, HASHES[hash_name]
    )
    asked = request.build()
    assert issuer().hashes(hash_name) == (asked.issuer_name_hash, asked.issuer_key_hash)
    serial = content_of_integer(TOY.responder.certificate.serial_number)
    assert cert_id(hash_name, issuer(), serial) in asked.public_bytes(Encoding.DER)
    assert hash_algorithm(hash_name) in asked.public_bytes(Encoding.DER)


def test_the_key_of_a_responder_is_what_cryptography_hashes() -> None:
    assert responder_key_hash() == TOY.responder.key_hash
    assert issuer().key == key_octets(spki_of(TOY.ca))
    assert issuer().name == TOY.ca.certificate.subject.public_bytes()


def test_two_ca_keys_of_one_name_are_told_apart() -> None:
    impostor = IssuerNames.from_certificate(der_of(TOY.impostor))
    assert impostor.name == issuer().name
    assert impostor.hashes("sha1")[1] != issuer().hashes("sha1")[1]


@pytest.mark.parametrize("octets", [b"", b"\x30\x00", b"no certificate"])
def test_what_is_no_certificate_names_no_issuer(octets: bytes) -> None:
    with pytest.raises(ConfigurationInvalid, match="no certificate"):
        IssuerNames.from_certificate(octets)


def test_a_revoked_certificate_needs_its_time() -> None:
    with pytest.raises(ValueError, match="needs its time"):
        single_response(cert_id("sha1", issuer(), SERIAL), SingleStatus("revoked"), 0, None)


def test_times_are_whole_seconds_in_zulu() -> None:
    last = int(datetime(2031, 11, 22, 15, 59, 59, tzinfo=UTC).timestamp())
    single = single_response(cert_id("sha1", issuer(), SERIAL), SingleStatus("good"), last, last + 1)
    assert single.endswith(b"\x18\x0f20311122155959Z\xa0\x11\x18\x0f20311122160000Z")
