"""OCSP requests in URLs (`responders/ocsp_url.py`)."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote_from_bytes

from responders.ocsp_url import request_in_url
from tests.fuzz_parsers import ocsp_request


def seeds() -> list[bytes]:
    texts = [b64encode(request) for request in ocsp_request.seeds()]
    quoted = [quote_from_bytes(text, safe="").encode() for text in texts]
    return [*texts, *quoted, quote_from_bytes(quoted[0]).encode(), texts[0].replace(b"/", b"_").rstrip(b"=")]


def attempt(octets: bytes) -> bool:
    found = request_in_url(octets)
    return found is not None and (ocsp_request.attempt(found) or True)
