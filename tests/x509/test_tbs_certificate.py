"""Every profile's specimen against pyca's CertificateBuilder, pkilint and OpenSSL; random subjects likewise."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.algorithms import SignatureAlgorithm
from engine.errors import ConfigurationInvalid, InputRejected
from engine.kinds import Carrier, Kind, Rank, Usage
from engine.x509.certificate import assemble
from engine.x509.issuer import Issuer
from engine.x509.names import SubjectFields, check_subject, subject_der
from engine.x509.profiles import CertificateProfile
from engine.x509.tbs_certificate import compile_template
from engine.x509.tbs_check import compile_check
from engine.x509.validity import Validity
from tests.x509.pkix_lint import findings
from tests.x509.specimens import (
    CASES,
    COMPANY_PRIMARY,
    PARTITION,
    PROFILES,
    SERIAL,
    SPECIMENS,
    VALIDITY,
    Specimen,
    by_certificate_builder,
    case_name,
    issuer,
    sign,
    subject_spki,
)


def build(fields: SubjectFields, profile: CertificateProfile, email: str | None = None) -> bytes:
    """Build and check a tbsCertificate as a worker does."""
    check_subject(profile, replace(fields, email=email))
    subject = subject_der(profile, fields)
    uris = PROFILES.crl_uris(PARTITION)
    number = fields.uniform_number if profile.has_uniform_number else None
    tbs = compile_template(profile, issuer(), VALIDITY, uris).build(
        SERIAL, subject, subject_spki(), number, email
    )
    return compile_check(profile, issuer(), VALIDITY, uris).check(
        tbs, serial=SERIAL, subject=subject, public_key=subject_spki(), uniform_number=number, email=email
    )


def certificate(tbs: bytes) -> bytes:
    return assemble(tbs, SignatureAlgorithm.RSA_PKCS1_SHA256, sign(tbs))


@pytest.mark.cps("1.1")
@pytest.mark.cps("1.2")
@pytest.mark.cps("1.3.5.1")
@pytest.mark.cps("3.1.1")
@pytest.mark.cps("3.1.4")
@pytest.mark.cps("6.1.6")
@pytest.mark.cps("6.1.9")
@pytest.mark.cps("7.1")
@pytest.mark.cps("7.1.3")
@pytest.mark.cps("7.1.6")
@pytest.mark.judge("cryptography")
@pytest.mark.parametrize(("specimen", "profile"), CASES, ids=case_name)
def test_every_specimen_is_octet_for_octet_what_certificate_builder_makes(
    specimen: Specimen, profile: CertificateProfile
) -> None:
    assert build(specimen.fields, profile) == by_certificate_builder(specimen, profile).tbs_certificate_bytes


@pytest.mark.cps("3.1.11")
@pytest.mark.judge("cryptography")
@pytest.mark.judge("pkilint")
def test_an_email_address_becomes_the_subject_alternative_name_and_nothing_else_changes() -> None:
    specimen, email = SPECIMENS[0], "ca+cert@example.com.tw"
    tbs = build(specimen.fields, COMPANY_PRIMARY, email)
    assert tbs == by_certificate_builder(specimen, COMPANY_PRIMARY, email).tbs_certificate_bytes
    assert findings(certificate(tbs)) == []


@pytest.mark.cps("7.1")
@pytest.mark.judge("pkilint")
@pytest.mark.parametrize(("specimen", "profile"), CASES, ids=case_name)
def test_pkilint_finds_nothing_in_any_specimen(specimen: Specimen, profile: CertificateProfile) -> None:
    assert findings(certificate(build(specimen.fields, profile))) == []


@pytest.mark.judge("openssl")
def test_openssl_reads_a_specimen(tmp_path: Path) -> None:
    file = tmp_path / "specimen.der"
    file.write_bytes(certificate(build(SPECIMENS[0].fields, COMPANY_PRIMARY)))
    openssl = [
        "openssl",
        "x509",
        "-inform",
        "DER",
        "-in",
        str(file),
        "-noout",
        "-text",
        "-nameopt",
        "utf8,sep_comma_plus",
    ]
    text = subprocess.run(openssl, check=True, capture_output=True, text=True).stdout
    assert "Issuer: C=TW,O=行政院,OU=工商憑證管理中心" in text
    assert "Subject: C=TW,O=測試股份有限公司,serialNumber=20261123000042" in text
    assert "X509v3 Key Usage: critical\n                Digital Signature\n" in text
    assert "Policy: 2.16.886.101.0.3.3\n" in text
    assert "Not After : Nov 22 15:59:59 2031 GMT" in text
    parsed = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER", "-in", str(file)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert parsed.startswith("    0:d=0  hl=4 l=")


@pytest.mark.cps("1.3.7.1")
def test_directory_attributes_are_those_of_a_real_certificate() -> None:
    """From the certificate of the company 70759028, primary card."""
    real = bytes.fromhex(
        "30463017060760867601640201310C060A608676016403020201013014060760867601640202310913077072696D61727930"
        "15060760867601640265310A0C083730373539303238"
    )
    loaded = x509.load_der_x509_certificate(certificate(build(SPECIMENS[0].fields, COMPANY_PRIMARY)))
    extension = loaded.extensions.get_extension_for_oid(x509.ObjectIdentifier("2.5.29.9"))
    assert extension.value.public_bytes() == real
    assert not extension.critical


@pytest.mark.cps("1.3.5.1")
def test_what_is_not_on_a_card_is_marked_as_secondary() -> None:
    other = PROFILES.certificate(Kind.COMPANY, Usage.ENCRYPTION, Rank.SECONDARY, Carrier.OTHER_MODULE)
    assert b"\x13\x09secondary" in build(SPECIMENS[0].fields, other)
    with pytest.raises(InputRejected, match=r"1\.3\.5\.1"):
        PROFILES.certificate(Kind.COMPANY, Usage.SIGNATURE, Rank.PRIMARY, Carrier.OTHER_MODULE)


@pytest.mark.cps("7.1.3")
def test_a_certificate_that_ends_after_2049_has_generalized_time() -> None:
    validity = Validity(datetime(2049, 12, 31, tzinfo=UTC), datetime(2050, 1, 1, tzinfo=UTC))
    late = replace(issuer(), not_after=datetime(2060, 1, 1, tzinfo=UTC))
    uris = PROFILES.crl_uris(1)
    subject = subject_der(COMPANY_PRIMARY, SPECIMENS[0].fields)
    tbs = compile_template(COMPANY_PRIMARY, late, validity, uris).build(
        SERIAL, subject, subject_spki(), "70759028"
    )
    compile_check(COMPANY_PRIMARY, late, validity, uris).check(
        tbs, serial=SERIAL, subject=subject, public_key=subject_spki(), uniform_number="70759028"
    )
    assert b"\x17\x0d491231000000Z\x18\x0f20500101000000Z" in tbs
    loaded = x509.load_der_x509_certificate(certificate(tbs))
    assert loaded.not_valid_after_utc == validity.not_after


@pytest.mark.judge("pkilint")
def test_the_lint_is_awake() -> None:
    """A name one character past its limit, built around our own check of names, does not escape pkilint."""
    subject = subject_der(COMPANY_PRIMARY, replace(SPECIMENS[0].fields, organization="名" * 65))
    template = compile_template(COMPANY_PRIMARY, issuer(), VALIDITY, PROFILES.crl_uris(1))
    assert findings(certificate(template.build(SERIAL, subject, subject_spki(), "70759028"))) != []


PRINTABLE_CHARACTERS = st.characters(exclude_categories=["C", "Z"])
NAMES = st.one_of(
    st.text(PRINTABLE_CHARACTERS, min_size=1, max_size=64),
    st.text(PRINTABLE_CHARACTERS, min_size=64, max_size=64),
    st.text(st.characters(min_codepoint=0x20000, max_codepoint=0x2A6DF), min_size=64, max_size=64),
).filter(lambda text: "\N{REPLACEMENT CHARACTER}" not in text)


@pytest.mark.cps("3.1.4")
@pytest.mark.judge("cryptography")
@pytest.mark.judge("pkilint")
@settings(derandomize=True, max_examples=60, deadline=None, database=None)
@given(organization=NAMES, unit=NAMES, county=NAMES, profile=st.sampled_from(PROFILES.certificates()))
def test_any_name_within_the_limits_survives(
    organization: str, unit: str, county: str, profile: CertificateProfile
) -> None:
    registrant = min(profile.registrants, key=str) if profile.registrants else None
    fields = SubjectFields(organization, unit, county, "42", "70759028", registrant)
    der = certificate(build(fields, profile))
    found = {
        attribute.rfc4514_attribute_name: attribute.value
        for attribute in x509.load_der_x509_certificate(der).subject
    }
    expected = {"O": organization, "OU": unit, "L": county}
    assert all(found[name] == value for name, value in expected.items() if name in found)
    assert found["O"] == organization
    assert findings(der) == []


@pytest.mark.parametrize(
    ("validity", "uris", "rule"),
    [
        (
            Validity(VALIDITY.not_before, datetime(2046, 1, 2, tzinfo=UTC)),
            PROFILES.crl_uris(1),
            "notAfter <= 2046-01-01",
        ),
        (Validity(VALIDITY.not_after, VALIDITY.not_before), PROFILES.crl_uris(1), "notBefore < notAfter"),
        (VALIDITY, (), "at least one point"),
    ],
)
def test_a_template_that_could_not_be_right_does_not_compile(
    validity: Validity, uris: tuple[str, ...], rule: str
) -> None:
    with pytest.raises(ConfigurationInvalid, match=rule):
        compile_template(COMPANY_PRIMARY, issuer(), validity, uris)


@pytest.mark.parametrize(
    ("serial", "number"),
    [(SERIAL[1:], "70759028"), (SERIAL, None), (SERIAL, "7075902"), (SERIAL, "７0759028")],
)
def test_fields_that_would_break_the_lengths_are_refused(serial: bytes, number: str | None) -> None:
    template = compile_template(COMPANY_PRIMARY, issuer(), VALIDITY, PROFILES.crl_uris(1))
    with pytest.raises(InputRejected):
        template.build(serial, b"\x30\x00", subject_spki(), number)


def test_what_is_no_ca_certificate_cannot_be_an_issuer() -> None:
    with pytest.raises(ConfigurationInvalid, match="BasicConstraints"):
        Issuer.from_certificate(
            by_certificate_builder(SPECIMENS[0], COMPANY_PRIMARY).public_bytes(Encoding.DER),
            SignatureAlgorithm.RSA_PKCS1_SHA256,
        )
    with pytest.raises(ConfigurationInvalid):
        Issuer.from_certificate(b"\x30\x00", SignatureAlgorithm.RSA_PKCS1_SHA256)
