"""What the site says, in the form of its JSON; the pages are made of the same objects."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from engine.publication_kinds import Standing

API = "/api/v1"


def moment(seconds: int) -> datetime:
    """Return a time of so many seconds since the epoch, UTC."""
    return datetime.fromtimestamp(seconds, UTC)


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class State(StrEnum):
    """What a certificate is worth, whether or not it has expired."""

    GOOD = "good"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    """The CA issued no certificate with this serial number."""


class Status(_Answer):
    """Where a certificate stands: all that is said of one that its subscriber has not accepted."""

    serial: str = Field(description="32 hexadecimal digits")
    state: State
    since: datetime | None = Field(description="since when it is suspended or revoked")
    reason: str | None = Field(description="CRLReason as RFC 5280 section 5.3.1 spells it")


class Certificate(_Answer):
    """A published certificate."""

    serial: str = Field(description="32 hexadecimal digits")
    kind: str
    name: str = Field(description="organizationName")
    unit_name: str | None = Field(description="organizationalUnitName: the name of a branch")
    county: str | None = Field(description="localityName: the county of a business")
    number: str | None = Field(description="uniform number (統一編號), eight digits")
    usage: str = Field(description="signature or encryption")
    rank: str | None = Field(description="primary, secondary, or null")
    not_before: datetime
    not_after: datetime
    status: Status | None = Field(description="null while this host cannot tell")


class CertificateDetails(Certificate):
    """A published certificate with what is in it."""

    subject: str = Field(description="RFC 4514, the first attribute of the name first")
    issuer: str = Field(description="RFC 4514, the first attribute of the name first")
    public_key: str
    sha256: str = Field(description="digest of the DER")
    der: str = Field(description="path of the certificate, DER")
    pem: str = Field(description="path of the certificate, PEM")


class CertificatePage(_Answer):
    """Some of the certificates that were found."""

    certificates: list[Certificate]
    next: int | None = Field(description="`after` of the next page; null on the last")


class CrlKind(StrEnum):
    """What a CRL covers."""

    COMPLETE = "complete"
    PARTITION = "partition"
    DELTA = "delta"


class Crl(_Answer):
    """A published certificate revocation list."""

    path: str
    kind: CrlKind
    number: int = Field(description="cRLNumber")
    this_update: datetime
    next_update: datetime
    size: int = Field(description="octets")
    is_current: bool = Field(description="whether nextUpdate is still to come")


class CrlList(_Answer):
    """All published CRLs."""

    crls: list[Crl]


class Authority(_Answer):
    """A certificate of the certification authority or of its root."""

    name: str = Field(description="ca or root")
    subject: str
    issuer: str
    serial: str
    public_key: str
    not_before: datetime
    not_after: datetime
    sha256: str = Field(description="digest of the DER")
    der: str = Field(description="path of the certificate, DER")
    pem: str = Field(description="path of the certificate, PEM")


class AuthorityList(_Answer):
    """The chain from the CA to its root."""

    authorities: list[Authority]
    chain_p7b: str = Field(description="path of the whole chain, PKCS#7 (certs-only CMS), DER")
    chain_pem: str = Field(description="path of the whole chain, PEM")


class File(_Answer):
    """The file of a document."""

    name: str
    media_type: str
    size: int = Field(description="octets")
    sha256: str
    path: str


class PublicationAnswer(_Answer):
    """A document, a piece of news, or a notice."""

    id: int
    kind: str
    standing: Standing
    title_zh: str
    title_en: str
    text_zh: str
    text_en: str
    version: str | None
    significance: str | None = Field(description="of a revision: large, small or re-typesetting (CPS 8.1)")
    about: int | None = Field(description="the publication that this one announces, or that announced it")
    published_at: datetime
    effective_at: datetime | None
    comments_until: datetime | None
    comments_open: bool
    withdrawn_at: datetime | None
    file: File | None


class PublicationList(_Answer):
    """Publications: the newest first; documents in force before others."""

    publications: list[PublicationAnswer]


class StatusFreshness(_Answer):
    """How current this host's copy of the certificate status is."""

    sequence: int = Field(description="the last change of the CA's record that is in it")
    written_at: datetime = Field(description="when the CA last said that there was nothing newer")
    is_current: bool


class Service(_Answer):
    """How this host is."""

    now: datetime
    status: StatusFreshness | None = Field(description="null: there is no copy, or it cannot be read")
    certificates: int | None = Field(description="how many are published; null: none came yet")
    crls: int
    crls_past: int = Field(description="how many are past their nextUpdate")
    publications: int


class Fault(_Answer):
    """Why there is no answer."""

    error: str
    field: str | None = Field(default=None, description="the parameter that is wrong")
    rule: str | None = Field(default=None, description="what it should be")
