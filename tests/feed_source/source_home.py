"""A home whose certificates are issued, answered and in part accepted, and its answers to questions of the feed.

In the test's process the operations key is one in memory: the home's own token is opened by processes only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from engine.authority.context import AuthorityContext
from engine.authority.role_certificates import RoleCertificate
from engine.cli.opening import open_context
from engine.clock import SystemClock
from engine.feed.entries import unpack_entries
from engine.feed.piece import PieceKind, Statement, verified
from engine.feed.publisher_answers import FeedAnswers
from engine.feed.question import Question
from engine.pkcs11.keys import KeyReference
from engine.status.act_request import ActRequest
from engine.status.acts import StatusActs
from engine.status.origins import Scope, Verb
from tests.cli.prepared_home import PreparedHome

ACCEPTED = 9
"""Items 1 to 9 of the home are accepted when tests begin; the others are not."""


@cache
def operations_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def operations_certificate() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "operations")])
    now, key = SystemClock().now(), operations_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
        .public_bytes(Encoding.DER)
    )


async def sign(message: bytes) -> bytes:
    return operations_key().sign(message, padding.PKCS1v15(), SHA256())


def question(kind: PieceKind, **parts: Any) -> Question:
    """A question with a fresh challenge."""
    return Question(kind=kind, challenge=os.urandom(16).hex(), **parts)


def checked(piece: bytes, asked: Question, signer: bytes) -> tuple[Statement, bytes]:
    """Verify a piece as a public host does."""

    def refusal(statement: Statement) -> str | None:
        same = (statement.challenge, statement.kind) == (asked.challenge, asked.kind)
        return None if same else "it answers another question"

    return verified(piece, signer=signer, expected=refusal, place="test")


@dataclass
class FeedSource:
    """The home and what answers for it."""

    home: PreparedHome
    context: AuthorityContext
    answers: FeedAnswers = field(init=False)

    def __post_init__(self) -> None:
        self.answers = FeedAnswers(self.context, sign, self.context.clock)

    async def ask(self, kind: PieceKind, **parts: Any) -> tuple[Statement, bytes]:
        asked = question(kind, **parts)
        return checked(await self.answers.answer(asked), asked, operations_certificate())

    async def pages(
        self, kind: PieceKind, after: int = 0, mark: str = ""
    ) -> list[tuple[Statement, dict[int, bytes]]]:
        """All pages to the last, each from where the one before ends; entries by number."""
        found: list[tuple[Statement, dict[int, bytes]]] = []
        while not found or not found[-1][0].is_last:
            statement, body = await self.ask(kind, after=after, mark=mark)
            assert statement.after == after
            assert statement.through > after or statement.is_last
            found.append((statement, dict(unpack_entries(body))))
            after = statement.through
            if kind in (PieceKind.STATUS, PieceKind.CERTIFICATES):
                mark = statement.mark
        return found

    async def everything(self, kind: PieceKind) -> dict[int, bytes]:
        """The entries of all pages; of an entry that comes twice the later one."""
        return {number: one for _, page in await self.pages(kind) for number, one in page.items()}

    def act(self, verb: Verb, item: int, ground: str) -> None:
        """Do an act on an item's certificate."""
        acts = StatusActs(self.context.store, self.context.clock, "account tester")
        acts.perform(ActRequest(verb, Scope.CERTIFICATE, self.serial(item), ground))

    def serial(self, item: int) -> str:
        ((serial,),) = self.home.query("SELECT serial FROM reservation WHERE item_id = ?", item)
        return str(serial.hex().upper())

    def card_of(self, item: int) -> int:
        return self.home.number("SELECT card_id FROM item WHERE id = ?", item)


@contextmanager
def feed_source(home: PreparedHome) -> Iterator[FeedSource]:
    """Open a home, with an operations key in memory."""
    with open_context(home.path) as opened:
        key = operations_key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        role = RoleCertificate("operations", operations_certificate(), key, b"", KeyReference("operations"))
        authority = replace(opened.authority, operations=role)
        yield FeedSource(
            home,
            AuthorityContext(
                opened.home, opened.configuration, opened.store, opened.clock, authority, opened.actor
            ),
        )
