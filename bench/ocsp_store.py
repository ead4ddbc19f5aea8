"""A status store with real answers for many certificates, made quickly: an RSA-2048 key in memory signs them.

The listener sees what it would see in earnest: cards of two certificates, each pair under one signature and both CertID
hashes, batches with times of their own spread over a day, a responder certificate like the real one.
"""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from engine.algorithms import SignatureAlgorithm
from engine.status.answer_layout import AnswerLayout
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
from engine.status.status_store_writer import new_generation
from engine.store.schema import CertificateState
from engine.x509.ocsp_response import IssuerNames

BATCH = 500
"""Cards of a batch, which share their times."""

VALIDITY = 48 * 3600
BOTH_HASHES = BOTH_CERTIFICATES = 0b11
RESPONDER = 1
ALGORITHM = SignatureAlgorithm.RSA_PKCS1_SHA256


@dataclass(frozen=True, slots=True)
class SyntheticAuthority:
    """A CA with its OCSP responder; keys in memory."""

    ca_certificate: bytes
    responder_certificate: bytes
    responder_key: bytes

    @property
    def issuer(self) -> IssuerNames:
        """The CA as CertIDs name it."""
        return IssuerNames.from_certificate(self.ca_certificate)


def make_authority() -> SyntheticAuthority:
    """Make a CA and a responder, their certificates shaped like the real ones."""
    ca_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    name = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "TW"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "行政院"),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "工商憑證管理中心"),
    ]
    now = datetime.now(UTC).replace(microsecond=0)
    ca_name = x509.Name(name)

    def builder(subject: x509.Name, public_key: rsa.RSAPublicKey) -> x509.CertificateBuilder:
        return x509.CertificateBuilder(
            issuer_name=ca_name,
            subject_name=subject,
            public_key=public_key,
            serial_number=x509.random_serial_number() >> 32,
            not_valid_before=now - timedelta(days=1),
            not_valid_after=now + timedelta(days=365),
        ).add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)

    ca = (
        builder(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    ca_issuers = x509.UniformResourceIdentifier(
        "http://moeaca.nat.gov.tw/repository/Certs/IssuedToThisCA.p7b"
    )
    responder_name = x509.Name([*name, x509.NameAttribute(NameOID.COMMON_NAME, "OCSP Responder")])
    responder = (
        builder(responder_name, key.public_key())
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .add_extension(
            x509.AuthorityInformationAccess(
                [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, ca_issuers)]
            ),
            critical=False,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return SyntheticAuthority(ca.public_bytes(Encoding.DER), responder.public_bytes(Encoding.DER), private)


def fill(directory: Path, authority: SyntheticAuthority, certificates: int, seed: int = 0) -> list[bytes]:
    """Build a status store with an answer for every certificate.

    Args:
        directory: where.
        authority: who signs.
        certificates: how many; two a card.
        seed: of the serials and times.

    Returns:
        the serials.
    """
    choice = random.Random(seed)
    serials = [b"\x40" + choice.randbytes(15) for _ in range(certificates + certificates % 2)]
    now = int(time.time())
    batches = [
        (serials[place : place + 2 * BATCH], now - choice.randrange(24 * 3600))
        for place in range(0, len(serials), 2 * BATCH)
    ]
    parties = parties_octets(
        [(b"synthetic", authority.ca_certificate)],
        [ResponderCertificate(RESPONDER, 0, authority.responder_certificate, True)],
        ALGORITHM,
    )
    fresh = Freshness(1, now)
    with new_generation(directory) as writer, ProcessPoolExecutor(os.cpu_count()) as processes:
        first = 1
        for records in processes.map(_signed_batch, [authority] * len(batches), batches):
            writer.write(enumerate(records, first), fresh, parties)
            first += len(records)
    return serials


def _signed_batch(authority: SyntheticAuthority, batch: tuple[list[bytes], int]) -> list[CardRecord]:
    serials, this_update = batch
    layout, key = _opened(authority)
    not_after = this_update + 365 * 24 * 3600
    records = []
    for pair in zip(serials[::2], serials[1::2], strict=True):
        certificates = tuple(
            CertificateStanding(serial, CertificateState.GOOD, 0, NO_REASON, not_after) for serial in pair
        )
        head = AnswerHead(
            revision=1,
            serials_check=serials_check(pair),
            responder=RESPONDER,
            hashes=BOTH_HASHES,
            covered=BOTH_CERTIFICATES,
            produced_at=this_update,
            this_update=this_update,
            next_update=this_update + VALIDITY,
            archive_cutoff=0,
        )
        signature = key.sign(layout.tbs(certificates, head), padding.PKCS1v15(), hashes.SHA256())
        records.append(CardRecord(1, 0, certificates, pack_answer(head, signature)))
    return records


@cache
def _opened(authority: SyntheticAuthority) -> tuple[AnswerLayout, rsa.RSAPrivateKey]:
    key = load_der_private_key(authority.responder_key, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return layout_of(authority.issuer, authority.responder_certificate, ALGORITHM), key
