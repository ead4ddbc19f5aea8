"""A status store of a toy CA, written by the follower's own writer; the OCSP key is in memory."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.algorithms import SignatureAlgorithm
from engine.authority.ocsp_responders import OcspResponderCertificate
from engine.authority.role_certificates import RoleCertificate
from engine.config import Configuration
from engine.pkcs11.keys import KeyReference
from engine.status.card_record import (
    NO_REASON,
    AnswerHead,
    CardRecord,
    CertificateStanding,
    pack_answer,
    serials_check,
)
from engine.status.parties import ResponderCertificate, layout_of, parties_octets
from engine.status.status_store import Freshness
from engine.status.status_store_writer import StatusWriter, new_generation
from engine.store.schema import CertificateState
from engine.x509.ocsp_response import IssuerNames
from tests.judges.toy_authority import NOW, Holder, ToyAuthority

START = int(NOW.timestamp())
"""When the store was written. The machine's clock, for OpenSSL goes by it."""

ALGORITHM = SignatureAlgorithm.RSA_PKCS1_SHA256
HASHES: dict[str, type[SHA256 | SHA384 | SHA512]] = {"sha256": SHA256, "sha384": SHA384, "sha512": SHA512}
YEAR = 31_557_600
HOUR = 3_600

GOOD, ENCRYPTION, HELD, REVOKED, WITHDRAWN, EXPIRED, LONG_EXPIRED, OTHER_GOOD, NEVER_ISSUED = (
    bytes((0x40, kind)) + bytes(range(kind, kind + 14)) for kind in range(9)
)
"""Serials, by what has become of their certificates. GOOD and ENCRYPTION are on one card."""


def der_of(holder: Holder) -> bytes:
    return holder.certificate.public_bytes(Encoding.DER)


NOBODY_FOLLOWS = 2**41
"""As `[ocsp].stale_seconds`: the store counts as current though nobody keeps it up."""


def configuration(**ocsp: object) -> Configuration:
    """Settings as they are by default, but for some of `[ocsp]`."""
    return Configuration.model_validate({"token": {"module": "/none", "label": "none"}, "ocsp": ocsp})


def sign(holder: Holder, message: bytes, algorithm: SignatureAlgorithm = ALGORITHM) -> bytes:
    return holder.key.sign(message, padding.PKCS1v15(), HASHES[algorithm.hash_name]())


def standing(
    serial: bytes,
    state: CertificateState = CertificateState.GOOD,
    since: int = 0,
    reason: int = NO_REASON,
    not_after: int = START + YEAR,
) -> CertificateStanding:
    return CertificateStanding(serial, int(state), since, reason, not_after)


CARDS: dict[int, tuple[tuple[CertificateStanding, ...], bool]] = {
    1: ((standing(GOOD), standing(ENCRYPTION)), True),
    2: ((standing(HELD, CertificateState.HELD, START - 50, 6),), True),
    3: ((standing(REVOKED, CertificateState.REVOKED, START - 5_000, 1),), True),
    4: ((standing(WITHDRAWN),), False),
    5: ((standing(EXPIRED, not_after=START - 10),), False),
    6: ((standing(LONG_EXPIRED, not_after=START - 3 * YEAR),), False),
    7: ((standing(OTHER_GOOD),), True),
}
"""The certificates of each card, and whether its answer is signed."""


class SyntheticStatus:
    """The toy CA, and what its status store says.

    Args:
        directory: where the store is.
        toy: the CA.
    """

    def __init__(self, directory: Path, toy: ToyAuthority) -> None:
        self.directory = directory
        self.toy = toy
        self.issuer = IssuerNames.from_certificate(der_of(toy.ca))
        self.responder = toy.responder

    def build(self, cards: Iterable[int] = tuple(CARDS), written_at: int = START) -> None:
        """Write the store anew, with these cards and this sign of life; readers change over."""
        with new_generation(self.directory) as writer:
            self.write_parties(writer, written_at)
            writer.write([(card, self._record(card)) for card in cards], Freshness(1, written_at))

    def write_parties(self, writer: StatusWriter, written_at: int = START) -> None:
        current = ResponderCertificate(1, 0, der_of(self.responder), current=True)
        identifier = self.toy.ca.key_hash
        parties = parties_octets([(identifier, der_of(self.toy.ca))], [current], ALGORITHM)
        writer.write([], Freshness(1, written_at), parties)

    def _record(self, card: int) -> CardRecord:
        certificates, is_signed = CARDS[card]
        record = CardRecord(1, 0, certificates, b"")
        if not is_signed:
            return record
        check = serials_check([one.serial for one in certificates])
        covered = (1 << len(certificates)) - 1
        until = START + 48 * HOUR
        head = AnswerHead(1, check, 1, 0b11, covered, START, START, until, 0)
        layout = layout_of(self.issuer, der_of(self.responder), ALGORITHM)
        return record._replace(answer=pack_answer(head, sign(self.responder, layout.tbs(certificates, head))))

    def issued_responder(self) -> OcspResponderCertificate:
        """The responder as the record has it."""
        key = self.responder.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        role = RoleCertificate(
            "ocsp", der_of(self.responder), key, self.responder.key_hash, KeyReference("ocsp")
        )
        return OcspResponderCertificate(
            1, role, datetime(2020, 1, 1, tzinfo=UTC), NOW.replace(year=NOW.year + 1)
        )
