"""OCSP questions: by POST, by GET as a cache in front of many clients sends them, and with a nonce."""

from __future__ import annotations

import os
import random
import re
from base64 import b64encode
from collections import OrderedDict
from dataclasses import dataclass
from urllib.parse import quote

from bench.load.expected_status import ExpectedStatus
from bench.load.failures import NoAnswer, WrongAnswer
from bench.load.ocsp_verdict import Asked, OcspVerdict
from bench.load.popularity import Popularity
from bench.load.question import HttpAnswer, Question
from bench.load.targets import Target, Targets
from engine.x509 import der
from engine.x509.ocsp_response import ResponseStatus, cert_id, error_response, extension

NONCE = "1.3.6.1.5.5.7.48.1.2"  # id-pkix-ocsp-nonce, RFC 9654 section 2
NONCE_OCTETS = 32  # section 2.1: at least this many

_POSTED = {"Content-Type": "application/ocsp-request"}  # RFC 6960 appendix A.1
_REFUSALS = {
    error_response(status): status.name.lower().replace("_", "-")
    for status in ResponseStatus
    if status is not ResponseStatus.SUCCESSFUL
}
_SUCCESSFUL = der.element(0x0A, bytes((ResponseStatus.SUCCESSFUL,)))
_MAX_AGE = re.compile(r"max-age=(\d+)")


@dataclass(frozen=True, slots=True)
class OcspCa:
    """Whom OCSP is asked about, where, and how answers are judged.

    Attributes:
        url: of the responder; a GET has the request behind it.
        targets: the certificates.
        verdict: verifies answers.
        expected: judges what they say.
    """

    url: str
    targets: Targets
    verdict: OcspVerdict
    expected: ExpectedStatus

    def request(self, serial: bytes, hash_name: str, nonce: bytes | None = None) -> bytes:
        """Return an OCSPRequest for one certificate (RFC 6960 section 4.1.1)."""
        extensions = b""
        if nonce is not None:
            extensions = der.context(2, der.sequence(extension(NONCE, der.octet_string(nonce))))
        one = der.sequence(cert_id(hash_name, self.targets.issuer, serial))
        return der.sequence(der.sequence(der.sequence(one), extensions))

    def judge(self, target: Target, asked: Asked, body: bytes, answer: HttpAnswer, verify: bool) -> bool:
        """Look at an OCSPResponse; return whether it was verified.

        Args:
            target: whom it must be about.
            asked: what was asked.
            body: the response, of this answer or of the one that it says still holds.
            answer: as it came.
            verify: whether to look at more than its status.

        Raises:
            NoAnswer: it says why there is none.
            WrongAnswer: it is none, or a false one.
        """
        refusal = _REFUSALS.get(body)
        if refusal is not None:
            raise NoAnswer(refusal, asked.serial.hex())
        # SEQUENCE, its length octets, and then the status
        if body[:1] != b"\x30" or _SUCCESSFUL not in body[2:9]:
            raise WrongAnswer("unreadable", f"{asked.serial.hex()}: begins {body[:16].hex()}")
        if verify:
            said = self.verdict.said(body, asked, answer.came_at)
            fault = self.expected.fault(target, said, answer.asked_at)
            if fault is not None:
                raise WrongAnswer(fault, f"{asked.serial.hex()}: {said}, the record had {target[1:]}")
        return verify


def check_http(answer: HttpAnswer, *expected: int) -> None:
    """Raise NoAnswer where the HTTP status is none of those expected."""
    if answer.status not in expected:
        raise NoAnswer(f"http-{answer.status}", answer.body[:100].decode("utf-8", "replace"))


class Posting:
    """POST, as most relying parties do it.

    Args:
        ca: whom it is about.
        popularity: how often each certificate is asked about.
        hash_name: of the CertID.
        with_nonce: whether each question has a fresh nonce.
    """

    def __init__(self, ca: OcspCa, popularity: Popularity, hash_name: str, *, with_nonce: bool) -> None:
        self._ca = ca
        self._popularity = popularity
        self._hash_name = hash_name
        self._with_nonce = with_nonce

    def question(self, draw: float, now: float) -> Question:
        """Return the next question."""
        target = self._ca.targets[self._popularity.index(draw)]
        asked = Asked(target.serial, self._hash_name, os.urandom(NONCE_OCTETS) if self._with_nonce else None)

        def judge(answer: HttpAnswer, verify: bool) -> bool:
            check_http(answer, 200)
            verified = self._ca.judge(target, asked, answer.body, answer, verify)
            if asked.nonce is not None and asked.nonce not in answer.body:
                raise NoAnswer("nonce-ignored", asked.serial.hex())
            return verified

        return Question(self._ca.url, judge, self._ca.request(*asked), _POSTED)


@dataclass(slots=True)
class _Kept:
    """An answer that a cache keeps."""

    body: bytes
    etag: str
    until: float


KEPT = 200_000
"""Answers that all caches of a process keep together. A guess: half a gigabyte; the one used longest ago goes."""


class Caching:
    """GET, as a cache in front of clients sends it (RFC 9919 section 6, RFC 9111).

    What is fresh is answered from the cache and asks nobody. What is not any more is asked for with If-None-Match.

    Args:
        ca: whom it is about.
        popularity: how often each certificate is asked about.
        hash_name: of the CertID.
        caches: how many caches there are; each question comes to one of them.
        keep_seconds: how long one keeps an answer at most.
        seed: of the choice of the cache.
    """

    def __init__(
        self,
        ca: OcspCa,
        popularity: Popularity,
        hash_name: str,
        *,
        caches: int,
        keep_seconds: float,
        seed: int,
    ) -> None:
        self._ca = ca
        self._popularity = popularity
        self._hash_name = hash_name
        self._caches = caches
        self._keep_seconds = keep_seconds
        self._choice = random.Random(seed)
        self._kept: OrderedDict[tuple[int, bytes], _Kept] = OrderedDict()

    def question(self, draw: float, now: float) -> Question | None:
        """Return what the cache has to ask; None where it has a fresh answer."""
        target = self._ca.targets[self._popularity.index(draw)]
        place = self._choice.randrange(self._caches), target.serial
        kept = self._kept.get(place)
        if kept is not None:
            self._kept.move_to_end(place)
            if now < kept.until:
                return None
        asked = Asked(target.serial, self._hash_name)

        def judge(answer: HttpAnswer, verify: bool) -> bool:
            return self._judge(place, target, asked, kept, answer, verify)

        encoded = quote(b64encode(self._ca.request(*asked)), safe="")
        headers = {} if kept is None else {"If-None-Match": kept.etag}
        return Question(f"{self._ca.url.rstrip('/')}/{encoded}", judge, None, headers)

    def _judge(
        self,
        place: tuple[int, bytes],
        target: Target,
        asked: Asked,
        kept: _Kept | None,
        answer: HttpAnswer,
        verify: bool,
    ) -> bool:
        check_http(answer, 200, 304)
        etag, body = answer.headers.get("etag", ""), answer.body
        if answer.status == 304:
            if kept is None or etag != kept.etag:
                raise WrongAnswer("not-modified", f"{asked.serial.hex()}: 304 for {etag or 'no tag'}")
            body = kept.body
        verified = self._ca.judge(target, asked, body, answer, verify)
        self._keep(place, body, etag, answer)
        return verified

    def _keep(self, place: tuple[int, bytes], body: bytes, etag: str, answer: HttpAnswer) -> None:
        control = answer.headers.get("cache-control", "")
        age = _MAX_AGE.search(control)
        if age is None or not etag or "no-store" in control or "private" in control:
            self._kept.pop(place, None)
            return
        seconds = min(int(age[1]), self._keep_seconds)
        self._kept[place] = _Kept(body, etag, answer.came_at + seconds)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
