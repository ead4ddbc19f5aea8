"""Whether an OCSP answer is one: who signed it, for whom, when, and what it says (RFC 6960 section 3.2).

Judges as a relying party does, with the CA certificate only, and reads with another parser than the one that wrote.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from bench.load.expected_status import Said
from bench.load.failures import NoAnswer, WrongAnswer
from engine.status.crl_reasons import CrlReason
from engine.x509.ocsp_response import IssuerNames, key_octets

_STATES: dict[ocsp.OCSPCertStatus, Literal["good", "revoked", "unknown"]] = {
    ocsp.OCSPCertStatus.GOOD: "good",
    ocsp.OCSPCertStatus.REVOKED: "revoked",
    ocsp.OCSPCertStatus.UNKNOWN: "unknown",
}


class Asked(NamedTuple):
    """What a question asked."""

    serial: bytes
    hash_name: str
    nonce: bytes | None = None


class Responder(NamedTuple):
    """Who signed."""

    certificate: x509.Certificate
    key_hash: bytes


class OcspVerdict:
    """Verifies OCSP answers of one CA; a responder certificate is looked at once.

    Args:
        ca: the CA certificate, DER.
        clock_skew: seconds by which the clocks of both sides may differ.
    """

    def __init__(self, ca: bytes, clock_skew: float) -> None:
        self._ca = x509.load_der_x509_certificate(ca)
        self._issuer = IssuerNames.from_certificate(ca)
        self._skew = timedelta(seconds=clock_skew)
        self._responders: dict[bytes, Responder] = {}

    def said(self, body: bytes, asked: Asked, now: float) -> Said:
        """Verify a successful answer and return what it says of the certificate.

        Args:
            body: the OCSPResponse, DER.
            asked: what was asked.
            now: when it came, seconds since the epoch.

        Raises:
            WrongAnswer: it is not signed by whom it must be, not about what was asked, or not of this time.
            NoAnswer: it leaves the nonce out.
        """
        moment = datetime.fromtimestamp(now, UTC)
        try:
            answer = ocsp.load_der_ocsp_response(body)
            self._check_signature(answer, moment)
            self._check_nonce(answer, asked.nonce)
            single = self._single(answer, asked)
            self._check_times(answer, single, moment)
            return _said(single)
        except (ValueError, TypeError, x509.UnsupportedGeneralNameType) as error:
            raise WrongAnswer("unreadable", f"{asked.serial.hex()}: {error}") from error

    def _check_signature(self, answer: ocsp.OCSPResponse, now: datetime) -> None:
        signer = self._responder(answer)
        certificate = signer.certificate
        if not certificate.not_valid_before_utc - self._skew <= now < certificate.not_valid_after_utc:
            raise WrongAnswer("signer", f"the responder certificate ended {certificate.not_valid_after_utc}")
        if answer.responder_key_hash is not None:
            named = answer.responder_key_hash == signer.key_hash
        else:
            named = answer.responder_name == certificate.subject
        if not named:
            raise WrongAnswer("signer", "the ResponderID names somebody else")
        algorithm = answer.signature_hash_algorithm
        if not isinstance(algorithm, HashAlgorithm) or isinstance(algorithm, SHA1):
            raise WrongAnswer("signature", f"signed with {answer.signature_algorithm_oid.dotted_string}")
        if not _verifies(certificate, answer.signature, answer.tbs_response_bytes, algorithm):
            raise WrongAnswer("signature", "the signature does not verify")

    def _responder(self, answer: ocsp.OCSPResponse) -> Responder:
        """Return who may have signed: the first certificate in the answer, delegated by the CA; else the CA itself."""
        certificate = answer.certificates[0] if answer.certificates else self._ca
        octets = certificate.public_bytes(Encoding.DER)
        known = self._responders.get(octets)
        if known is None:
            if certificate != self._ca:
                self._check_delegation(certificate)
            spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            key_hash = hashlib.sha1(key_octets(spki), usedforsecurity=False).digest()  # section 4.2.1
            known = self._responders[octets] = Responder(certificate, key_hash)
        return known

    def _check_delegation(self, certificate: x509.Certificate) -> None:
        """Section 4.2.2.2: issued by the very CA, for signing OCSP answers."""
        try:
            certificate.verify_directly_issued_by(self._ca)
            usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
            raise WrongAnswer("signer", f"not delegated by the CA: {type(error).__name__}") from error
        if ExtendedKeyUsageOID.OCSP_SIGNING not in usage:
            raise WrongAnswer("signer", "the certificate is not for OCSP signing")

    def _check_nonce(self, answer: ocsp.OCSPResponse, nonce: bytes | None) -> None:
        if nonce is None:
            return
        try:
            found = answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        except x509.ExtensionNotFound as error:
            raise NoAnswer("nonce-ignored") from error  # a responder may (RFC 9654 section 2.1)
        if found != nonce:
            raise WrongAnswer("nonce", "the answer has another's nonce")

    def _single(self, answer: ocsp.OCSPResponse, asked: Asked) -> ocsp.OCSPSingleResponse:
        number = int.from_bytes(asked.serial, "big")
        hashes = self._issuer.hashes(asked.hash_name)
        for single in answer.responses:
            named = (single.issuer_name_hash, single.issuer_key_hash)
            same_hash = single.hash_algorithm.name == asked.hash_name
            if single.serial_number == number and named == hashes and same_hash:
                return single
        raise WrongAnswer("certificate-id", f"not about {asked.serial.hex()} under {asked.hash_name}")

    def _check_times(self, answer: ocsp.OCSPResponse, single: ocsp.OCSPSingleResponse, now: datetime) -> None:
        """Section 4.2.2.1; nextUpdate must be there (RFC 9919 section 5)."""
        until = single.next_update_utc
        if until is None or until <= single.this_update_utc:
            raise WrongAnswer("times", f"nextUpdate {until}, thisUpdate {single.this_update_utc}")
        if max(single.this_update_utc, answer.produced_at_utc) > now + self._skew:
            raise WrongAnswer("times", f"thisUpdate {single.this_update_utc} is yet to come")
        if until < now - self._skew:
            raise WrongAnswer("times", f"out of date since {until}")


def _verifies(
    certificate: x509.Certificate, signature: bytes, signed: bytes, algorithm: HashAlgorithm
) -> bool:
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), algorithm)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _said(single: ocsp.OCSPSingleResponse) -> Said:
    state = _STATES[single.certificate_status]
    since, reason = single.revocation_time_utc, single.revocation_reason
    return Said(
        state,
        None if since is None else int(since.timestamp()),
        None if reason is None else int(CrlReason[reason.value]),
        int(single.this_update_utc.timestamp()),
    )
