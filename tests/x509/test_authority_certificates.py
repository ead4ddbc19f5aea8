"""The authority's own certificates, judged as a chain by OpenSSL and one by one by pyca and pkilint."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from engine.algorithms import SignatureAlgorithm
from engine.clock import SystemClock
from engine.x509.authority_certificates import authority_tbs
from engine.x509.certificate import assemble
from engine.x509.issuer import Issuer
from engine.x509.names import authority_subject_der
from engine.x509.profile_file import AuthorityName
from engine.x509.profiles import load_profiles
from engine.x509.serial_numbers import SerialNumbers
from engine.x509.validity import Validity, validity_for
from tests.x509.pkix_lint import findings
from tests.x509.specimens import CA_NAME, SERIAL, ca_key, spki_of, subject_spki

PROFILES = load_profiles()
ALGORITHM = SignatureAlgorithm.RSA_PKCS1_SHA256
FAR = datetime(2100, 1, 1, tzinfo=UTC)
LEAVES: tuple[AuthorityName, ...] = ("ocsp", "audit", "operations")


@pytest.fixture(scope="module")
def root_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def issue(
    name: AuthorityName, public_key: bytes, signer: rsa.RSAPrivateKey, issuer_certificate: bytes | None
) -> bytes:
    """Issue one of the authority's certificates now; without issuer, a root."""
    profile = PROFILES.authority(name)
    if issuer_certificate is None:
        validity = validity_for(profile, datetime.now(UTC) - timedelta(hours=1), FAR)
        issuer = Issuer.self_signed(authority_subject_der(profile), public_key, validity.not_after, ALGORITHM)
    else:
        issuer = Issuer.from_certificate(issuer_certificate, ALGORITHM)
        validity = validity_for(profile, datetime.now(UTC), issuer.not_after)
    (serial,) = SerialNumbers(SystemClock()).take(1)
    tbs = authority_tbs(profile, issuer, validity, serial, public_key)
    return assemble(tbs, ALGORITHM, signer.sign(tbs, padding.PKCS1v15(), hashes.SHA256()))


@pytest.fixture(scope="module")
def root(root_key: rsa.RSAPrivateKey) -> bytes:
    return issue("root", spki_of(root_key), root_key, None)


@pytest.fixture(scope="module")
def ca(root_key: rsa.RSAPrivateKey, root: bytes) -> bytes:
    return issue("ca", spki_of(ca_key()), root_key, root)


def openssl_verify(folder: Path, root: bytes, untrusted: list[bytes], leaf: bytes, *options: str) -> str:
    def pem(name: str, certificates: list[bytes]) -> str:
        text = "".join(
            x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode() for der in certificates
        )
        (folder / name).write_text(text)
        return str(folder / name)

    chain = ["-untrusted", pem("chain.pem", untrusted)] if untrusted else []
    command = ["openssl", "verify", "-x509_strict", "-check_ss_sig", "-policy_check", *options]
    command += ["-CAfile", pem("root.pem", [root]), *chain, pem("leaf.pem", [leaf])]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.cps("6.1.9")
@pytest.mark.judge("openssl")
@pytest.mark.judge("pkilint")
@pytest.mark.parametrize("name", LEAVES)
def test_certificates_under_the_ca_verify_against_the_development_root(
    name: AuthorityName, root: bytes, ca: bytes, tmp_path: Path
) -> None:
    certificate = issue(name, subject_spki(), ca_key(), ca)
    options = ["-purpose", "ocsphelper"] if name == "ocsp" else []
    assert openssl_verify(tmp_path, root, [ca], certificate, *options).endswith(": OK\n")
    assert findings(certificate) == []
    usage = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign


@pytest.mark.judge("openssl")
@pytest.mark.judge("pkilint")
def test_the_development_card_centre_verifies_and_claims_test_assurance_only(
    root: bytes, root_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    certificate = issue("card-centre", subject_spki(), root_key, root)
    assert openssl_verify(tmp_path, root, [], certificate, "-purpose", "smimesign").endswith(": OK\n")
    assert findings(certificate) == []
    policies = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(
        x509.CertificatePolicies
    )
    assert [policy.policy_identifier.dotted_string for policy in policies.value] == ["2.16.886.101.0.3.0"]


@pytest.mark.judge("pkilint")
def test_root_and_ca_pass_the_lint_and_the_root_says_what_it_is_for(root: bytes, ca: bytes) -> None:
    assert findings(ca) == []
    assert findings(root) == []
    assert "Development" in x509.load_der_x509_certificate(root).subject.rfc4514_string()


@pytest.mark.cps("3.1.4")
@pytest.mark.cps("6.1.9")
@pytest.mark.judge("cryptography")
def test_the_ca_certificate_is_what_certificate_builder_makes(
    root_key: rsa.RSAPrivateKey, root: bytes
) -> None:
    uri = x509.UniformResourceIdentifier
    issuer = Issuer.from_certificate(root, ALGORITHM)
    loaded = x509.load_der_x509_certificate(root)
    assert issuer.name == loaded.subject.public_bytes()
    validity = Validity(issuer.not_after - timedelta(days=7000), issuer.not_after)
    tbs = authority_tbs(PROFILES.authority("ca"), issuer, validity, SERIAL, spki_of(ca_key()))
    number = int.from_bytes(SERIAL, "big")
    builder = x509.CertificateBuilder(
        loaded.subject, CA_NAME, ca_key().public_key(), number, validity.not_before, validity.not_after
    )
    access = x509.AccessDescription(
        AuthorityInformationAccessOID.CA_ISSUERS, uri("http://root.sealmint.invalid/root.p7b")
    )
    point = x509.DistributionPoint([uri("http://root.sealmint.invalid/root.crl")], None, None, None)
    policy = x509.PolicyInformation(x509.ObjectIdentifier("2.16.886.101.0.3.3"), None)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False),
        (x509.SubjectKeyIdentifier.from_public_key(ca_key().public_key()), False),
        (x509.AuthorityInformationAccess([access]), False),
        (usage, True),
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (x509.CertificatePolicies([policy]), False),
        (x509.CRLDistributionPoints([point]), False),
    ]
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    assert tbs == builder.sign(root_key, hashes.SHA256()).tbs_certificate_bytes


@pytest.mark.judge("cryptography")
def test_the_responder_is_delegated_as_rfc_6960_wants_it(ca: bytes) -> None:
    certificate = x509.load_der_x509_certificate(issue("ocsp", subject_spki(), ca_key(), ca))
    extensions = certificate.extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.OCSP_SIGNING
    ]
    assert extensions.get_extension_for_class(x509.OCSPNoCheck).value == x509.OCSPNoCheck()
    assert certificate.not_valid_after_utc == x509.load_der_x509_certificate(ca).not_valid_after_utc
    certificate.verify_directly_issued_by(x509.load_der_x509_certificate(ca))
    assert certificate.public_key() == load_der_public_key(subject_spki())
