"""A relying party that asks all the while, and remembers what it was told."""

from __future__ import annotations

import http.client
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, Hash
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.cli.prepared_home import PreparedHome
from tests.status.ocsp_home import OcspHome

_TIMEOUT_SECONDS = 30.0
_NONCE_OCTETS = 32  # RFC 9654 section 2.1
_REST_SECONDS = 0.005
"""Between two questions: others want the CPUs too."""


class RelyingParty:
    """Asks for every certificate in turn, every third time for an answer that is signed for it alone.

    Args:
        home: whose certificates.
        url: where OCSP is answered.

    Attributes:
        told: how often which certificate status was answered, or what came instead.
        wrong: what never may be answered.
    """

    def __init__(self, home: PreparedHome, url: str) -> None:
        self._address = urlsplit(url).netloc
        self._ca = OcspHome(home).certificate("ca")
        name_hash = Hash(SHA1())
        name_hash.update(self._ca.subject.public_bytes())
        key_hash = x509.SubjectKeyIdentifier.from_public_key(self._ca.public_key()).digest
        self._names = name_hash.finalize(), key_hash
        rows = home.query("SELECT serial FROM reservation ORDER BY serial")
        self._serials = [int.from_bytes(serial) for (serial,) in rows]
        self._revoked: set[int] = set()
        self.told: Counter[str] = Counter()
        self.wrong: list[str] = []

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask again and again while the block runs."""
        stop = threading.Event()
        thread = threading.Thread(target=self._ask_until, args=(stop,))
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _ask_until(self, stop: threading.Event) -> None:
        while True:
            for serial in self._serials:
                if stop.wait(_REST_SECONDS):
                    return
                self.told[self._ask(serial)] += 1

    def _ask(self, serial: int) -> str:
        name, key = self._names  # RFC 6960 section 4.1.1
        question = ocsp.OCSPRequestBuilder().add_certificate_by_hash(name, key, serial, SHA1())
        nonce = os.urandom(_NONCE_OCTETS) if self.told.total() % 3 == 0 else None
        if nonce is not None:
            question = question.add_extension(x509.OCSPNonce(nonce), critical=False)
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_SECONDS)
        try:
            headers = {"Content-Type": "application/ocsp-request"}
            connection.request("POST", "/", question.build().public_bytes(Encoding.DER), headers)
            response = ocsp.load_der_ocsp_response(connection.getresponse().read())
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__
        finally:
            connection.close()
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response.response_status.name
        return self._judge(serial, nonce, response)

    def _judge(self, serial: int, nonce: bytes | None, response: ocsp.OCSPResponse) -> str:
        (responder,) = response.certificates
        responder.verify_directly_issued_by(self._ca)
        key, hash_used = responder.public_key(), response.signature_hash_algorithm
        assert isinstance(key, RSAPublicKey)
        assert hash_used is not None
        try:
            key.verify(response.signature, response.tbs_response_bytes, PKCS1v15(), hash_used)
        except InvalidSignature:
            self.wrong.append(f"{serial:x}: the signature is wrong")
        answered = [one.value for one in response.extensions if isinstance(one.value, x509.OCSPNonce)]
        if [one.nonce for one in answered] != [nonce] * (nonce is not None):
            self.wrong.append(f"{serial:x}: another nonce")
        told = {
            (one.certificate_status, one.revocation_reason)
            for one in response.responses
            if one.serial_number == serial
        }
        if len(told) != 1:
            self.wrong.append(f"{serial:x}: {told}")
            return "nothing"
        ((status, reason),) = told
        if status is ocsp.OCSPCertStatus.REVOKED and reason is not x509.ReasonFlags.certificate_hold:
            self._revoked.add(serial)
        elif serial in self._revoked:
            self.wrong.append(f"{serial:x}: {status.name} after it was revoked")
        return status.name if nonce is None else f"{status.name} live"
