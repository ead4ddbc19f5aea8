"""An OCSP responder on loopback that lies on purpose, or stops answering for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from bench.load.targets import Target, TargetsHead, write_targets
from engine.algorithms import SignatureAlgorithm
from engine.store.schema import CertificateState
from engine.x509 import ocsp_response as ocsp
from engine.x509.ocsp_response import IssuerNames, SingleStatus
from tests.judges.toy_authority import NOW, Holder, ToyAuthority

HOUR = 3_600
START = int(NOW.timestamp())
REVOKED_AT = START - 5_000
KEY_COMPROMISE = 1


def serial_of(number: int) -> bytes:
    return bytes((0x40,)) + number.to_bytes(15, "big")


def der_of(holder: Holder) -> bytes:
    return holder.certificate.public_bytes(Encoding.DER)


@dataclass
class ToyAnswers:
    """Makes answers of a toy CA."""

    toy: ToyAuthority = field(default_factory=ToyAuthority)

    def __post_init__(self) -> None:
        self.ca = der_of(self.toy.ca)
        self.issuer = IssuerNames.from_certificate(self.ca)

    def answer(
        self,
        serial: bytes,
        *,
        state: str = "good",
        since: int = REVOKED_AT,
        reason: int | None = KEY_COMPROMISE,
        about: bytes | None = None,
        hash_name: str = "sha1",
        issuer: IssuerNames | None = None,
        this_update: timedelta = -timedelta(hours=1),
        next_update: timedelta | None = timedelta(hours=1),
        signer: Holder | None = None,
        certificates: list[bytes] | None = None,
        key_hash: bytes | None = None,
        spoilt: bool = False,
        nonce: bytes | None = None,
    ) -> bytes:
        """An OCSPResponse; every argument but the first makes it say something else."""
        signer = signer or self.toy.responder
        status = SingleStatus("revoked", since, reason) if state == "revoked" else SingleStatus(state)  # type: ignore[arg-type]  # a name
        one = ocsp.single_response(
            ocsp.cert_id(hash_name, issuer or self.issuer, about or serial),
            status,
            START + int(this_update.total_seconds()),
            None if next_update is None else START + int(next_update.total_seconds()),
        )
        extensions = b"" if nonce is None else ocsp.extension("1.3.6.1.5.5.7.48.1.2", nonce)
        tbs = ocsp.response_data(key_hash or signer.key_hash, START - HOUR, [one], extensions)
        signature = signer.key.sign(tbs + b"!" * spoilt, padding.PKCS1v15(), SHA256())
        carried = [der_of(signer)] if certificates is None else certificates
        return ocsp.assemble_response(tbs, SignatureAlgorithm.RSA_PKCS1_SHA256, signature, carried)

    def write_targets(self, path: Path, count: int, *, revoked: frozenset[int] = frozenset()) -> None:
        """Write the targets: `count` certificates, some of them revoked."""
        made = [
            Target(serial_of(number), CertificateState.REVOKED, REVOKED_AT, KEY_COMPROMISE)
            if number in revoked
            else Target(serial_of(number), CertificateState.GOOD, 0, None)
            for number in range(count)
        ]
        assert write_targets(path, TargetsHead(START, self.ca, [], []), made) == count


@dataclass
class ToyResponder:
    """What the server answers: by serial; and when it stalls.

    Attributes:
        answers: the body by serial; a number is an HTTP status without a body.
        stall_at: the request, from 1, at which nobody is answered for `stall_seconds`; 0 = never.
        stall_seconds: how long.
    """

    answers: dict[bytes, bytes | int]
    stall_at: int = 0
    stall_seconds: float = 0.0
    asked: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def answer(self, serial: bytes) -> bytes | int:
        with self._lock:  # one at a time, so that a stall is everyone's
            self.asked += 1
            if self.asked == self.stall_at:
                time.sleep(self.stall_seconds)
            return self.answers[serial]


@contextmanager
def serving(responder: ToyResponder) -> Iterator[ToyResponder]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["Content-Length"]))
            found = responder.answer(request[-16:])
            status, body = (found, b"") if isinstance(found, int) else (200, found)
            head = f"HTTP/1.1 {status} -\r\nContent-Length: {len(body)}\r\n\r\n"
            self.wfile.write(head.encode() + body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    responder.url = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield responder
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
