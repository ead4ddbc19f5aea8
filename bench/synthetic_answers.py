"""OCSP answers by the million in a home's record, signed by a key in memory: a token would take half an hour.

The key's certificate is issued by the home's CA, as any responder's is; so whoever verifies the answers sees what it
would see in earnest.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial

import trio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from sqlalchemy import func, insert, select

from bench.ocsp_store import BOTH_CERTIFICATES, BOTH_HASHES, VALIDITY
from engine.algorithms import SignatureAlgorithm
from engine.authority.configured_profiles import configured_profiles
from engine.authority.context import AuthorityContext
from engine.authority.signing import open_signer, open_token, read_pin
from engine.status.answer_layout import AnswerLayout
from engine.status.card_record import AnswerHead, pack_answer, serials_check
from engine.status.parties import layout_of
from engine.store.ocsp_answers import NewAnswer, reserve_batch, store_answers
from engine.store.schema import authority_certificate, card, to_microseconds
from engine.store.standings import standings_of_card_range
from engine.x509.authority_certificates import authority_tbs
from engine.x509.certificate import assemble
from engine.x509.issuer import key_identifier
from engine.x509.ocsp_response import IssuerNames
from engine.x509.serial_numbers import SerialNumbers
from engine.x509.validity import validity_for

BATCH = 512
"""Cards of a batch, as pre-signing has it."""

BATCHES_AT_ONCE = 64
"""Signed before they are stored. A guess: some 30 MB."""

ROLE = "ocsp-2"


@dataclass(frozen=True, slots=True)
class Responder:
    """A responder that signs from memory.

    Attributes:
        private_key: PKCS#8, DER.
        certificate: DER.
        number: its row in authority_certificate.
        issuer: the CA certificate, DER.
        algorithm: with what it signs.
        moment: thisUpdate of its answers, in seconds since the epoch.
    """

    private_key: bytes
    certificate: bytes
    number: int
    issuer: bytes
    algorithm: SignatureAlgorithm
    moment: int


def add_answers(context: AuthorityContext) -> None:
    """Give every card of a home an answer, and the home the responder that signed them."""
    responder = trio.run(_new_responder, context)
    now = context.clock.now()
    with context.store.read() as connection:
        last = connection.execute(select(func.max(card.c.id))).scalar_one()
    starts = range(0, last, BATCH)
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for place in range(0, len(starts), BATCHES_AT_ONCE):
            part = starts[place : place + BATCHES_AT_ONCE]
            signed = processes.map(partial(_sign, responder), [_serials(context, start) for start in part])
            for start, answers in zip(part, signed, strict=True):
                _store(context, responder.number, start, answers, now)


def _serials(context: AuthorityContext, after: int) -> list[tuple[bytes, ...]]:
    with context.store.read() as connection:
        cards = standings_of_card_range(connection, after, after + BATCH)
    return [tuple(one.serial for one in standing.certificates) for standing in cards]


def _sign(responder: Responder, cards: Sequence[tuple[bytes, ...]]) -> list[bytes]:
    layout, key = _opened(responder)
    answers = []
    for serials in cards:
        head = AnswerHead(
            revision=0,
            serials_check=serials_check(serials),
            responder=responder.number,
            hashes=BOTH_HASHES,
            covered=BOTH_CERTIFICATES,
            produced_at=responder.moment,
            this_update=responder.moment,
            next_update=responder.moment + VALIDITY,
            archive_cutoff=0,
        )
        tbs = layout.tbs_all_good(serials, head)
        answers.append(pack_answer(head, key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())))
    return answers


@cache
def _opened(responder: Responder) -> tuple[AnswerLayout, rsa.RSAPrivateKey]:
    key = load_der_private_key(responder.private_key, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    issuer = IssuerNames.from_certificate(responder.issuer)
    return layout_of(issuer, responder.certificate, responder.algorithm), key


def _store(
    context: AuthorityContext, responder: int, after: int, answers: Sequence[bytes], now: datetime
) -> None:
    renew_at = to_microseconds(now) + VALIDITY * 500_000
    with context.store.write() as connection:
        batch = reserve_batch(connection, responder_id=responder, digests=b"", urgent=False, now=now)
        rows = [
            (NewAnswer(number, batch, responder, renew_at, answer), 0)
            for number, answer in enumerate(answers, after + 1)
        ]
        store_answers(connection, batch, rows, now)


async def _new_responder(context: AuthorityContext) -> Responder:
    """Make a key in memory, and have the CA's key in the token certify it."""
    key = rsa.generate_private_key(65537, 2048)
    public_key = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    now, issuer = context.clock.now(), context.authority.issuer
    profile = configured_profiles(context.configuration).authority("ocsp")
    (serial,) = SerialNumbers(context.clock).take(1)
    tbs = authority_tbs(profile, issuer, validity_for(profile, now, issuer.not_after), serial, public_key)
    token, pin = open_token(context.home, context.configuration), read_pin(context.configuration)
    ca = context.authority.ca.key
    async with open_signer(context.home, context.configuration, token, pin, [ca]) as signer:
        signature = await signer(ca, issuer.algorithm)(tbs)
    with context.store.write() as connection:
        number = connection.execute(
            insert(authority_certificate)
            .values(
                role=ROLE,
                key_label=ROLE,
                key_identifier=key_identifier(public_key),
                serial=serial,
                tbs=tbs,
                signature=signature,
                reserved_at=now,
            )
            .returning(authority_certificate.c.id)
        ).scalar_one()
    return Responder(
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        assemble(tbs, issuer.algorithm, signature),
        number,
        context.authority.ca.certificate,
        issuer.algorithm,
        int(now.timestamp()),
    )
