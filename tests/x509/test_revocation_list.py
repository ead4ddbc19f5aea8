"""Certificate lists, put together from their pieces and read by cryptography, OpenSSL, asn1crypto and pkilint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from asn1crypto import crl as asn1_crl
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.algorithms import SignatureAlgorithm
from engine.errors import SignatureInvalid
from engine.x509.certificate import verifier
from engine.x509.der_reader import NotDer
from engine.x509.issuer import Issuer
from engine.x509.revocation_list import (
    Entry,
    encode_entries,
    frame_list,
    frame_signed,
    read_update_times,
)
from engine.x509.revocation_list_extensions import ListExtensions
from tests.judges.pkilint_judge import crl_findings
from tests.judges.program import tell
from tests.x509.specimens import CA_NAME

PKCS1 = SignatureAlgorithm.RSA_PKCS1_SHA256
THIS_UPDATE = datetime(2026, 3, 2, 18, 30, tzinfo=UTC)
NEXT_UPDATE = THIS_UPDATE + timedelta(hours=48)
KEY_IDENTIFIER = bytes(range(20))
NUMBER = 2026030200
PARTITION = "http://crl.example/repository/CRL_0001.crl"
DELTA = "http://crl.example/repository/CRL_0001-delta.crl"
PLAIN = ListExtensions(KEY_IDENTIFIER, NUMBER)
REASONS = {
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
UNSPECIFIED = 0

seconds = st.integers(0, int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()))
serials = st.binary(min_size=15, max_size=15).map(lambda rest: b"\x41" + rest)
entries = st.tuples(serials, seconds, st.sampled_from([UNSPECIFIED, *REASONS]), st.one_of(st.none(), seconds))


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def key_of(algorithm: SignatureAlgorithm) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    if algorithm.is_rsa:
        return rsa_key()
    return ec.generate_private_key(ec.SECP256R1() if "p256" in algorithm.value else ec.SECP384R1())


def sign(algorithm: SignatureAlgorithm, digest: bytes) -> bytes:
    """In the token's place."""
    hash_algorithm = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}[
        algorithm.hash_name
    ]
    key = key_of(algorithm)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(digest, ec.ECDSA(Prehashed(hash_algorithm)))
    pss = padding.PSS(padding.MGF1(hash_algorithm), hash_algorithm.digest_size)
    scheme = padding.PKCS1v15() if algorithm.is_deterministic else pss
    return key.sign(digest, scheme, Prehashed(hash_algorithm))


def make_list(
    listed: Sequence[Entry] = (),
    extensions: ListExtensions = PLAIN,
    *,
    algorithm: SignatureAlgorithm = PKCS1,
    this_update: datetime = THIS_UPDATE,
    next_update: datetime = NEXT_UPDATE,
) -> bytes:
    """A whole CertificateList, signed by its digest."""
    issuer = Issuer(CA_NAME.public_bytes(), KEY_IDENTIFIER, NEXT_UPDATE, algorithm)
    encoded = encode_entries(listed)
    updates = int(this_update.timestamp()), int(next_update.timestamp())
    frame = frame_list(issuer, *updates, extensions, len(encoded))
    tbs = frame.before + encoded + frame.after
    assert frame.octets + len(encoded) == len(tbs)
    signature = sign(algorithm, hashlib.new(algorithm.hash_name, tbs).digest())
    around = frame_signed(len(tbs), algorithm, signature)
    return around.before + tbs + around.after


def entry(reason: int = 1, *, since: datetime = THIS_UPDATE, invalidity: datetime | None = None) -> Entry:
    serial = b"\x41" + hashlib.sha256(f"{reason} {since} {invalidity}".encode()).digest()[:15]
    return (
        serial,
        int(since.timestamp()),
        reason,
        None if invalidity is None else int(invalidity.timestamp()),
    )


def moment(second: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)


@given(st.lists(entries, min_size=1, max_size=30))
@settings(deadline=None)
def test_cryptography_reads_every_entry(listed: list[Entry]) -> None:
    parsed = list(x509.load_der_x509_crl(make_list(listed)))
    assert len(parsed) == len(listed)
    for found, (serial, since, reason, invalidity) in zip(parsed, listed, strict=True):
        assert found.serial_number == int.from_bytes(serial, "big")
        assert found.revocation_date_utc == moment(since)
        values = {type(extension.value): extension.value for extension in found.extensions}
        expected: dict[type[x509.ExtensionType], x509.ExtensionType] = {}
        if reason != UNSPECIFIED:  # RFC 5280 section 5.3.1: no reasonCode then
            expected[x509.CRLReason] = x509.CRLReason(REASONS[reason])
        if invalidity is not None:
            expected[x509.InvalidityDate] = x509.InvalidityDate(moment(invalidity).replace(tzinfo=None))
        assert values == expected
        assert not any(extension.critical for extension in found.extensions)


@given(st.integers(1, 2**159 - 1), st.integers(0, 2**100), st.integers(0, 2**100))
def test_serials_and_numbers_of_any_length(serial: int, number: int, base: int) -> None:
    octets = serial.to_bytes(serial.bit_length() // 8 + 1, "big")  # content octets of the INTEGER
    extensions = ListExtensions(KEY_IDENTIFIER, number, base)
    parsed = x509.load_der_x509_crl(make_list([(octets, 0, 1, None)], extensions))
    assert [found.serial_number for found in parsed] == [serial]
    assert parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == number
    assert parsed.extensions.get_extension_for_class(x509.DeltaCRLIndicator).value.crl_number == base


@pytest.mark.judge("cryptography")
@pytest.mark.cps("7.2")
def test_head_and_extensions_of_a_partition_crl() -> None:
    extensions = ListExtensions(KEY_IDENTIFIER, NUMBER, None, PARTITION, DELTA, 1_700_000_000)
    parsed = x509.load_der_x509_crl(make_list([entry()], extensions))
    assert parsed.issuer == CA_NAME
    assert parsed.issuer.public_bytes() == CA_NAME.public_bytes()
    assert (parsed.last_update_utc, parsed.next_update_utc) == (THIS_UPDATE, NEXT_UPDATE)
    found = {one.oid.dotted_string: (one.critical, one.value) for one in parsed.extensions}
    point = [x509.UniformResourceIdentifier(PARTITION)]
    freshest = x509.DistributionPoint([x509.UniformResourceIdentifier(DELTA)], None, None, None)
    expired_since = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.60"), b"\x18\x0f20231114221320Z")
    assert found == {
        "2.5.29.35": (False, x509.AuthorityKeyIdentifier(KEY_IDENTIFIER, None, None)),
        "2.5.29.20": (False, x509.CRLNumber(NUMBER)),
        "2.5.29.28": (
            True,
            x509.IssuingDistributionPoint(point, None, False, False, None, False, False),
        ),
        "2.5.29.46": (False, x509.FreshestCRL([freshest])),
        "2.5.29.60": (False, expired_since),
    }


def test_a_delta_says_so_critically() -> None:
    parsed = x509.load_der_x509_crl(make_list([entry(8)], ListExtensions(KEY_IDENTIFIER, NUMBER, NUMBER - 1)))
    extension = parsed.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert extension.critical
    assert extension.value == x509.DeltaCRLIndicator(NUMBER - 1)


@pytest.mark.judge("asn1crypto")
def test_without_entries_there_is_no_field_for_them() -> None:
    """RFC 5280 section 5.1.2.6: revokedCertificates MUST be absent."""
    parsed = asn1_crl.CertificateList.load(make_list([]), strict=True)["tbs_cert_list"]
    assert parsed["version"].native == "v2"
    assert parsed["revoked_certificates"].native is None
    assert len(parsed["revoked_certificates"].dump()) == 0


@pytest.mark.parametrize(
    ("moment", "form"),
    [
        (datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), b"\x17\x0d491231235959Z"),
        (datetime(2050, 1, 1, tzinfo=UTC), b"\x18\x0f20500101000000Z"),
    ],
)
def test_the_form_of_times_changes_in_2050(moment: datetime, form: bytes) -> None:
    """RFC 5280 sections 5.1.2.4 to 5.1.2.6."""
    assert form in encode_entries([entry(since=moment)])
    made = make_list(this_update=moment, next_update=moment)
    assert made.count(form) == 2
    assert read_update_times(made, len(made)) == (int(moment.timestamp()),) * 2


@pytest.mark.judge("cryptography")
@pytest.mark.parametrize("algorithm", list(SignatureAlgorithm))
def test_signatures_over_digests_verify(algorithm: SignatureAlgorithm) -> None:
    made = make_list([entry()], algorithm=algorithm)
    parsed = x509.load_der_x509_crl(made)
    assert parsed.is_signature_valid(key_of(algorithm).public_key())
    public = key_of(algorithm).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.new(algorithm.hash_name, parsed.tbs_certlist_bytes).digest()
    verify = verifier(public, algorithm, of_digests=True)
    verify(digest, parsed.signature)
    with pytest.raises(SignatureInvalid):
        verify(bytes([digest[0] ^ 1]) + digest[1:], parsed.signature)


LINTED = {
    "empty": make_list([]),
    "complete": make_list([entry(reason) for reason in (0, 1, 5, 6)]),
    "partition": make_list(
        [entry(6), entry(1, invalidity=THIS_UPDATE - timedelta(days=9))],
        ListExtensions(KEY_IDENTIFIER, NUMBER, None, PARTITION, DELTA),
    ),
    "delta": make_list([entry(8), entry(4)], ListExtensions(KEY_IDENTIFIER, NUMBER, NUMBER - 3, PARTITION)),
    "expired stay": make_list([entry()], ListExtensions(KEY_IDENTIFIER, NUMBER, expired_since=1_700_000_000)),
}


@pytest.mark.judge("pkilint")
@pytest.mark.cps("7.2")
@pytest.mark.parametrize("name", LINTED)
def test_pkilint_finds_nothing(name: str) -> None:
    assert crl_findings(LINTED[name]) == []


@pytest.mark.judge("openssl")
def test_openssl_reads_what_cryptography_reads(tmp_path: Path) -> None:
    file = tmp_path / "partition.crl"
    file.write_bytes(LINTED["partition"])
    told = tell("openssl", "crl", "-inform", "DER", "-in", file, "-noout", "-text")
    assert told.code == 0
    for expected in (
        "Version 2 (0x1)",
        "Last Update: Mar  2 18:30:00 2026 GMT",
        f"X509v3 CRL Number: \n                {NUMBER}",
        f"X509v3 Issuing Distribution Point: critical\n                Full Name:\n                  URI:{PARTITION}",
        "X509v3 Freshest CRL",
        "Certificate Hold",
        "Invalidity Date: \n                Feb 21 18:30:00 2026 GMT",
    ):
        assert expected in told.text


@given(seconds, st.integers(1, 10**9))
def test_update_times_are_read_from_the_beginning(this_update: int, life: int) -> None:
    made = make_list([entry()] * 100, this_update=moment(this_update), next_update=moment(this_update + life))
    assert read_update_times(made[:300], len(made)) == (this_update, this_update + life)


@given(st.one_of(st.binary(max_size=300), st.integers(0, 250).map(lambda cut: LINTED["complete"][:cut])))
def test_what_is_no_certificate_list_is_refused(octets: bytes) -> None:
    with pytest.raises(NotDer):
        read_update_times(octets, len(octets))


@given(st.integers(0, 160), st.integers(0, 7))
def test_a_turned_bit_is_refused_or_read(place: int, bit: int) -> None:
    made = bytearray(LINTED["complete"])
    made[place] ^= 1 << bit
    try:
        this_update, next_update = read_update_times(bytes(made), len(made))
    except NotDer:
        return
    assert isinstance(this_update, int)
    assert isinstance(next_update, int)
