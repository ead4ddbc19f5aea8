"""From an OCSP request to its answer: the one function that every front calls (docs/ocsp-answers.md).

What was signed ahead is found without parsing and goes out as it is. What cannot be signed ahead (nonces, unissued
serials, SHA-384 and SHA-512, several cards at once, another signature algorithm) goes to the live signer, where there
is one. A host whose status store is not kept up to date answers tryLater: rather nothing than an old "good".
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from engine.clock import Clock
from engine.config import HostConfiguration
from engine.errors import StoreError
from engine.status.parties import KnownIssuer
from engine.status.status_store import PresignedAnswer
from engine.x509.ocsp_response import ResponseStatus, error_response
from engine.x509.serial_numbers import SERIAL_OCTETS
from responders.fresh_status import FreshStatus, StatusReading
from responders.known_questions import questions_before_serial
from responders.ocsp_request import AskedCertificate, MalformedRequest, Question, parse_request
from responders.retention import oldest_end
from responders.signature_choice import chosen_algorithm


class Caching(NamedTuple):
    """What a cache may know of an answer; times in seconds since the epoch."""

    this_update: int
    next_update: int
    etag: bytes
    """Without the quotes."""


class OcspAnswer(NamedTuple):
    """An OCSPResponse, and how it may be cached: None = not at all."""

    response: bytes
    caching: Caching | None


def _error(status: ResponseStatus) -> OcspAnswer:
    return OcspAnswer(error_response(status), None)


MALFORMED = _error(ResponseStatus.MALFORMED_REQUEST)
TRY_LATER = _error(ResponseStatus.TRY_LATER)
UNAUTHORIZED = _error(ResponseStatus.UNAUTHORIZED)


class LiveSigning(Protocol):
    """Whoever answers what was not signed ahead: `LiveSigner`."""

    async def ask(self, request: bytes) -> bytes:
        """Return the OCSPResponse to a request; tryLater where there is none in time."""
        ...


class OcspResponder:
    """Answers OCSP requests. One for each process, for its event loop only.

    Args:
        reader: the host's status store.
        configuration: the settings of `[ocsp]`, and with what answers are signed ahead.
        clock: tells the time.
        live: the live signer, or None.
    """

    def __init__(
        self, reader: StatusReading, configuration: HostConfiguration, clock: Clock, live: LiveSigning | None
    ) -> None:
        self._reader = reader
        self._settings = configuration.ocsp
        self._algorithm = configuration.x509.signature_algorithm
        self._covered = frozenset(configuration.ocsp.hashes)
        self._clock = clock
        self._live = live
        self._status = FreshStatus(reader, configuration.ocsp.stale_seconds)
        self._looked_at = -1
        self._issuers: tuple[KnownIssuer, ...] = ()
        self._before_serial: dict[bytes, int] = {}
        self._recognised: dict[bytes, int] = {}  # empty while the store is not fresh

    def at_once(self, request: bytes) -> OcspAnswer | None:
        """Answer from what was signed ahead.

        Args:
            request: an OCSPRequest, DER, as it came.

        Returns:
            The answer; None where only the live signer can give it.
        """
        try:
            now = self._now()
            issuer = self._recognised.get(request[:-SERIAL_OCTETS])
            if issuer is not None:
                signed = self._reader.presigned(issuer, request[-SERIAL_OCTETS:], now)
                if signed is not None:
                    return _given(signed)
            return self._considered(request, now, has_live=self._live is not None)
        except StoreError:  # damaged, or taken away: another host may answer
            return TRY_LATER

    async def answer(self, request: bytes) -> OcspAnswer:
        """Answer, with the live signer's help where it is needed.

        Cancelled, it leaves nothing behind: a live answer that comes later is dropped.
        """
        answer = self.at_once(request)
        if answer is not None or self._live is None:
            return answer or TRY_LATER
        live = OcspAnswer(await self._live.ask(request), None)
        if live == TRY_LATER and self._settings.nonce == "live-or-ignore":
            try:
                signed = self._considered(request, self._now(), has_live=False)
            except StoreError:
                return TRY_LATER
            return signed if signed is not None and signed.caching is not None else TRY_LATER
        return live

    def _now(self) -> int:
        """The time, in seconds since the epoch, after a look at the status store where it is another second's."""
        now = int(self._clock.now().timestamp())
        if now != self._looked_at:
            self._look(now)
        return now

    def _look(self, now: int) -> None:
        self._looked_at = now
        self._recognised = {}
        self._status.look(now)
        if self._status.issuers is not self._issuers:
            self._issuers = self._status.issuers
            self._before_serial = questions_before_serial(self._issuers, self._covered)
        if self._status.is_fresh:
            self._recognised = self._before_serial

    def _considered(self, request: bytes, now: int, *, has_live: bool) -> OcspAnswer | None:
        try:
            question = parse_request(request)
        except MalformedRequest:
            return MALFORMED
        issuers = [self._status.known.of(asked) for asked in question.asked]
        named = [issuer.index for issuer in issuers if issuer is not None]
        if len(named) < len(issuers):
            return UNAUTHORIZED
        if not self._status.is_fresh:
            return TRY_LATER
        if has_live and self._wants_live(question):
            return None
        signed = [
            self._reader.presigned(issuer, asked.serial, now) if asked.hash_name in self._covered else None
            for issuer, asked in zip(named, question.asked, strict=True)
        ]
        if signed[0] is not None and all(other == signed[0] for other in signed[1:]):
            return _given(signed[0])
        return None if has_live else self._without_live(question.asked, named, now)

    def _wants_live(self, question: Question) -> bool:
        if question.nonce is not None and self._settings.nonce != "ignore":
            return True
        return chosen_algorithm(question.preferred, self._algorithm) is not self._algorithm

    def _without_live(self, asked: tuple[AskedCertificate, ...], issuers: list[int], now: int) -> OcspAnswer:
        """Nothing signed will do: tryLater where that may change, else unauthorized (RFC 5019 section 2.2.3)."""
        if any(one.hash_name not in self._covered for one in asked):
            return UNAUTHORIZED
        may_come = True
        for issuer, one in zip(issuers, asked, strict=True):
            standing = self._reader.standing(issuer, one.serial)
            if standing is None or standing.not_after < oldest_end(now, self._settings.archive_cutoff_years):
                return UNAUTHORIZED
            may_come = may_come and self._reader.presigned(issuer, one.serial, now) is None
        return TRY_LATER if may_come else UNAUTHORIZED


def _given(signed: PresignedAnswer) -> OcspAnswer:
    return OcspAnswer(signed.response, Caching(signed.this_update, signed.next_update, signed.etag))
