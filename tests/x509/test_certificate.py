"""Assembly and verification, with every algorithm, against signatures that pyca makes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.algorithms import SignatureAlgorithm
from engine.errors import KeyMismatch, SignatureInvalid
from engine.x509.certificate import assemble, verifier
from engine.x509.issuer import Issuer
from engine.x509.names import authority_subject_der
from engine.x509.profiles import load_profiles
from engine.x509.tbs_certificate import compile_template
from engine.x509.tbs_check import compile_check
from engine.x509.validity import Validity
from tests.x509.specimens import CA_NAME, SERIAL, ca_key, spki_of

HASHES: dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
ROOT = load_profiles().authority("root")
VALIDITY = Validity(datetime(2026, 1, 1, tzinfo=UTC), datetime(2056, 1, 1, tzinfo=UTC))


def _key(algorithm: SignatureAlgorithm) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    if algorithm.is_rsa:
        return ca_key()
    return ec.generate_private_key(ec.SECP256R1() if "p256" in algorithm.value else ec.SECP384R1())


def _sign(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, algorithm: SignatureAlgorithm, tbs: bytes
) -> bytes:
    hash_algorithm = HASHES[algorithm.hash_name]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(tbs, ec.ECDSA(hash_algorithm))
    if algorithm.is_deterministic:
        return key.sign(tbs, padding.PKCS1v15(), hash_algorithm)
    pss = padding.PSS(padding.MGF1(hash_algorithm), hash_algorithm.digest_size)
    return key.sign(tbs, pss, hash_algorithm)


@pytest.mark.cps("7.1.3")
@pytest.mark.judge("cryptography")
@pytest.mark.parametrize("algorithm", SignatureAlgorithm, ids=lambda algorithm: algorithm.value)
def test_every_algorithm_is_named_so_that_pyca_verifies_and_writes_the_same(
    algorithm: SignatureAlgorithm,
) -> None:
    key = _key(algorithm)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    subject = authority_subject_der(ROOT)
    issuer = Issuer.self_signed(subject, spki, VALIDITY.not_after, algorithm)
    tbs = compile_template(ROOT, issuer, VALIDITY, ()).build(SERIAL, subject, spki)
    compile_check(ROOT, issuer, VALIDITY, ()).check(tbs, serial=SERIAL, subject=subject, public_key=spki)
    signature = _sign(key, algorithm, tbs)
    verifier(spki, algorithm)(tbs, signature)

    loaded = x509.load_der_x509_certificate(assemble(tbs, algorithm, signature))
    loaded.verify_directly_issued_by(loaded)
    assert loaded.signature == signature
    assert loaded.signature_hash_algorithm is not None
    assert loaded.signature_hash_algorithm.name == algorithm.hash_name
    assert loaded.tbs_certificate_bytes == tbs

    builder = x509.CertificateBuilder(
        CA_NAME, CA_NAME, key.public_key(), 1, VALIDITY.not_before, VALIDITY.not_after
    )
    pss = padding.PSS(padding.MGF1(HASHES[algorithm.hash_name]), HASHES[algorithm.hash_name].digest_size)
    uses_pss = algorithm.is_rsa and not algorithm.is_deterministic
    other = builder.sign(key, HASHES[algorithm.hash_name], rsa_padding=pss if uses_pss else None)
    written, expected = (
        asn1_x509.Certificate.load(der)["signature_algorithm"].dump()
        for der in (assemble(tbs, algorithm, signature), other.public_bytes(Encoding.DER))
    )
    assert written == expected


@pytest.mark.parametrize("algorithm", SignatureAlgorithm, ids=lambda algorithm: algorithm.value)
def test_a_signature_over_other_octets_does_not_verify(algorithm: SignatureAlgorithm) -> None:
    key = _key(algorithm)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    verify, signature = verifier(spki, algorithm), _sign(key, algorithm, b"these octets")
    verify(b"these octets", signature)
    for octets, value in (
        (b"those octets", signature),
        (b"these octets", signature[::-1]),
        (b"these octets", b""),
    ):
        with pytest.raises(SignatureInvalid):
            verify(octets, value)


def test_a_key_that_does_not_fit_its_algorithm_is_refused() -> None:
    with pytest.raises(KeyMismatch, match="not one for the algorithm"):
        verifier(spki_of(ca_key()), SignatureAlgorithm.ECDSA_P256_SHA256)
    with pytest.raises(KeyMismatch, match="cannot read"):
        verifier(b"\x30\x00", SignatureAlgorithm.RSA_PKCS1_SHA256)
