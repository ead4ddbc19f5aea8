"""OCSP responses of the toy authority: field by field, so that each can be wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import core, ocsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.judges.toy_authority import HOUR, NOW, Holder


@dataclass(frozen=True)
class Single:
    """One SingleResponse: which certificate under which hash, its state, and for how long that holds."""

    serial: int
    issuer: x509.Certificate
    state: str = "good"
    reason: str | None = None
    hash_name: str = "sha1"
    this_update: datetime = NOW - HOUR
    next_update: datetime | None = NOW + 2 * HOUR

    @property
    def encoded(self) -> ocsp.SingleResponse:
        key = self.issuer.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
        fields = {
            "cert_id": {
                "hash_algorithm": {"algorithm": self.hash_name},
                "issuer_name_hash": hashlib.new(self.hash_name, self.issuer.subject.public_bytes()).digest(),
                "issuer_key_hash": hashlib.new(self.hash_name, key).digest(),
                "serial_number": self.serial,
            },
            "cert_status": self._status(),
            "this_update": self.this_update,
        }
        if self.next_update is not None:
            fields["next_update"] = self.next_update
        return ocsp.SingleResponse(fields)

    def _status(self) -> ocsp.CertStatus:
        if self.state != "revoked":
            return ocsp.CertStatus(self.state, core.Null())
        told = ocsp.RevokedInfo({"revocation_time": NOW - 3 * HOUR})
        if self.reason is not None:
            told["revocation_reason"] = self.reason
        return ocsp.CertStatus("revoked", told)


def nonce_of(request: bytes) -> bytes | None:
    """The nonce extension of a request, as the DER octets of its value."""
    for extension in ocsp.OCSPRequest.load(request)["tbs_request"]["request_extensions"]:
        if extension["extn_id"].native == "nonce":
            return bytes(extension["extn_value"].contents)
    return None


def hash_of(request: bytes) -> str:
    """The CertID hash that a request asks with."""
    (first, *_) = ocsp.OCSPRequest.load(request)["tbs_request"]["request_list"]
    return str(first["req_cert"]["hash_algorithm"]["algorithm"].native)


def response(
    singles: Sequence[Single],
    signer: Holder,
    *,
    embedded: Sequence[x509.Certificate] | None = None,
    responder: bytes | None = None,
    nonce: bytes | None = None,
    critical: str | None = None,
    spoil: bool = False,
) -> bytes:
    """Sign a response.

    Args:
        singles: what it says.
        signer: whose key signs; its certificate goes along, and its key hash is the ResponderID.
        embedded: other certificates instead.
        responder: another key hash instead.
        nonce: value of a nonce extension, DER.
        critical: an object identifier: a critical extension that nobody knows.
        spoil: turn one bit of the signature over.
    """
    extensions = (
        [] if nonce is None else [{"extn_id": "nonce", "extn_value": core.ParsableOctetString(nonce)}]
    )
    if critical is not None:
        extensions.append(
            {"extn_id": critical, "critical": True, "extn_value": core.ParsableOctetString(b"\x05\x00")}
        )
    data = {
        "responder_id": ocsp.ResponderId("by_key", core.OctetString(responder or signer.key_hash)),
        "produced_at": NOW,
        "responses": [single.encoded for single in singles],
    }
    tbs = ocsp.ResponseData(data | ({"response_extensions": extensions} if extensions else {}))
    signature = bytearray(signer.key.sign(tbs.dump(), PKCS1v15(), SHA256()))
    signature[-1] ^= spoil
    certificates = [signer.certificate] if embedded is None else embedded
    return _response(tbs, bytes(signature), certificates)


def _response(tbs: ocsp.ResponseData, signature: bytes, certificates: Sequence[x509.Certificate]) -> bytes:
    basic = {
        "tbs_response_data": tbs,
        "signature_algorithm": {"algorithm": "sha256_rsa"},
        "signature": signature,
    }
    if certificates:
        basic["certs"] = [asn1_x509.Certificate.load(one.public_bytes(Encoding.DER)) for one in certificates]
    whole = {
        "response_status": "successful",
        "response_bytes": {
            "response_type": "basic_ocsp_response",
            "response": ocsp.BasicOCSPResponse(basic),
        },
    }
    return bytes(ocsp.OCSPResponse(whole).dump())


def error_response(status: str) -> bytes:
    """An answer without an answer: `try_later`, `unauthorized`, …"""
    return bytes(ocsp.OCSPResponse({"response_status": status}).dump())
