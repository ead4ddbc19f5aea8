"""Requests we must read, and requests we must refuse; cryptography, asn1crypto and OpenSSL say what is in them."""

from __future__ import annotations

import subprocess
from importlib.resources import files
from pathlib import Path

import cryptography_vectors
import pytest
from asn1crypto import ocsp as asn1_ocsp
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.algorithms import SignatureAlgorithm
from engine.x509 import der
from engine.x509.algorithm_identifiers import ALGORITHM_IDENTIFIERS
from engine.x509.ocsp_response import HASH_NAMES
from responders.ocsp_request import (
    MAX_ASKED,
    MAX_REQUEST_OCTETS,
    MalformedRequest,
    Question,
    parse_request,
)
from tests.responders.ocsp_requests import (
    ACCEPTABLE_RESPONSES,
    ISSUER,
    NONCE,
    PREFERRED_ALGORITHMS,
    SERIAL,
    SERVICE_LOCATOR,
    certificate_id,
    extension,
    nonce,
    plain,
    preferred,
    request,
    single,
)

SETTINGS = settings(derandomize=True, max_examples=200, deadline=None, database=None)
VECTORS = Path(str(files(cryptography_vectors))) / "x509" / "ocsp"
REFUSED_VECTORS = {"req-duplicate-ext.der", "req-invalid-version.der"}
DUMMY_SIGNATURE = der.sequence(
    ALGORITHM_IDENTIFIERS[SignatureAlgorithm.RSA_PKCS1_SHA256], der.bit_string(b"any")
)


def read_by_cryptography(octets: bytes) -> Question | None:
    """What cryptography reads in a request, as far as it tells; None when it refuses."""
    try:
        theirs = ocsp.load_der_ocsp_request(octets)
        extensions = list(theirs.extensions)
    except (ValueError, NotImplementedError, x509.DuplicateExtension):
        return None
    nonces = [one.value.nonce for one in extensions if isinstance(one.value, x509.OCSPNonce)]
    ours = parse_request(octets)
    (asked,) = ours.asked
    assert asked.issuer_name_hash == theirs.issuer_name_hash
    assert asked.issuer_key_hash == theirs.issuer_key_hash
    assert int.from_bytes(asked.serial, "big", signed=True) == theirs.serial_number
    try:
        assert asked.hash_name == theirs.hash_algorithm.name
    except UnsupportedAlgorithm:
        assert asked.hash_name is None
    assert ([ours.nonce] if nonces else []) == nonces
    return ours


def refused(octets: bytes) -> str:
    with pytest.raises(MalformedRequest) as caught:
        parse_request(octets)
    return str(caught.value)


@pytest.mark.judge("cryptography")
@pytest.mark.parametrize("path", sorted(VECTORS.glob("*req*.der")), ids=lambda path: path.name)
def test_published_requests_are_read_as_cryptography_reads_them(path: Path) -> None:
    octets = path.read_bytes()
    if path.name in REFUSED_VECTORS:
        refused(octets)
    elif "multi" in path.name:  # which cryptography does not read
        theirs = asn1_ocsp.OCSPRequest.load(octets)["tbs_request"]["request_list"]
        ours = parse_request(octets).asked
        assert [one.encoding for one in ours] == [one["req_cert"].dump() for one in theirs]
    else:
        assert read_by_cryptography(octets) is not None


serials = st.integers(-(1 << 167), 1 << 167).map(lambda value: der.integer(value)[2:])
algorithms = st.sampled_from(list(SignatureAlgorithm)).map(ALGORITHM_IDENTIFIERS.__getitem__)
acceptable = extension(ACCEPTABLE_RESPONSES, der.sequence(der.object_identifier("1.3.6.1.5.5.7.48.1.1")))
request_extensions = st.fixed_dictionaries(
    {},
    optional={
        "nonce": st.builds(
            nonce, st.binary(min_size=1, max_size=128), critical=st.sampled_from([None, True])
        ),
        "acceptable": st.just(acceptable),
        "preferred": st.lists(algorithms, max_size=3).map(lambda several: preferred(*several)),
        "unknown": st.builds(
            extension, st.integers(1, 1 << 40).map("1.3.6.1.4.1.{}".format), st.binary(max_size=40)
        ),
    },
).map(lambda chosen: list(chosen.values()))
well_formed = st.builds(
    request,
    st.builds(
        certificate_id,
        st.just(ISSUER),
        serials,
        st.sampled_from(HASH_NAMES),
        parameters=st.booleans(),
    ).map(single),
    extensions=st.none() | request_extensions,
    requestor=st.sampled_from([b"", der.element(0x82, b"example.org"), der.context(4, der.sequence())]),
    signature=st.sampled_from([b"", DUMMY_SIGNATURE]),
)


@pytest.mark.judge("cryptography")
@SETTINGS
@given(well_formed)
def test_well_formed_requests_are_read_as_cryptography_reads_them(octets: bytes) -> None:
    assert read_by_cryptography(octets) is not None


@pytest.mark.judge("openssl")
def test_openssl_reads_the_same_in_a_request_with_everything(tmp_path: Path) -> None:
    octets = request(
        single(certificate_id(), [extension(SERVICE_LOCATOR, der.sequence())]),
        single(certificate_id(serial=b"\x00\x80", hash_name="sha512")),
        extensions=[nonce(b"n" * 32), extension("1.3.6.1.4.1.99999.1", b"")],
    )
    (tmp_path / "request").write_bytes(octets)
    command = ["openssl", "ocsp", "-reqin", str(tmp_path / "request"), "-req_text", "-noverify"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    said = said.replace("\\\n", "")  # where it breaks long lines
    question = parse_request(octets)
    assert [one.hash_name for one in question.asked] == ["sha1", "sha512"]
    for one in question.asked:
        assert one.issuer_key_hash.hex().upper() in said
        assert f"Serial Number: {one.serial.hex().upper().removeprefix('00')}" in said
    assert question.nonce is not None
    assert question.nonce.hex().upper() in said


def test_a_version_and_a_critical_that_spell_out_their_defaults_are_read() -> None:
    octets = request(
        single(certificate_id(), [extension(SERVICE_LOCATOR, b"", critical=False)]),
        extensions=[nonce(b"n", critical=False)],
        version=der.integer(0),
    )
    assert parse_request(octets) == parse_request(request(single(certificate_id()), extensions=[nonce(b"n")]))


def test_an_empty_list_of_extensions_is_none() -> None:
    assert parse_request(request(single(certificate_id()), extensions=[])) == parse_request(plain())


def test_what_is_asked_is_kept_as_it_came() -> None:
    asked = [
        certificate_id(hash_name=name, parameters=given) for name in HASH_NAMES for given in (True, False)
    ]
    question = parse_request(request(*map(single, asked)))
    assert [one.encoding for one in question.asked] == asked
    assert [one.hash_name for one in question.asked] == [name for name in HASH_NAMES for _ in range(2)]
    assert {one.serial for one in question.asked} == {SERIAL}


@pytest.mark.parametrize("octets", [1, 16, 23, 32, 127, 128])
def test_a_nonce_of_every_legal_length(octets: int) -> None:
    value = bytes(range(1, octets + 1))
    question = parse_request(request(single(certificate_id()), extensions=[nonce(value)]))
    assert (question.nonce, question.nonce_value) == (value, der.octet_string(value))


@pytest.mark.parametrize("octets", [0, 129, 4096])
def test_a_nonce_of_any_other_length_is_refused(octets: int) -> None:
    assert "RFC 9654" in refused(request(single(certificate_id()), extensions=[nonce(bytes(octets))]))


def test_a_nonce_that_is_no_octet_string_is_taken_as_it_is() -> None:
    value = bytes(range(16))
    question = parse_request(request(single(certificate_id()), extensions=[extension(NONCE, value)]))
    assert (question.nonce, question.nonce_value) == (value, value)
    refused(request(single(certificate_id()), extensions=[extension(NONCE, b"")]))
    refused(request(single(certificate_id()), extensions=[extension(NONCE, bytes(129))]))


def test_preferred_algorithms_come_in_the_client_s_order_without_the_unknown() -> None:
    wanted = [SignatureAlgorithm.RSA_PKCS1_SHA512, SignatureAlgorithm.ECDSA_P256_SHA256]
    unknown = der.sequence(der.object_identifier("1.2.840.113549.1.1.5"), der.null())
    bare = der.sequence(der.object_identifier("1.2.840.113549.1.1.11"))
    listed = [unknown, *(ALGORITHM_IDENTIFIERS[one] for one in wanted), bare]
    question = parse_request(request(single(certificate_id()), extensions=[preferred(*listed)]))
    assert question.preferred == (*wanted, SignatureAlgorithm.RSA_PKCS1_SHA256)


def test_a_preferred_algorithm_may_come_with_one_for_certificates() -> None:
    one = ALGORITHM_IDENTIFIERS[SignatureAlgorithm.RSA_PKCS1_SHA384]
    value = der.sequence(der.sequence(one, one))
    octets = request(single(certificate_id()), extensions=[extension(PREFERRED_ALGORITHMS, value)])
    assert parse_request(octets).preferred == (SignatureAlgorithm.RSA_PKCS1_SHA384,)


def test_whether_it_is_signed_is_told() -> None:
    assert not parse_request(plain()).is_signed
    with_chain = der.sequence(DUMMY_SIGNATURE[2:], der.context(0, der.sequence(der.sequence())))
    for signature in (DUMMY_SIGNATURE, with_chain):
        assert parse_request(request(single(certificate_id()), signature=signature)).is_signed


def test_the_number_of_certificates_is_bounded() -> None:
    many = [single(certificate_id(serial=bytes((0x40, number)))) for number in range(MAX_ASKED + 1)]
    assert len(parse_request(request(*many[:MAX_ASKED])).asked) == MAX_ASKED
    refused(request(*many))
    refused(request())
    refused(plain() + bytes(MAX_REQUEST_OCTETS))


MALFORMED = {
    "nothing": b"",
    "no DER": b"GET / HTTP/1.1",
    "octets left over": plain() + b"\x00",
    "one octet too few": plain()[:-1],
    "another version": request(single(certificate_id()), version=der.integer(1)),
    "a version in too many octets": request(single(certificate_id()), version=b"\x02\x02\x00\x00"),
    "an indefinite length": b"\x30\x80" + plain()[2:] + b"\x00\x00",
    "a length in too many octets": b"\x30\x81" + plain()[1:],
    "an empty serial": request(single(certificate_id(serial=b""))),
    "a serial in too many octets": request(single(certificate_id(serial=b"\x00\x7f"))),
    "a negative serial in too many octets": request(single(certificate_id(serial=b"\xff\x80"))),
    "something after the serial": request(single(der.sequence(certificate_id()[2:], der.null()))),
    "parameters of SHA-1 that are no NULL": request(
        single(
            der.sequence(
                der.sequence(der.object_identifier("1.3.14.3.2.26"), der.integer(1)),
                der.octet_string(bytes(20)),
                der.octet_string(bytes(20)),
                der.integer(1),
            )
        )
    ),
    "a critical extension nobody knows": request(
        single(certificate_id()), extensions=[extension("1.3.6.1.4.1.99999.1", b"", critical=True)]
    ),
    "a critical extension of a single request": request(
        single(certificate_id(), [extension(SERVICE_LOCATOR, der.sequence(), critical=True)])
    ),
    "a BOOLEAN that is neither": request(
        single(certificate_id()),
        extensions=[
            der.sequence(der.object_identifier(NONCE), b"\x01\x01\x01", der.octet_string(b"\x04\x01n"))
        ],
    ),
    "an extension twice": request(single(certificate_id()), extensions=[nonce(b"1"), nonce(b"2")]),
    "an object identifier that does not end": request(
        single(certificate_id()), extensions=[der.sequence(b"\x06\x01\x80", der.octet_string(b""))]
    ),
    "an object identifier with a needless octet": request(
        single(certificate_id()), extensions=[der.sequence(b"\x06\x03\x2a\x80\x01", der.octet_string(b""))]
    ),
    "a requestorName that is no name": request(single(certificate_id()), requestor=der.integer(1)),
    "preferred algorithms that are none": request(
        single(certificate_id()), extensions=[extension(PREFERRED_ALGORITHMS, b"\x05\x00")]
    ),
    "a signature without a signature value": request(
        single(certificate_id()), signature=der.sequence(der.sequence())
    ),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_requests_are_refused(fault: str) -> None:
    refused(MALFORMED[fault])


NOT_LOOKED_AT_BY_CRYPTOGRAPHY = ("critical", "preferred", "signature")


@pytest.mark.judge("cryptography")
@pytest.mark.parametrize(
    "fault",
    [fault for fault in MALFORMED if not any(word in fault for word in NOT_LOOKED_AT_BY_CRYPTOGRAPHY)],
)
def test_what_is_refused_cryptography_refuses_too(fault: str) -> None:
    assert read_by_cryptography(MALFORMED[fault]) is None
