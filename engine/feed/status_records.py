"""The records of cards as they come over the feed: each is read within its bounds, each answer verified.

That a piece is signed by the operations key says that the CA's host sent it. What relying parties are told has to bear
the responder's own signature all the same, so it is verified here, before it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from engine.algorithms import SignatureAlgorithm
from engine.errors import FeedRejected, SealmintError, SignatureInvalid
from engine.feed.trust import FeedTrust, certificate_from, check_issued
from engine.status.answer_layout import AnswerLayout
from engine.status.card_record import (
    ANSWER_HEAD,
    ARCHIVE_CUTOFF,
    COVERED,
    HASHES,
    MOST_CERTIFICATES,
    NEXT_UPDATE,
    NO_REASON,
    RESPONDER,
    THIS_UPDATE,
    answer_head,
    plain_octets,
    serials_check,
    unpack,
    unpack_plainly,
)
from engine.status.parties import named_parties
from engine.status.status_store_writer import PackedCard
from engine.store.schema import CertificateState
from engine.x509.certificate import verifier
from engine.x509.ocsp_response import HASH_NAMES

_STATES = frozenset(map(int, CertificateState))
_REASONS = frozenset({1, 2, 3, 4, 5, 6, 8, 9, 10, NO_REASON})
"""CRLReason as it may stand in an answer (RFC 5280 section 5.3.1); 0 is said by leaving it out."""

_FIRST_PLACES = 3
"""Revision, issuer and number of certificates stand before the values of the certificates, five for each."""

_ALL_HASHES = (1 << len(HASH_NAMES)) - 1


class UnknownResponder(FeedRejected):
    """An answer is of a responder that is not among the parties known: there may be newer ones."""


class _Responder(NamedTuple):
    layout: AnswerLayout
    verify: Callable[[bytes, bytes], None]
    not_before: int
    not_after: int


class StatusRecords:
    """Reads and verifies records of cards.

    Args:
        parties: who issues and who answers, as `parties_octets` packs it.
        trust: the CA that must have certified them.

    Raises:
        FeedRejected: they are not the CA's.
    """

    def __init__(self, parties: bytes, trust: FeedTrust) -> None:
        self.octets = parties
        try:
            self._read(parties, trust)
        except FeedRejected:
            raise
        except (SealmintError, ValueError, KeyError, TypeError, IndexError) as error:
            raise FeedRejected(
                "issuers and responders cannot be read", place="parties", rule=str(error)
            ) from error

    def _read(self, parties: bytes, trust: FeedTrust) -> None:
        found = named_parties(parties)
        for identifier, certificate in found.issuers:
            if certificate != trust.ca_octets or identifier != trust.issuer.key_identifier:
                raise FeedRejected(
                    "statuses of another CA", place="parties", value=identifier.hex(), rule=trust.feed
                )
        self._issuers = len(found.issuers)
        layouts = found.layouts()
        self._responders = {
            one.number: _responder(one.certificate, layouts[one.number], found.algorithm, trust)
            for one in found.responders
        }

    def packed_cards(self, entries: Iterable[tuple[int, bytes]]) -> list[PackedCard]:
        """Check the entries of a piece.

        Raises:
            FeedRejected: one of them is no record, or its answer is not the responder's.
        """
        return [self._packed_card(card, octets) for card, octets in entries]

    def _packed_card(self, card: int, octets: bytes) -> PackedCard:
        size = plain_octets(octets)
        if size is None or (len(octets) != size and len(octets) <= size + ANSWER_HEAD.size):
            raise _wrong(card, f"1 to {MOST_CERTIFICATES} certificates, and an answer or none", len(octets))
        values, head, signature = unpack_plainly(octets)
        serials = values[_FIRST_PLACES::5]
        if values[1] >= self._issuers:
            raise _wrong(card, "of a known issuer", values[1])
        if not (_STATES.issuperset(values[4::5]) and _REASONS.issuperset(values[6::5])):
            raise _wrong(card, "a state that there is, with a CRLReason")
        if head is not None:
            self._check_answer(card, octets, values[0], serials, values[4::5], head, signature)
        return PackedCard(card, octets, values[1], serials)

    def _check_answer(
        self,
        card: int,
        octets: bytes,
        revision: int,
        serials: tuple[bytes, ...],
        states: tuple[int, ...],
        head: tuple[int, ...],
        signature: bytes,
    ) -> None:
        everything = (1 << len(serials)) - 1
        if head[0] != revision or head[1] != serials_check(serials):
            raise _wrong(card, "an answer of this very revision and these certificates", head[0])
        if not (0 < head[COVERED] <= everything and 0 < head[HASHES] <= _ALL_HASHES):
            raise _wrong(card, "an answer covers certificates that there are", head[COVERED])
        responder = self._responders.get(head[RESPONDER])
        if responder is None:
            raise UnknownResponder(
                "an answer of an unknown responder", place=f"card {card}", value=head[RESPONDER]
            )
        if not responder.not_before <= head[THIS_UPDATE] < head[NEXT_UPDATE] <= responder.not_after:
            raise _wrong(card, "an answer's times lie within the responder's certificate", head[THIS_UPDATE])
        if any(states) or head[ARCHIVE_CUTOFF] or head[COVERED] != everything:
            record = unpack(octets)
            tbs = responder.layout.tbs(record.certificates, answer_head(record.answer))
        else:
            tbs = responder.layout.tbs_all_good(serials, head)
        try:
            responder.verify(tbs, signature)
        except SignatureInvalid as error:
            raise _wrong(card, "the answer's signature is the responder's", signature[:8].hex()) from error


def _responder(
    octets: bytes, layout: AnswerLayout, algorithm: SignatureAlgorithm, trust: FeedTrust
) -> _Responder:
    place = "OCSP responder"
    certificate = certificate_from(octets, place)
    check_issued(certificate, trust.ca, place)
    try:
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError) as error:
        raise _no_responder(certificate) from error
    if ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        raise _no_responder(certificate)
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return _Responder(
        layout,
        verifier(key, algorithm),
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
    )


def _no_responder(certificate: x509.Certificate) -> FeedRejected:
    return FeedRejected(
        "this certificate is no OCSP responder's",
        place="parties",
        value=f"{certificate.serial_number:x}",
        rule="id-kp-OCSPSigning, RFC 6960 section 4.2.2.2",
    )


def _wrong(card: int, rule: str, value: object = None) -> FeedRejected:
    return FeedRejected("the record of a card is wrong", place=f"card {card}", value=value, rule=rule)
