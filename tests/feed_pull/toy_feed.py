"""A feed of a toy CA: a small record, real pieces signed by a toy operations key, and a hand to spoil them."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import cache

import httpx
import trio
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from engine.algorithms import SignatureAlgorithm
from engine.authority.detached_signature import sign_detached
from engine.clock import SetClock
from engine.feed.entries import AcceptedCertificate, pack_entries
from engine.feed.feed_client import FeedClient
from engine.feed.head_news import HeadNews, news_from
from engine.feed.listings import Head, ListedAccount, ListedCrl, listing_octets
from engine.feed.piece import PieceKind, Statement, digest_of, join_piece
from engine.feed.question import Question
from engine.feed.trust import FeedTrust, trust_in
from engine.repository.publication_copy import Publication
from engine.status.card_record import AnswerHead, CardRecord, pack, pack_answer, serials_check
from engine.status.parties import ResponderCertificate, layout_of, parties_octets
from engine.store.schema import CertificateState
from engine.x509.certificate import assemble
from engine.x509.issuer import Issuer
from engine.x509.names import SubjectFields, subject_der
from engine.x509.ocsp_response import IssuerNames
from engine.x509.tbs_certificate import compile_template
from engine.x509.validity import Validity
from tests.judges.toy_authority import NOW, Holder, ToyAuthority
from tests.responders.synthetic_status import der_of, sign, standing
from tests.x509.specimens import COMPANY_PRIMARY, PROFILES, subject_spki

URL = "https://ca-host:8443"
START = int(NOW.timestamp())
ALGORITHM = SignatureAlgorithm.RSA_PKCS1_SHA256
RESPONDER_NUMBER = 5
PAGE = 3
"""Entries of a piece."""

CRL_PIECE = 300
"""Octets of a piece of a content."""

PARTITION_URI, COMPLETE_URI = "http://toy.example/crl/p-1.crl", "http://toy.example/crl/complete.crl"


@cache
def toy() -> ToyAuthority:
    return ToyAuthority()


def trust() -> FeedTrust:
    """Whom a public host of the toy CA believes; the operations key is that of a certificate without a purpose."""
    return trust_in(der_of(toy().root), der_of(toy().ca), der_of(toy().unauthorised_responder))


def serial_of(card: int, place: int = 0) -> bytes:
    return bytes((0x40, place)) + card.to_bytes(14, "big")


def record(
    card: int,
    revision: int = 1,
    state: CertificateState = CertificateState.GOOD,
    *,
    responder: Holder | None = None,
    answered: bool = True,
    at: int = START,
) -> CardRecord:
    """A card's record with two certificates, the first of them in a state, and its answer."""
    since, reason = (0, 0xFF) if state is CertificateState.GOOD else (START - 50, 1)
    certificates = (standing(serial_of(card), state, since, reason), standing(serial_of(card, 1)))
    plain = CardRecord(revision, 0, certificates, b"")
    if not answered:
        return plain
    signer = responder or toy().responder
    check = serials_check([one.serial for one in certificates])
    head = AnswerHead(revision, check, RESPONDER_NUMBER, 0b11, 0b11, at, at, at + 3_600, 0)
    layout = layout_of(IssuerNames.from_certificate(der_of(toy().ca)), der_of(toy().responder), ALGORITHM)
    return plain._replace(answer=pack_answer(head, sign(signer, layout.tbs(certificates, head))))


def parties_of(ca: Holder, responder: Holder, number: int = RESPONDER_NUMBER) -> bytes:
    named = ResponderCertificate(number, 0, der_of(responder), current=True)
    return parties_octets([(ca.key_hash, der_of(ca))], [named], ALGORITHM)


def certificate(item: int, ca: Holder | None = None) -> bytes:
    """A company's certificate, issued by the toy CA or by another with its name."""
    holder = ca or toy().ca
    issuer = Issuer.from_certificate(der_of(holder), ALGORITHM)
    validity = Validity(NOW, NOW + timedelta(hours=100))
    name = subject_der(
        COMPANY_PRIMARY, SubjectFields(f"第{item}股份有限公司", None, None, f"{item:014}", "00000000", None)
    )
    template = compile_template(COMPANY_PRIMARY, issuer, validity, PROFILES.crl_uris(1))
    tbs = template.build(serial_of(item), name, subject_spki(), "00000000", None)
    return assemble(tbs, ALGORITHM, holder.key.sign(tbs, padding.PKCS1v15(), SHA256()))


class ToyFeed:
    """The record of the toy CA, and who answers out of it.

    Attributes:
        history: told apart by its marks: another one is another record.
        changes: the change feed: for each entry, the cards it touches and the items accepted by it.
        asked: every question that came.
        refuse: may answer in place of the feed: a response, or an error of the transport that it raises.
        spoil_statement: may change a statement before it is signed.
        spoil_piece: may change a piece on its way.
        body_for: may give another body for a question; it is signed as if it were right.
    """

    def __init__(self) -> None:
        self.history = "first"
        self.cards: dict[int, bytes] = {}
        self.items: dict[int, bytes] = {}
        self.changes: list[tuple[list[int], list[int]]] = []
        self.parties = parties_of(toy().ca, toy().responder)
        self.crls: dict[str, tuple[int, bytes]] = {}
        self.publications: list[Publication] = []
        self.contents: dict[str, bytes] = {}
        self.accounts: list[ListedAccount] = []
        self.asked: list[Question] = []
        self.clock = SetClock(NOW)
        self._news = trio.Event()
        self.signer = toy().unauthorised_responder
        self.refuse: Callable[[Question], httpx.Response | None] = lambda question: None
        self.spoil_statement: Callable[[Statement], Statement] = lambda statement: statement
        self.spoil_piece: Callable[[Question, bytes], bytes] = lambda question, piece: piece
        self.body_for: Callable[[Question, bytes], bytes] = lambda question, body: body

    # ---- the record ----

    def put(self, *records: tuple[int, CardRecord]) -> None:
        """Change cards, by one entry of the change feed."""
        for card, one in records:
            self.cards[card] = pack(one)
        self.changes.append(([card for card, _ in records], []))

    def accept(self, *items: int) -> None:
        for item in items:
            self.items[item] = certificate(item)
        self.changes.append(([], list(items)))

    def publish(self, uri: str, number: int, octets: bytes) -> None:
        self.crls[uri] = number, octets

    def publish_content(self, number: int, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self.contents[digest] = content
        news: dict[str, object] = dict.fromkeys(Publication.model_fields)
        news |= {"id": number, "kind": "news", "published_at": START, "media_type": "text/plain"}
        news |= {
            "title_zh": "新聞",
            "title_en": "News",
            "text_zh": "",
            "text_en": "",
            "file_name": "news.txt",
        }
        news |= {"content_sha256": digest, "content_size": len(content)}
        self.publications.append(Publication.model_validate(news))
        return digest

    @property
    def sequence(self) -> int:
        return len(self.changes)

    def mark(self, sequence: int) -> str:
        text = f"{self.history}:{sequence}:{self.changes[:sequence]}"
        return hashlib.sha256(text.encode()).hexdigest()[:32] if sequence else ""

    # ---- asking ----

    @asynccontextmanager
    async def client(self) -> AsyncIterator[FeedClient]:
        """A client whose questions come here, and nowhere near a network."""
        async with httpx.AsyncClient(transport=httpx.MockTransport(self._respond)) as transport:
            yield FeedClient(URL, transport, trust(), self.clock)

    async def news(self, client: FeedClient) -> HeadNews:
        return news_from(await client.ask(PieceKind.HEAD))

    def questions(self, kind: PieceKind) -> list[Question]:
        return [question for question in self.asked if question.kind is kind]

    async def _respond(self, request: httpx.Request) -> httpx.Response:
        kind = request.url.path.rpartition("/")[2]
        question = Question.model_validate({"kind": kind, **dict(request.url.params)})
        self.asked.append(question)
        if question.wait:
            await self._wait_for_news(question)
        refused = self.refuse(question)
        if refused is not None:
            return refused
        in_change_feed = question.kind in (PieceKind.STATUS, PieceKind.CERTIFICATES)
        if in_change_feed and (question.after > self.sequence or question.mark != self.mark(question.after)):
            return reply(409, b'{"error": "another record"}')
        return reply(200, self.spoil_piece(question, await self.piece(question)))

    async def _wait_for_news(self, question: Question) -> None:
        with trio.move_on_after(question.wait):
            while digest_of(self._head().model_dump_json().encode()) == question.known:
                await self._news.wait()

    def tell_news(self) -> None:
        """Let those who wait look at the record again."""
        self._news.set()
        self._news = trio.Event()

    async def piece(self, question: Question) -> bytes:
        body, through, is_last, marked = self._body(question)
        body = self.body_for(question, body)
        statement = self.spoil_statement(
            Statement(
                feed=toy().ca.key_hash.hex(),
                challenge=question.challenge,
                kind=question.kind,
                after=question.after,
                through=through,
                is_last=is_last,
                sequence=self.sequence,
                mark=self.mark(marked),
                made_at=START,
                octets=len(body),
                sha256=digest_of(body),
            )
        ).canonical()

        async def sign_statement(octets: bytes) -> bytes:
            return self.signer.key.sign(octets, padding.PKCS1v15(), SHA256())

        signature = await sign_detached(
            statement, certificate=der_of(self.signer), chain=(), signing_time=NOW, sign=sign_statement
        )
        return join_piece(statement, signature, body)

    def _body(self, question: Question) -> tuple[bytes, int, bool, int]:
        """Body, `through`, `is_last`, and the entry whose mark goes along."""
        after, last = question.after, self.sequence
        match question.kind:
            case PieceKind.STATUS | PieceKind.CERTIFICATES:
                is_status = question.kind is PieceKind.STATUS
                changes = self.changes[after : after + PAGE]
                through = after + len(changes)
                touched = {one for change in changes for one in change[0 if is_status else 1]}
                content = self.cards if is_status else self._accepted()
                body = pack_entries((one, content[one]) for one in sorted(touched))
                return body, through, through == last, through
            case PieceKind.STATUS_SNAPSHOT | PieceKind.CERTIFICATES_SNAPSHOT:
                content = self.cards if question.kind is PieceKind.STATUS_SNAPSHOT else self._accepted()
                numbers = sorted(number for number in content if number > after)
                page = numbers[:PAGE]
                body = pack_entries((number, content[number]) for number in page)
                return body, page[-1] if page else after, page == numbers, last
            case PieceKind.CRL:
                contents = {hashlib.sha256(octets).hexdigest(): octets for _, octets in self.crls.values()}
                return self._content(contents, question)
            case PieceKind.PUBLICATION:
                return self._content(self.contents, question)
            case PieceKind.HEAD:
                return self._head().model_dump_json().encode(), 0, True, last
            case _:
                return self._listing(question.kind), 0, True, last

    def _accepted(self) -> dict[int, bytes]:
        return {item: AcceptedCertificate(START, octets).packed() for item, octets in self.items.items()}

    def _content(self, contents: dict[str, bytes], question: Question) -> tuple[bytes, int, bool, int]:
        content = contents[question.digest]
        body = content[question.after : question.after + CRL_PIECE]
        through = question.after + len(body)
        return body, through, through == len(content), self.sequence

    def _listing(self, kind: PieceKind) -> bytes:
        if kind is PieceKind.PARTIES:
            return self.parties
        if kind is PieceKind.PUBLICATIONS:
            return listing_octets(self.publications)
        if kind is PieceKind.ACCOUNTS:
            return listing_octets(self.accounts)
        return listing_octets(
            [
                ListedCrl(
                    uri=uri, sha256=hashlib.sha256(octets).hexdigest(), octets=len(octets), number=number
                )
                for uri, (number, octets) in self.crls.items()
            ]
        )

    def _head(self) -> Head:
        kinds = (PieceKind.PARTIES, PieceKind.CRLS, PieceKind.PUBLICATIONS, PieceKind.ACCOUNTS)
        return Head(sequence=self.sequence, **{kind.value: digest_of(self._listing(kind)) for kind in kinds})


def reply(status: int, octets: bytes) -> httpx.Response:
    """A response that is read as one that comes over a network."""
    return httpx.Response(status, stream=httpx.ByteStream(octets))
