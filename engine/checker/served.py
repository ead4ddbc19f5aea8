"""What a running host serves, against the record: CRLs, and OCSP for every certificate or a sample."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlsplit

from cryptography.x509 import ocsp

from engine.algorithms import SignatureAlgorithm
from engine.checker.authority import Authority, verify
from engine.checker.crl_files import REASON_NUMBERS, CrlFile, paths_of, seconds
from engine.checker.finding import Finding, judge_each
from engine.checker.ocsp_layout import CertIds
from engine.checker.record import Record, snapshot

_TIMEOUT_SECONDS = 30.0
"""For an answer over HTTP. A guess: far longer than a live signature is waited for."""

AGREE_SECONDS = 30.0
"""How long answers may stay behind the record, all in all, before that is a finding: a status goes through pre-signer
and follower first. A guess; bench.ocsp measures far less."""

_REST_SECONDS = 0.2
"""Between two looks while an answer is behind. A guess."""

_ISSUED = (
    "SELECT reservation.serial, entry.item_id IS NOT NULL FROM signature"
    " JOIN reservation ON reservation.item_id = signature.item_id"
    " JOIN certificate_status AS status ON status.item_id = signature.item_id"
    " LEFT JOIN crl_entry AS entry ON entry.partition_id = status.partition_id"
    " AND entry.item_id = signature.item_id"
    " WHERE reservation.not_after > :now ORDER BY reservation.serial"
)

_STANDING = (
    "SELECT entry.since, entry.reason FROM certificate_status AS status LEFT JOIN crl_entry AS entry"
    " ON entry.partition_id = status.partition_id AND entry.item_id = status.item_id WHERE status.item_id IN"
    " (SELECT item_id FROM serial_claim WHERE serial = :serial)"
)

Standing = tuple[int | None, int]
"""revocationTime in seconds since the epoch, None while good; CRLReason, 0 for none."""


class Host:
    """A host that is asked over HTTP, on one connection.

    Args:
        url: such as http://127.0.0.1:8080; a path in it is kept.

    Raises:
        ValueError: it is no such URL.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"not the http URL of a host: {url}")
        self._path = parts.path.rstrip("/")
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=_TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._connection.close()

    def get(self, path: str) -> bytes | None:
        """Return what is at a path; None where there is nothing.

        Raises:
            OSError: the host does not answer, or with another status.
        """
        return self._body("GET", quote(path), None)

    def ask(self, request: bytes) -> bytes:
        """Send an OCSPRequest; return the OCSPResponse.

        Raises:
            OSError: the host does not answer, or not with one.
        """
        body = self._body("POST", "/", request)
        if body is None:
            raise OSError("the OCSP responder is not there")
        return body

    def _body(self, method: str, path: str, content: bytes | None) -> bytes | None:
        fields = {} if content is None else {"Content-Type": "application/ocsp-request"}
        try:
            self._connection.request(method, self._path + path, content, fields)
            answer = self._connection.getresponse()
            body = answer.read()
        except http.client.HTTPException as error:
            raise OSError(f"{self._path}{path}: {type(error).__name__}") from error
        if answer.status == http.HTTPStatus.NOT_FOUND:
            return None
        if answer.status != http.HTTPStatus.OK:
            raise OSError(f"{self._path}{path}: HTTP status {answer.status}")
        return body


def served_files(record: Record, url: str, directory: Path) -> dict[Path, CrlFile]:
    """Fetch the CRL of every scope, as if each were the file it is served from.

    Args:
        record: tells the scopes.
        url: of the host.
        directory: where the files would be.

    Raises:
        OSError: the host does not answer.
        ValueError: a scope's URI cannot have a file.
    """
    found = {}
    with Host(url) as host:
        uris = [uri for (uri,) in record.rows("SELECT uri FROM crl_scope")]
        for path in (path for uri in uris for path in paths_of(directory, uri)):
            octets = host.get("/" + path.relative_to(directory).as_posix())
            if octets is not None:
                found[path] = CrlFile(path, octets, hashlib.sha256(octets).digest())
    return found


class OcspQuestions:
    """Asks a responder about certificates.

    Args:
        url: of the responder.
        record: the URL of the record, read anew for whatever does not agree at once.
        authority: the CA, and the responders it certified.
        algorithm: with what they sign.
    """

    def __init__(self, url: str, record: str, authority: Authority, algorithm: SignatureAlgorithm) -> None:
        self._host = Host(url)
        self._record = record
        self._authority = authority
        self._algorithm = algorithm
        self._cert_ids = CertIds(authority.ca)
        self._patience = AGREE_SECONDS

    def check(self, sample: int | None) -> Iterator[Finding]:
        """Ask about every certificate that has not expired.

        Args:
            sample: ask about the withdrawn ones and about so many others, spread over all of them; None: about all.

        What does not agree is asked again, and the record read again, for some seconds.
        """
        with snapshot(self._record) as record:
            rows = list(record.rows(_ISSUED, now=time.time_ns() // 1_000))
            good = [serial for serial, withdrawn in rows if not withdrawn]
            step = max(1, len(good) // sample) if sample else 1
            serials = [serial for serial, withdrawn in rows if withdrawn] + good[::step]
            asked = [(serial.hex().upper(), serial) for serial in serials]
            standing = {serial: _standing(record, serial) for _, serial in asked}
        with self._host:
            yield from judge_each(
                "ocsp-served", "serial", asked, lambda _name, serial: self._faults(serial, standing[serial])
            )

    def _faults(self, serial: bytes, recorded: Standing | None) -> Iterable[str]:
        # The answer speaks of a certificate once under each hash.
        while faults := list(dict.fromkeys(self._differences(serial, recorded))):
            if self._patience <= 0:
                return faults
            self._patience -= _REST_SECONDS
            time.sleep(_REST_SECONDS)
            with snapshot(self._record) as record:
                recorded = _standing(record, serial)
        return ()

    def _differences(self, serial: bytes, recorded: Standing | None) -> Iterable[str]:
        response = ocsp.load_der_ocsp_response(self._host.ask(self._cert_ids.question(serial)))
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            yield f"answered {response.response_status.name}"
            return
        yield from self._signature_faults(response)
        number = int.from_bytes(serial)
        told = [one for one in response.responses if one.serial_number == number]
        if not told:
            yield "the answer is about other certificates"
        now = int(time.time())
        for one in told:
            if _told(one) != recorded:
                yield f"answered {_told(one)}, the record says {recorded}"
            if not seconds(one.this_update_utc) <= seconds(response.produced_at_utc) <= now + 1:
                yield "thisUpdate, producedAt and now are out of order"
            if one.next_update_utc is None or seconds(one.next_update_utc) < now:
                yield "nextUpdate is over"

    def _signature_faults(self, response: ocsp.OCSPResponse) -> Iterable[str]:
        known = list(self._authority.responders.values())
        signers = [certificate for certificate in response.certificates if certificate in known]
        if not signers:
            yield "the answer brings no responder certificate of the CA"
        else:
            verify(signers[0], response.signature, response.tbs_response_bytes, self._algorithm)


def _standing(record: Record, serial: bytes) -> Standing | None:
    row = record.row(_STANDING, serial=serial)
    if row is None:
        return None
    since, reason = row
    return (None, 0) if since is None else (since // 1_000_000, reason or 0)


def _told(one: ocsp.OCSPSingleResponse) -> Standing | None:
    if one.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return None, 0
    if one.certificate_status is not ocsp.OCSPCertStatus.REVOKED or one.revocation_time_utc is None:
        return None
    reason = 0 if one.revocation_reason is None else REASON_NUMBERS[one.revocation_reason]
    return seconds(one.revocation_time_utc), reason
