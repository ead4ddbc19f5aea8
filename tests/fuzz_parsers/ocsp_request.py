"""OCSP requests (`responders/ocsp_request.py`)."""

from __future__ import annotations

from responders.ocsp_request import MalformedRequest, parse_request
from tests.responders.ocsp_requests import certificate_id, nonce, plain, preferred, request, single


def seeds() -> list[bytes]:
    sha256 = bytes.fromhex("300d06092a864886f70d01010b0500")
    return [
        plain(),
        plain(hash_name="sha256"),
        request(
            single(certificate_id()), single(certificate_id(serial=b"\x41")), extensions=[nonce(b"n" * 16)]
        ),
        request(single(certificate_id()), extensions=[nonce(b"n" * 32), preferred(sha256)]),
    ]


def attempt(octets: bytes) -> bool:
    try:
        question = parse_request(octets)
    except MalformedRequest:
        return False
    assert question.asked
    return True
