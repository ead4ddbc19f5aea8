"""An OCSP client for benchmarks: many questions over kept connections, each answer looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass

import trio
from cryptography.x509 import ocsp

from engine.x509 import der
from engine.x509.ocsp_response import IssuerNames, cert_id, extension

NONCE = "1.3.6.1.5.5.7.48.1.2"  # RFC 9654 section 2
NONCE_OCTETS = 32


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer as the client saw it."""

    status: str
    """good, revoked or unknown; else the name of the OCSPResponseStatus."""
    cacheable: bool
    """Whether it was signed ahead."""


def request_for(issuer: IssuerNames, serial: bytes, *, nonce: bool = False) -> bytes:
    """An OCSPRequest for one certificate under SHA-1, with or without a fresh nonce."""
    extensions = b""
    if nonce:
        value = extension(NONCE, der.octet_string(os.urandom(NONCE_OCTETS)))
        extensions = der.context(2, der.sequence(value))
    one = der.sequence(cert_id("sha1", issuer, serial))
    return der.sequence(der.sequence(der.sequence(one), extensions))


class OcspClient:
    """One kept connection.

    Args:
        address: host and port of the listener.
        path: where OCSP is answered.
    """

    def __init__(self, address: tuple[str, int], path: str = "/") -> None:
        self._address = address
        self._path = path
        self._stream: trio.SocketStream | None = None
        self._rest = b""

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Return the head and the body of the answer to a POST."""
        if self._stream is None:
            self._stream = await trio.open_tcp_stream(*self._address)
            self._rest = b""
        head = (
            f"POST {self._path} HTTP/1.1\r\nHost: {self._address[0]}\r\nContent-Type: application/ocsp-request\r\n"
            f"Content-Length: {len(request)}\r\n\r\n"
        )
        await self._stream.send_all(head.encode() + request)
        while b"\r\n\r\n" not in self._rest:
            await self._receive()
        answer, _, self._rest = self._rest.partition(b"\r\n\r\n")
        length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        while len(self._rest) < length:
            await self._receive()
        body, self._rest = self._rest[:length], self._rest[length:]
        return answer, body

    async def _receive(self) -> None:
        assert self._stream is not None
        received = await self._stream.receive_some(65_536)
        if not received:
            raise ConnectionError("the listener closed the connection")
        self._rest += received

    async def aclose(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            await self._stream.aclose()
            self._stream = None


def seen(answer: tuple[bytes, bytes], serial: bytes) -> Seen:
    """Read what an answer says of a serial. Its signature is not looked at."""
    head, body = answer
    response = ocsp.load_der_ocsp_response(body)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return Seen(response.response_status.name, cacheable=False)
    number = int.from_bytes(serial, "big")
    for single in response.responses:
        if single.serial_number == number:
            return Seen(single.certificate_status.name.lower(), b"max-age=" in head)
    raise ValueError("the answer is not about the certificate that was asked for")
