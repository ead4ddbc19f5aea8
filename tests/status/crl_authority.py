"""A CA whose key is in this process, a record with issued certificates, and a hand that changes their status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import select

from engine.algorithms import SignatureAlgorithm
from engine.authority.context import AuthorityContext
from engine.authority.role_certificates import Authority, RoleCertificate
from engine.clock import SetClock
from engine.config import Configuration, CrlSection, TokenSection
from engine.home import Home
from engine.pkcs11.keys import KeyReference
from engine.status.crl_generation import CrlGenerator, PublishedIssue
from engine.status.crl_scopes import add_missing_scopes
from engine.store.crls import Scope, all_scopes
from engine.store.database import Store
from engine.store.schema import (
    CertificateState,
    audit_record,
    certificate_status,
    crl_issue,
    reservation,
    to_microseconds,
)
from engine.store.standings import NewStanding, cards_of_items, change_standings, standings_of_cards
from engine.x509.issuer import Issuer
from tests.store.plans import ISSUER, NOW, issue_run, plan
from tests.x509.specimens import CA_NAME

DAY = timedelta(days=1)
TODAY = 2026030200
"""The first cRLNumber of the day on which these tests begin (tests.store.plans.NOW) in Taipei."""


@cache
def ca_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def ca_certificate() -> x509.Certificate:
    """Its key identifier is the one that the plans of tests.store.plans name."""
    return (
        x509.CertificateBuilder()
        .subject_name(CA_NAME)
        .issuer_name(CA_NAME)
        .public_key(ca_key().public_key())
        .serial_number(1)
        .not_valid_before(NOW - 365 * DAY)
        .not_valid_after(NOW + 7_000 * DAY)
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier(ISSUER), critical=False)
        .sign(ca_key(), hashes.SHA256())
    )


def authority() -> Authority:
    """The CA, which does all roles here."""
    certificate = ca_certificate()
    der = certificate.public_bytes(Encoding.DER)
    public_key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    role = RoleCertificate("ca", der, public_key, ISSUER, KeyReference("ca"))
    issuer = Issuer.from_certificate(der, SignatureAlgorithm.RSA_PKCS1_SHA256)
    return Authority(issuer, role, role, role, role, role)


@dataclass
class CrlAuthority:
    """The CA at work.

    Args:
        store: its record, empty but for migrations.
        directory: an empty one, for its home.
        section: settings of CRLs; the directory is set here.
    """

    store: Store
    directory: Path
    section: CrlSection = field(default_factory=CrlSection)
    clock: SetClock = field(default_factory=lambda: SetClock(NOW))
    signed: list[bytes] = field(default_factory=list)
    """Every digest that was signed."""

    def __post_init__(self) -> None:
        self.home = Home(self.directory / "home")
        self.home.create()
        self.configure()

    @property
    def crl_directory(self) -> Path:
        return self.home.path / "crl"

    def configure(self, **changes: object) -> None:
        """Change settings of CRLs."""
        self.section = CrlSection.model_validate(
            self.section.model_dump() | {"directory": str(self.crl_directory)} | changes
        )

    @property
    def context(self) -> AuthorityContext:
        configuration = Configuration(
            token=TokenSection(module=Path("/none"), label="none"), crl=self.section
        )
        return AuthorityContext(
            self.home, configuration, self.store, self.clock, authority(), "process crl-publisher"
        )

    @property
    def generator(self) -> CrlGenerator:
        return CrlGenerator(self.context, self.sign)

    async def sign(
        self, key: KeyReference, algorithm: SignatureAlgorithm, digests: Sequence[bytes]
    ) -> list[bytes]:
        """In the token's place."""
        self.signed += digests
        return [ca_key().sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256())) for digest in digests]

    def issue(self, entities: int = 3, *, not_after: datetime = NOW + 1_800 * DAY) -> list[int]:
        """Issue two certificates to each entity; return their items. A partition takes 100."""
        run_id = plan(self.store, entities)
        with self.store.read() as connection:
            before = set(connection.execute(select(certificate_status.c.item_id)).scalars())
        issue_run(self.store, run_id, not_after=not_after)
        add_missing_scopes(self.store)
        with self.store.read() as connection:
            after = connection.execute(select(certificate_status.c.item_id)).scalars()
            return sorted(set(after) - before)

    def change(self, items: Sequence[int], reason: int | None, *, invalidity: datetime | None = None) -> None:
        """Revoke, hold (reason 6) or resume (None) certificates, now."""
        change_status(self.store, items, reason, self.clock.now(), invalidity=invalidity)

    def scopes(self) -> list[Scope]:
        """The complete CRL's scope, then those of the partitions."""
        with self.store.read() as connection:
            return sorted(all_scopes(connection), key=lambda scope: scope.partition_id)

    async def publish(self, place: int = 0, *, only_if_needed: bool = False) -> list[PublishedIssue]:
        """Publish the scope at this place of `scopes`."""
        return await self.generator.publish(self.scopes()[place].id, only_if_needed=only_if_needed)

    def read(self, name: str) -> x509.CertificateRevocationList:
        """A published CRL; its signature verifies."""
        parsed = x509.load_der_x509_crl((self.crl_directory / name).read_bytes())
        assert parsed.is_signature_valid(ca_key().public_key())
        return parsed

    def listed(self, name: str) -> dict[int, x509.ReasonFlags | None]:
        """What a published CRL lists: items with their reasons."""
        with self.store.read() as connection:
            rows = connection.execute(select(reservation.c.serial, reservation.c.item_id))
            items = {int.from_bytes(serial, "big"): item for serial, item in rows}
        return {items[one.serial_number]: reason_of(one) for one in self.read(name)}

    def issues(self) -> list[tuple[int, bool, bytes]]:
        """Every CRL in the record: number, whether it was published, digest."""
        with self.store.read() as connection:
            rows = connection.execute(select(crl_issue).order_by(crl_issue.c.id)).all()
        return [(row.number, row.published_at is not None, row.tbs_digest) for row in rows]

    def audited(self, event: str) -> list[dict[str, object]]:
        """The bodies of the audit records of an event."""
        with self.store.read() as connection:
            bodies = connection.execute(
                select(audit_record.c.body)
                .where(audit_record.c.event == event)
                .order_by(audit_record.c.sequence)
            )
            return [json.loads(body) for body in bodies.scalars()]


def reason_of(entry: x509.RevokedCertificate) -> x509.ReasonFlags | None:
    for extension in entry.extensions:
        if isinstance(extension.value, x509.CRLReason):
            return extension.value.reason
    return None


def number_of(parsed: x509.CertificateRevocationList) -> int:
    return parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def base_of(parsed: x509.CertificateRevocationList) -> int:
    return parsed.extensions.get_extension_for_class(x509.DeltaCRLIndicator).value.crl_number


def change_status(
    store: Store,
    items: Sequence[int],
    reason: int | None,
    now: datetime,
    *,
    invalidity: datetime | None = None,
) -> None:
    """Revoke, hold (reason 6) or resume (None) certificates, as far as CRLs are concerned."""
    state = {None: CertificateState.GOOD, 6: CertificateState.HELD}.get(reason, CertificateState.REVOKED)
    with store.write() as connection:
        cards = standings_of_cards(connection, cards_of_items(connection, items))
        changed = [
            NewStanding(
                one,
                state,
                None if reason is None else to_microseconds(now),
                reason,
                None if invalidity is None else to_microseconds(invalidity),
            )
            for card in cards
            for one in card.certificates
            if one.item_id in items
        ]
        change_standings(connection, changed, now)
