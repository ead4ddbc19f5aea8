"""A CA with its OCSP responders, keys in this process, over a record whose cards are issued unit by unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import insert, select

from engine.algorithms import SignatureAlgorithm
from engine.authority.context import AuthorityContext
from engine.authority.ocsp_responders import OcspResponderCertificate, ocsp_responders, responder_in_charge
from engine.clock import SetClock
from engine.config import Configuration
from engine.errors import TokenError
from engine.home import Home
from engine.status.follower import Follower
from engine.status.pre_signing import AnswerBatch, PreSigning
from engine.status.status_store import CARDS, META, PARTIES, SERIALS, current_generation, open_environment
from engine.store.database import Store
from engine.store.schema import CertificateState, authority_certificate, item, to_microseconds
from engine.store.standings import (
    NewStanding,
    change_standings,
    raise_revisions_of_unit,
    standings_of_cards,
)
from engine.store.status_changes import ChangeKind, append_changes
from engine.store.work_units import lease_next
from tests.status.crl_authority import authority, ca_certificate, ca_key
from tests.store.plans import (
    LEASE,
    NOT_AFTER,
    NOW,
    append_plan,
    card,
    complete_unit,
    entity,
    make_run,
    reserve_unit,
)

DAY = timedelta(days=1)
ALGORITHM = SignatureAlgorithm.RSA_PKCS1_SHA256
REASONS = {CertificateState.GOOD: None, CertificateState.HELD: 6, CertificateState.REVOKED: 1}


@cache
def responder_key(number: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def responder_certificate(number: int, since: datetime, until: datetime) -> x509.Certificate:
    key = responder_key(number)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"OCSP {number}")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(ca_certificate().subject)
        .public_key(key.public_key())
        .serial_number(1_000 + number)
        .not_valid_before(since)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
        .add_extension(x509.OCSPNoCheck(), critical=False)
        .sign(ca_key(), hashes.SHA256())
    )


@dataclass
class OcspAuthority:
    """The CA at work, with one responder that lasts.

    Args:
        store: its record, empty but for migrations.
        directory: an empty one, for its home and its status store.
        settings: of `[ocsp]`.
    """

    store: Store
    directory: Path
    settings: dict[str, object] = field(default_factory=dict)
    clock: SetClock = field(default_factory=lambda: SetClock(NOW))

    def __post_init__(self) -> None:
        self.home = Home(self.directory / "home")
        self.home.create()
        self.status_store = self.directory / "status-store"
        self.follower = Follower(self.context, self.status_store)
        self.run: int | None = None
        self._entities = 0
        self.add_responder(NOW - DAY, NOW + 6_000 * DAY)

    @property
    def context(self) -> AuthorityContext:
        ocsp = {"status_store": str(self.status_store)} | self.settings
        configuration = Configuration.model_validate(
            {"token": {"module": "/none", "label": "none"}, "ocsp": ocsp}
        )
        return AuthorityContext(
            self.home, configuration, self.store, self.clock, authority(), "process tester"
        )

    # ---- responders ----

    def add_responder(self, since: datetime, until: datetime) -> int:
        """Issue a responder certificate; return its number."""
        with self.store.write() as connection:
            number = len(ocsp_responders(connection, ALGORITHM)) + 1
            certificate = responder_certificate(number, since, until)
            connection.execute(
                insert(authority_certificate).values(
                    role="ocsp" if number == 1 else f"ocsp-{number}",
                    key_label="ocsp",
                    key_identifier=bytes(20),
                    serial=number.to_bytes(16, "big"),
                    tbs=certificate.tbs_certificate_bytes,
                    reserved_at=NOW,
                    signature=certificate.signature,
                )
            )
        return number

    @property
    def responders(self) -> list[OcspResponderCertificate]:
        with self.store.read() as connection:
            return ocsp_responders(connection, ALGORITHM)

    @property
    def responder(self) -> OcspResponderCertificate:
        found = responder_in_charge(self.responders, self.clock.now())
        assert found is not None
        return found

    # ---- issuance and acts ----

    def plan(self, cards: int, *, unit_size: int = 2) -> None:
        """Plan cards of two certificates; with units of one, the two come apart."""
        with self.store.write() as connection:
            if self.run is None:
                self.run = make_run(connection)
            first = self._entities + 1
            self._entities += cards
            planned = [card(entity(n), f"MG{n:014d}") for n in range(first, first + cards)]
            append_plan(connection, self.run, planned, unit_size=unit_size)

    def issue_next(self, *, not_after: datetime = NOT_AFTER) -> bool:
        """Issue the next work unit; whether there was one."""
        if self.run is None:
            return False
        with self.store.write() as connection:
            held = lease_next(
                connection, self.run, holder="a", now=NOW, until=NOW + LEASE, reserved_only=False
            )
        if held is None:
            return False
        reserve_unit(self.store, held)
        complete_unit(self.store, held, not_after=not_after)
        now = self.clock.now()
        with self.store.write() as connection:
            append_changes(connection, ChangeKind.ISSUED, [held.unit_id], now)
            raise_revisions_of_unit(connection, held.unit_id, now)
        return True

    def issue(self, cards: int, *, not_after: datetime = NOT_AFTER) -> list[int]:
        """Plan and issue cards of two certificates; return their numbers."""
        first = self._entities + 1
        self.plan(cards)
        while self.issue_next(not_after=not_after):
            pass
        return list(range(first, first + cards))

    def act(self, card_id: int, place: int, state: CertificateState) -> None:
        """Change what a certificate is worth."""
        now = self.clock.now()
        since = None if state is CertificateState.GOOD else to_microseconds(now)
        with self.store.write() as connection:
            (found,) = standings_of_cards(connection, [card_id])
            new = NewStanding(found.certificates[place], state, since, REASONS[state], None)
            change_standings(connection, [new], now)

    def serials(self, card_id: int) -> list[bytes]:
        with self.store.read() as connection:
            (found,) = standings_of_cards(connection, [card_id])
        return [one.serial for one in found.certificates]

    def cards(self) -> list[int]:
        """Every planned card."""
        with self.store.read() as connection:
            return sorted(set(connection.execute(select(item.c.card_id)).scalars()))

    # ---- answers ----

    def work(self, share: tuple[int, int] = (0, 1)) -> PreSigning:
        return PreSigning(self.context, self.responder, share)

    def sign(self, batch: AnswerBatch) -> list[bytes | TokenError]:
        """In the token's place."""
        return self.sign_messages([answer.tbs for answer in batch.answers])

    def sign_messages(self, messages: Sequence[bytes]) -> list[bytes | TokenError]:
        key = responder_key(self.responder.number)
        return [key.sign(message, padding.PKCS1v15(), hashes.SHA256()) for message in messages]

    def pre_sign(self, cards: Sequence[int], *, urgent: bool = False) -> int:
        """Sign the answers of cards; return how many were stored."""
        work = self.work()
        batch = work.prepare(cards, urgent=urgent)
        return 0 if batch is None else work.complete(batch, self.sign(batch))

    # ---- the status store ----

    def follow(self) -> None:
        """Bring the status store up to the end of the feed, and let go of it: a process opens a store only once."""
        self.follower.open()
        while self.follower.step():
            pass
        self.follower.close()


def contents(status_store: Path) -> dict[bytes, dict[bytes, bytes]]:
    """Everything in a status store that is not its progress."""
    environment = open_environment(current_generation(status_store), writer=False)
    try:
        found = {}
        for name in (CARDS, SERIALS, META):
            database = environment.open_db(name, create=False)
            with environment.begin() as transaction:
                found[name] = {bytes(key): bytes(value) for key, value in transaction.cursor(database)}
        found[META] = {PARTIES: found[META][PARTIES]}
        return found
    finally:
        environment.close()
