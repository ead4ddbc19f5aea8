"""What the live signer answers: the request read anew, the standings of this very moment, a tbsResponseData to sign."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from engine.algorithms import SignatureAlgorithm
from engine.authority.ocsp_responders import OcspResponderCertificate
from engine.clock import Clock
from engine.config import HostConfiguration
from engine.errors import StoreError
from engine.pkcs11.keys import KeyReference
from engine.status.status_store import CertificateStanding
from engine.store.schema import CertificateState
from engine.x509 import der
from engine.x509.certificate import verifier
from engine.x509.ocsp_response import (
    IssuerNames,
    ResponseStatus,
    SingleStatus,
    archive_cutoff,
    assemble_response,
    extension,
    response_data,
    single_response,
)
from responders.fresh_status import FreshStatus, StatusReading
from responders.ocsp_request import NONCE, MalformedRequest, Question, parse_request
from responders.retention import oldest_end
from responders.signature_choice import chosen_algorithm

VALIDITY_SECONDS = 3_600
"""thisUpdate to nextUpdate of a live answer. A guess: clients of RFC 9919 want a nextUpdate (section 3.2.4); an hour
forgives a relying party's clock, and the answer was asked for now."""

_EXTENDED_REVOKE = extension("1.3.6.1.5.5.7.48.1.9", der.null())  # RFC 6960 section 4.4.8
_NEVER_ISSUED = SingleStatus("revoked", 0, 6)  # 1970-01-01, certificateHold: RFC 6960 section 2.2
_UNKNOWN = SingleStatus("unknown")


class Responder:
    """A responder certificate with its key.

    Args:
        issued: the certificate, and the label of its key.
    """

    def __init__(self, issued: OcspResponderCertificate) -> None:
        self.role = issued.role
        self.certificate = issued.role.certificate
        self.key: KeyReference = issued.role.key
        self.not_after = int(issued.not_after.timestamp())
        names = IssuerNames.from_certificate(self.certificate)
        self.key_hash = names.hashes("sha1")[1]  # ResponderID byKey: RFC 6960 section 4.2.1
        self._verifiers: dict[SignatureAlgorithm, Callable[[bytes, bytes], None]] = {}

    def verify(self, algorithm: SignatureAlgorithm, message: bytes, signature: bytes) -> None:
        """Verify a signature of the key.

        Raises:
            SignatureInvalid: it is none.
        """
        verify = self._verifiers.get(algorithm)
        if verify is None:
            verify = self._verifiers[algorithm] = verifier(self.role.public_key, algorithm)
        verify(message, signature)


@dataclass(frozen=True, slots=True)
class ToSign:
    """An answer that only lacks its signature.

    Attributes:
        tbs: the tbsResponseData.
        algorithm: with what it is signed.
        responder: by whom.
        issuer: index of the CA key whose certificates it is about.
        standings: what it says, by serial.
    """

    tbs: bytes
    algorithm: SignatureAlgorithm
    responder: Responder
    issuer: int
    standings: Mapping[bytes, CertificateStanding | None]

    def signed(self, signature: bytes) -> bytes:
        """Return the whole OCSPResponse.

        Raises:
            SignatureInvalid: the signature does not verify; nothing goes out.
        """
        self.responder.verify(self.algorithm, self.tbs, signature)
        return assemble_response(self.tbs, self.algorithm, signature, [self.responder.certificate])


class LiveAnswers:
    """Makes of a request the answer to be signed.

    Args:
        reader: the status store of the live signer's host.
        responders: the responders whose keys can sign.
        configuration: the settings.
        clock: tells the time.
    """

    def __init__(
        self,
        reader: StatusReading,
        responders: Iterable[Responder],
        configuration: HostConfiguration,
        clock: Clock,
    ) -> None:
        self._settings = configuration.ocsp
        self._algorithm = configuration.x509.signature_algorithm
        self._responders = {one.certificate: one for one in responders}
        self._status = FreshStatus(reader, configuration.ocsp.stale_seconds)
        self._clock = clock

    def lacks_a_responder(self) -> bool:
        """Whether the store names a responder whose key is not at hand: one that was certified after the start.

        Raises:
            StoreError: the store cannot be read.
        """
        self._status.look(int(self._clock.now().timestamp()))
        return any(one.responder and one.responder not in self._responders for one in self._status.issuers)

    def prepare(self, request: bytes) -> ToSign | ResponseStatus:
        """Return what to sign for a request, or why there is no answer.

        Args:
            request: an OCSPRequest, from whomever.
        """
        now = int(self._clock.now().timestamp())
        try:
            question = parse_request(request)
            self._status.look(now)
            return self._answer(question, now)
        except MalformedRequest:
            return ResponseStatus.MALFORMED_REQUEST
        except StoreError:
            return ResponseStatus.TRY_LATER

    def still_holds(self, signed: ToSign) -> bool:
        """Whether the store says yet what an answer says, and is current: the token may have taken its time with it.

        Args:
            signed: as `prepare` returned it. Where a status has changed since, it is an old answer: it must not go out.
        """
        try:
            self._status.look(int(self._clock.now().timestamp()))
            standing = self._status.reader.standing
            return self._status.is_fresh and all(
                standing(signed.issuer, serial) == said for serial, said in signed.standings.items()
            )
        except StoreError:
            return False

    def _answer(self, question: Question, now: int) -> ToSign | ResponseStatus:
        issuers = {self._status.known.of(asked) for asked in question.asked}
        issuer = issuers.pop()
        if issuer is None or issuers:
            # One responder answers for one CA key (RFC 6960 section 4.2.2.2), so a mixed list has no answer.
            return ResponseStatus.UNAUTHORIZED
        responder = self._responders.get(issuer.responder)
        if not self._status.is_fresh or responder is None or responder.not_after <= now:
            return ResponseStatus.TRY_LATER
        standings = [self._status.reader.standing(issuer.index, asked.serial) for asked in question.asked]
        oldest = oldest_end(now, self._settings.archive_cutoff_years)
        if any(standing is not None and standing.not_after < oldest for standing in standings):
            return ResponseStatus.UNAUTHORIZED  # RFC 5019 section 2.2.3: no longer a record to answer from
        singles = [
            self._single(asked.encoding, standing, now, responder)
            for asked, standing in zip(question.asked, standings, strict=True)
        ]
        extensions = self._extensions(question, never_issued=None in standings)
        tbs = response_data(responder.key_hash, now, singles, extensions)
        algorithm = chosen_algorithm(question.preferred, self._algorithm)
        said = {asked.serial: standing for asked, standing in zip(question.asked, standings, strict=True)}
        return ToSign(tbs, algorithm, responder, issuer.index, said)

    def _single(
        self, certificate_id: bytes, standing: CertificateStanding | None, now: int, responder: Responder
    ) -> bytes:
        known_at = self._status.known_at
        if standing is None:
            status = _NEVER_ISSUED if self._settings.extended_revoke else _UNKNOWN
        elif standing.state is CertificateState.GOOD:
            status = SingleStatus("good")
        else:
            status = SingleStatus("revoked", standing.since, standing.reason)
            known_at = max(known_at, standing.since or 0)  # written since the last sign of life
        this_update = min(now, known_at)
        next_update = min(this_update + VALIDITY_SECONDS, responder.not_after)
        cutoff = b""
        if standing is not None and standing.not_after < now:
            cutoff = archive_cutoff(oldest_end(now, self._settings.archive_cutoff_years))
        return single_response(certificate_id, status, this_update, next_update, cutoff)

    def _extensions(self, question: Question, *, never_issued: bool) -> bytes:
        joined = b""
        if question.nonce_value is not None and self._settings.nonce != "ignore":
            joined += extension(NONCE, question.nonce_value)
        if never_issued and self._settings.extended_revoke:
            joined += _EXTENDED_REVOKE
        return joined
