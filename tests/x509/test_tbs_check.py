"""The structural check must let nothing pass that differs in a single octet from what was asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from asn1crypto import core as asn1
from asn1crypto import x509 as asn1_x509
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.algorithms import SignatureAlgorithm
from engine.errors import LintFailed
from engine.kinds import Kind, Rank, Usage
from engine.x509 import der
from engine.x509.issuer import Issuer
from engine.x509.names import subject_der
from engine.x509.profiles import CertificateProfile
from engine.x509.tbs_certificate import compile_template
from engine.x509.tbs_check import TbsCheck, compile_check
from engine.x509.validity import Validity
from tests.x509.specimens import (
    COMPANY_PRIMARY,
    PROFILES,
    SERIAL,
    SPECIMENS,
    VALIDITY,
    issuer,
    subject_spki,
)

URIS = PROFILES.crl_uris(40)
FIELDS = SPECIMENS[0].fields
SUBJECT = subject_der(COMPANY_PRIMARY, FIELDS)
NUMBER = "70759028"


def tbs_of(
    profile: CertificateProfile = COMPANY_PRIMARY, subject: bytes = SUBJECT, serial: bytes = SERIAL
) -> bytes:
    return compile_template(profile, issuer(), VALIDITY, URIS).build(serial, subject, subject_spki(), NUMBER)


def check(
    tbs: bytes,
    checker: TbsCheck | None = None,
    serial: bytes = SERIAL,
    subject: bytes = SUBJECT,
    public_key: bytes | None = None,
    number: str | None = NUMBER,
    email: str | None = None,
) -> bytes:
    checker = checker or compile_check(COMPANY_PRIMARY, issuer(), VALIDITY, URIS)
    return checker.check(
        tbs,
        serial=serial,
        subject=subject,
        public_key=public_key or subject_spki(),
        uniform_number=number,
        email=email,
    )


def test_what_was_asked_for_passes_unchanged() -> None:
    assert check(tbs_of()) == tbs_of()


def test_no_flipped_bit_passes() -> None:
    checker, tbs = compile_check(COMPANY_PRIMARY, issuer(), VALIDITY, URIS), tbs_of()
    for bit in range(8 * len(tbs)):
        mutant = bytearray(tbs)
        mutant[bit // 8] ^= 1 << bit % 8
        with pytest.raises(LintFailed):
            check(bytes(mutant), checker)


def test_no_truncation_and_no_deleted_octet_passes() -> None:
    checker, tbs = compile_check(COMPANY_PRIMARY, issuer(), VALIDITY, URIS), tbs_of()
    for place in range(len(tbs)):
        for mutant in (tbs[:place], tbs[:place] + tbs[place + 1 :]):
            with pytest.raises(LintFailed):
                check(mutant, checker)


@settings(derandomize=True, max_examples=200, deadline=None, database=None)
@given(place=st.integers(0, 1030), octets=st.binary(min_size=1, max_size=8), cut=st.integers(0, 8))
def test_no_inserted_or_replaced_octets_pass(place: int, octets: bytes, cut: int) -> None:
    tbs = tbs_of()
    mutant = tbs[:place] + octets + tbs[place + cut :]
    if mutant == tbs:
        return
    with pytest.raises(LintFailed):
        check(mutant)


def test_each_thing_asked_for_is_compared() -> None:
    checks: list[tuple[str, Callable[[], bytes]]]
    other_key = subject_spki()[:-10] + bytes(5) + subject_spki()[-5:]
    other_subject = subject_der(COMPANY_PRIMARY, replace(FIELDS, organization="別家公司"))
    checks = [
        ("serialNumber", lambda: check(tbs_of(), serial=b"\x41" * 16)),
        ("subject", lambda: check(tbs_of(), subject=other_subject)),
        ("subjectPublicKeyInfo", lambda: check(tbs_of(), public_key=other_key)),
        (r"extension 2\.5\.29\.9", lambda: check(tbs_of(), number="22099131")),
        ("uniform number", lambda: check(tbs_of(), number=None)),
        (r"extension 2\.5\.29\.17", lambda: check(tbs_of(), email="a@example.com")),
    ]
    for place, attempt in checks:
        with pytest.raises(LintFailed, match=rf"company/signature/primary/ic-card: {place}:"):
            attempt()


@pytest.mark.parametrize(
    ("place", "checker"),
    [
        (
            "signature",
            lambda: _checker(signer=replace(issuer(), algorithm=SignatureAlgorithm.RSA_PKCS1_SHA384)),
        ),
        ("issuer", lambda: _checker(signer=replace(issuer(), name=SUBJECT))),
        (
            "validity",
            lambda: _checker(validity=replace(VALIDITY, not_after=VALIDITY.not_after - timedelta(seconds=1))),
        ),
        (r"extension 2\.5\.29\.35", lambda: _checker(signer=replace(issuer(), key_identifier=b"k" * 20))),
        (r"extension 2\.5\.29\.31", lambda: _checker(uris=PROFILES.crl_uris(41))),
        (r"extension 2\.5\.29\.31", lambda: _checker(uris=URIS[::-1])),
        (r"extension 2\.5\.29\.15", lambda: _checker(profile=_company(Usage.ENCRYPTION, Rank.PRIMARY))),
        (r"extension 2\.5\.29\.9", lambda: _checker(profile=_company(Usage.SIGNATURE, Rank.SECONDARY))),
        (
            r"extension 2\.5\.29\.32",
            lambda: _checker(profile=replace(COMPANY_PRIMARY, policy="2.16.886.101.0.3.2")),
        ),
        (
            "extensions",
            lambda: _checker(
                profile=replace(COMPANY_PRIMARY, extensions=COMPANY_PRIMARY.extensions[:-1]), uris=()
            ),
        ),
    ],
)
def test_a_certificate_of_another_profile_or_issuer_is_told_apart(
    place: str, checker: Callable[[], TbsCheck]
) -> None:
    with pytest.raises(LintFailed, match=rf": {place}:"):
        check(tbs_of(), checker())


def _checker(
    profile: CertificateProfile = COMPANY_PRIMARY,
    signer: Issuer | None = None,
    validity: Validity = VALIDITY,
    uris: tuple[str, ...] = URIS,
) -> TbsCheck:
    return compile_check(profile, signer or issuer(), validity, uris)


def _company(usage: Usage, rank: Rank) -> CertificateProfile:
    return PROFILES.certificate(Kind.COMPANY, usage, rank)


def _reordered(tbs: bytes, change: Callable[[list[asn1_x509.Extension]], list[asn1_x509.Extension]]) -> bytes:
    """The same tbsCertificate, well-formed, with its list of extensions changed."""
    loaded = asn1_x509.TbsCertificate.load(tbs)
    changed = change([asn1_x509.Extension.load(extension.dump()) for extension in loaded["extensions"]])
    fields = [loaded[name].dump() for name in ("serial_number", "signature", "issuer", "validity", "subject")]
    extensions = der.context(3, der.sequence(*(extension.dump(force=True) for extension in changed)))
    key = loaded["subject_public_key_info"].dump()
    return der.sequence(bytes.fromhex("a003020102"), *fields, key, extensions)


def _critical(extension: asn1_x509.Extension) -> asn1_x509.Extension:
    value = asn1.ParsableOctetString(extension["extn_value"].contents)
    return asn1_x509.Extension(
        {"extn_id": extension["extn_id"].dotted, "critical": True, "extn_value": value}
    )


def test_well_formed_changes_of_the_extension_list_are_refused() -> None:
    assert _reordered(tbs_of(), list) == tbs_of()
    changes: list[Callable[[list[asn1_x509.Extension]], list[asn1_x509.Extension]]] = [
        lambda listed: [listed[1], listed[0], *listed[2:]],
        lambda listed: listed[::-1],
        lambda listed: listed[:-1],
        lambda listed: listed[1:],
        lambda listed: [*listed, listed[0]],
        lambda listed: [_critical(listed[0]), *listed[1:]],
    ]
    for change in changes:
        with pytest.raises(LintFailed, match="extension"):
            check(_reordered(tbs_of(), change))


@pytest.mark.parametrize(
    "subject",
    [
        der.sequence(),
        SUBJECT + b"\x00",
        subject_der(_company(Usage.SIGNATURE, Rank.PRIMARY), replace(FIELDS, organization="名" * 65)),
        subject_der(
            PROFILES.certificate(Kind.BRANCH, Usage.SIGNATURE, Rank.PRIMARY), replace(FIELDS, unit="分")
        ),
        SUBJECT.replace(b"\x0c\x18", b"\x13\x18"),
        SUBJECT.replace("測".encode(), b"\xe6\xb8\xff"),
        SUBJECT.replace(b"\x13\x02TW", b"\x13\x02T*"),
        SUBJECT.replace(b"\x55\x04\x0a", b"\x55\x04\x0c"),
    ],
)
def test_a_wrong_subject_is_refused_even_if_it_is_the_one_handed_in(subject: bytes) -> None:
    with pytest.raises(LintFailed):
        check(tbs_of(subject=subject), subject=subject)


@pytest.mark.parametrize("serial", [b"\x80" * 16, b"\x00" * 16])
def test_a_serial_that_is_not_positive_and_minimal_is_refused(serial: bytes) -> None:
    with pytest.raises(LintFailed, match="serialNumber"):
        check(tbs_of(serial=serial), serial=serial)
