"""The tables.

Two rules give the layout its shape:

* the hot path appends and never updates: a certificate is its row in `reservation` (the whole TBS, committed
  before the token sees it) and its row in `signature`, put together when read;
* what must be unique is unique in a narrow claim table of its own, so the wide tables can be laid out freely
  (PostgreSQL partitions them later) and a duplicate is refused by the database, not by a look-up before.

Times are microseconds since the epoch, UTC; serials are 16 octets; digests are SHA-256.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_microseconds(moment: datetime) -> int:
    """Return an aware time as microseconds since the epoch."""
    return (moment - EPOCH) // timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time kept as microseconds since the epoch: the same number on every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Turn an aware time into the stored number."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Turn the stored number into an aware time."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


RowId = BigInteger().with_variant(Integer(), "sqlite")
"""Row numbers: 64 bits; on SQLite INTEGER, so that the column is the row id itself and costs no index."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# --- the CA and its servants -------------------------------------------------------------------------------

authority_certificate = Table(
    "authority_certificate",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("role", String(32), nullable=False),  # root, ca, ocsp, audit, operations
    Column("key_label", String(255), nullable=False),
    Column("key_identifier", LargeBinary, nullable=False),
    Column("serial", LargeBinary, nullable=False, unique=True),
    Column("tbs", LargeBinary, nullable=False),
    Column("signature", LargeBinary),  # empty between the reservation and the signature
    Column("reserved_at", UtcTime, nullable=False),
)

crl_partition = Table(
    "crl_partition",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("issuer_key_identifier", LargeBinary, nullable=False),
    Column("number", Integer, nullable=False),
    Column("uri", Text, nullable=False),  # the very bytes that its certificates carry
    Column("complete_uri", Text, nullable=False),
    Column("allotted", Integer, nullable=False),  # certificates planned into it
    Column("issued", Integer, nullable=False),
    Index("uq_crl_partition_number", "issuer_key_identifier", "number", unique=True),
)

# --- subscribers and cards ---------------------------------------------------------------------------------

entity = Table(
    "entity",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("identifier", String(16), nullable=False),
    Column("name", Text, nullable=False),
    Column("unit_name", Text),
    Column("county", Text),
    Column("subscriber_number", String(64)),  # none for the limited partnerships (CPS 3.1.5)
    Index("uq_entity_identifier", "kind", "identifier", unique=True),
    Index("ix_entity_name", "name"),
)

card = Table(
    "card",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("run_id", RowId, nullable=False, index=True),
    Column("entity_id", RowId, nullable=False, index=True),
    Column("number", String(32), nullable=False),
    Column("rank", String(16), nullable=False),
    Column("carrier", String(16), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("subject", LargeBinary, nullable=False),  # Name (DER), fixed when planned
    Column("uniform_number", String(16)),
)

# --- runs --------------------------------------------------------------------------------------------------

run = Table(
    "run",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("state_reason", Text),
    Column("policy_name", Text, nullable=False),
    Column("policy_text", Text, nullable=False),
    Column("legal_basis", Text, nullable=False),
    Column("register_name", Text, nullable=False),
    Column("register_digest", LargeBinary, nullable=False),
    Column("card_keys_digest", LargeBinary, nullable=False),
    Column("issuer_key_identifier", LargeBinary, nullable=False),
    Column("rows", Integer, nullable=False, default=0),
    Column("eligible", Integer, nullable=False, default=0),
    Column("rejected", Integer, nullable=False, default=0),
    Column("merged", Integer, nullable=False, default=0),
    Column("already_held", Integer, nullable=False, default=0),
    Column("cards_rejected", Integer, nullable=False, default=0),
    Column("item_count", Integer, nullable=False, default=0),
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("closed_at", UtcTime),
    Column("last_certificate_serial", LargeBinary),  # the 18 months of CPS 4.4.5(5) count from it
    Column("last_certificate_at", UtcTime),
    # direct: the 18 months count from the run's last certificate; application: from each certificate (CPS 4.4.5)
    Column("issuance_mode", String(16), nullable=False, server_default="direct"),
    Column("manifest_digest", LargeBinary),
)

run_reject = Table(
    "run_reject",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("run_id", RowId, nullable=False, index=True),
    Column("source", String(16), nullable=False),  # register or card-keys
    Column("row_number", Integer, nullable=False),
    Column("identifier", Text),
    Column("reason", String(64), nullable=False),
    Column("field", Text),
    Column("detail", Text, nullable=False),
)

work_unit = Table(
    "work_unit",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("run_id", RowId, nullable=False),
    Column("partition_id", RowId, ForeignKey("crl_partition.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("size", Integer, nullable=False),  # items
    Column("issued", Integer, nullable=False, default=0),
    Column("failed", Integer, nullable=False, default=0),
    Column("fence", Integer, nullable=False, default=0),  # grows with every lease; an older holder is refused
    Column("holder", Text),
    Column("lease_until", UtcTime),
    Index("ix_work_unit_run_id_state", "run_id", "state", "id"),
)

item = Table(
    "item",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("run_id", RowId, nullable=False),
    Column("unit_id", RowId, nullable=False, index=True),
    Column("card_id", RowId, nullable=False, index=True),
    Column("usage", String(16), nullable=False),
    Column("public_key", LargeBinary, nullable=False),  # SubjectPublicKeyInfo (DER), checked at intake
    Index("ix_item_run_id", "run_id", "id"),  # of a later run too, what is listed begins with its first item
)

item_failure = Table(
    "item_failure",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("item_id", RowId, nullable=False, index=True),
    Column("unit_id", RowId, nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("failed_at", UtcTime, nullable=False),
    Column("resolved_by_unit", RowId),  # the later unit that tried it again
)

# --- certificates: two appends -----------------------------------------------------------------------------

reservation = Table(
    "reservation",
    metadata,
    Column("item_id", RowId, primary_key=True, autoincrement=False),
    Column("serial", LargeBinary, nullable=False),  # unique by serial_claim
    Column("not_after", BigInteger, nullable=False),
    Column("tbs", LargeBinary, nullable=False),
)

signature = Table(
    "signature",
    metadata,
    Column("item_id", RowId, primary_key=True, autoincrement=False),
    Column("signature", LargeBinary, nullable=False),
)

certificate_status = Table(
    "certificate_status",
    metadata,
    Column("item_id", RowId, primary_key=True, autoincrement=False),
    Column("partition_id", Integer, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("state", Integer, nullable=False),  # a CertificateState
)


class CertificateState(IntEnum):
    """What a certificate is worth; the value is what the database and the status store keep."""

    GOOD = 0
    HELD = 1  # at least one hold stands
    REVOKED = 2  # for good


STATUS_GOOD = CertificateState.GOOD

# --- claims: what the database keeps unique ----------------------------------------------------------------

serial_claim = Table(
    "serial_claim",
    metadata,
    Column("serial", LargeBinary, primary_key=True),
    Column("item_id", RowId, nullable=False),
    sqlite_with_rowid=False,
)

public_key_claim = Table(
    "public_key_claim",
    metadata,
    Column("key_digest", LargeBinary, primary_key=True),
    # 0: the first certificate. Others are left for the two cases in which one key may be certified again:
    # an e-mail address written in later, and reissue under a new CA key (CPS 3.1.11(1), 4.8.2, 4.8.3).
    Column("occasion", Integer, primary_key=True, autoincrement=False),
    Column("item_id", RowId, nullable=False),
    sqlite_with_rowid=False,
)

card_number_claim = Table(
    "card_number_claim",
    metadata,
    Column("number", String(32), primary_key=True),
    Column("card_id", RowId, nullable=False),
    sqlite_with_rowid=False,
)

primary_card_claim = Table(
    "primary_card_claim",
    metadata,
    Column("entity_id", RowId, primary_key=True, autoincrement=False),
    Column("card_id", RowId, nullable=False),
)

subscriber_number_claim = Table(
    "subscriber_number_claim",
    metadata,
    Column("number", String(64), primary_key=True),
    Column("entity_id", RowId, nullable=False),
    sqlite_with_rowid=False,
)

subject_claim = Table(
    "subject_claim",
    metadata,
    # A subject without serialNumber (the limited partnerships) is told apart by its name alone; a second
    # entity of that name goes to a person (choice 16).
    Column("subject_digest", LargeBinary, primary_key=True),
    Column("entity_id", RowId, nullable=False),
    sqlite_with_rowid=False,
)

# --- status: acts and what they left ------------------------------------------------------------------------

status_act = Table(
    "status_act",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("verb", String(16), nullable=False),  # accept, suspend, resume, revoke
    Column("origin", String(16), nullable=False),  # on whose behalf: subscriber, counter, authority, ...
    Column("on_behalf_of", Text, nullable=False),  # which authority or court; empty for the other origins
    Column("scope", String(16), nullable=False),  # certificate, card, entity
    Column("subject", Text, nullable=False),  # serial, card number or 統一編號, as it was named
    Column("ground", Text, nullable=False),
    Column("document", Text),
    Column("actor", Text, nullable=False),
    Column("performed_at", UtcTime, nullable=False),
)

hold = Table(
    "hold",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("item_id", RowId, nullable=False),
    Column("origin", String(16), nullable=False),
    Column("on_behalf_of", Text, nullable=False),
    Column("placed_at", UtcTime, nullable=False),
    Column("placed_by_act", RowId, nullable=False),
    Column("lifted_at", UtcTime),
    Column("lifted_by_act", RowId),
    Index(
        "uq_hold_standing",
        "item_id",
        "origin",
        "on_behalf_of",
        unique=True,
        sqlite_where=text("lifted_at IS NULL"),
        postgresql_where=text("lifted_at IS NULL"),
    ),
    Index("ix_hold_item_id", "item_id"),
)

revocation = Table(
    "revocation",
    metadata,
    Column("item_id", RowId, primary_key=True, autoincrement=False),
    Column("act_id", RowId, nullable=False),
    Column("revoked_at", UtcTime, nullable=False),
    Column("reason", Integer, nullable=False),  # CRLReason (RFC 5280 section 5.3.1)
    Column("invalidity_at", UtcTime),  # invalidityDate (section 5.3.2)
)

acceptance = Table(
    "acceptance",
    metadata,
    Column("item_id", RowId, primary_key=True, autoincrement=False),
    Column("act_id", RowId, nullable=False),
    Column("accepted_at", UtcTime, nullable=False),
)

crl_entry = Table(
    # Every certificate that is not good, as narrow as a CRL needs it: a CRL is one pass over its partition.
    "crl_entry",
    metadata,
    Column("partition_id", Integer, primary_key=True, autoincrement=False),
    Column("item_id", RowId, primary_key=True, autoincrement=False),
    Column("serial", LargeBinary, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),  # revocationDate
    Column("reason", Integer, nullable=False),
    Column("invalidity_at", BigInteger),
    sqlite_with_rowid=False,
)

# --- status: the change feed ---------------------------------------------------------------------------------

status_change = Table(
    "status_change",
    metadata,
    Column("sequence", RowId, primary_key=True, autoincrement=False),  # gapless, in the order of the commits
    Column("kind", Integer, nullable=False),  # a ChangeKind
    Column("subject", RowId, nullable=False),  # item, work unit, or OCSP batch, by kind
    Column("changed_at", BigInteger, nullable=False),
)

status_change_head = Table(
    "status_change_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1: the row writers lock
    Column("sequence", RowId, nullable=False),
)

status_reader = Table(
    # How far a reader of the feed has come that keeps its results in this very store.
    "status_reader",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("sequence", RowId, nullable=False),
)

card_status_revision = Table(
    # A card whose certificates ever changed status. An answer counts only if it was made of this very revision.
    "card_status_revision",
    metadata,
    Column("card_id", RowId, primary_key=True, autoincrement=False),
    Column("revision", Integer, nullable=False),  # 0 is a card without a row here
    Column(
        "answered", Integer, nullable=False
    ),  # the revision of the stored answer; smaller: one is owed, urgently
    Column("changed_at", BigInteger, nullable=False),
    Index(
        "ix_card_status_revision_owed",
        "changed_at",
        sqlite_where=text("answered < revision"),
        postgresql_where=text("answered < revision"),
    ),
)

# --- status: CRLs --------------------------------------------------------------------------------------------

crl_scope = Table(
    "crl_scope",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("issuer_key_identifier", LargeBinary, nullable=False),
    Column("partition_id", RowId, nullable=False),  # 0: the complete CRL
    Column("uri", Text, nullable=False),
    Column("last_number", BigInteger, nullable=False),  # cRLNumber; 0 before the first
    Index("uq_crl_scope", "issuer_key_identifier", "partition_id", unique=True),
)

crl_issue = Table(
    "crl_issue",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("scope_id", RowId, nullable=False),
    Column("number", BigInteger, nullable=False),  # cRLNumber
    Column("base_number", BigInteger),  # of a delta CRL: BaseCRLNumber
    Column("scheduled", Boolean, nullable=False),  # expired entries stay on one more scheduled CRL
    Column("this_update", UtcTime, nullable=False),
    Column("next_update", UtcTime, nullable=False),
    Column("feed_sequence", RowId, nullable=False),  # all changes up to this one are in it
    Column("entries", Integer, nullable=False),
    Column("tbs_digest", LargeBinary, nullable=False),  # recorded before the token signs it
    Column("reserved_at", UtcTime, nullable=False),
    Column("signature", LargeBinary),
    Column("file_sha256", LargeBinary),
    Column("published_at", UtcTime),
    Index("ix_crl_issue_scope_id", "scope_id", "id"),
)

# --- status: OCSP --------------------------------------------------------------------------------------------

ocsp_batch = Table(
    # The digests of every response of a batch are here before the token signs the first of them.
    "ocsp_batch",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("responder_id", RowId, nullable=False),  # its certificate in authority_certificate
    Column("digests", LargeBinary, nullable=False),  # of the tbsResponseData, 32 octets each (SHA-256)
    Column("urgent", Boolean, nullable=False),
    Column("reserved_at", UtcTime, nullable=False),
    Column("completed_at", UtcTime),
)

ocsp_answer = Table(
    "ocsp_answer",
    metadata,
    Column("card_id", RowId, primary_key=True, autoincrement=False),
    Column("batch_id", RowId, nullable=False, index=True),
    Column("responder_id", RowId, nullable=False),
    Column("renew_at", BigInteger, nullable=False, index=True),
    Column("answer", LargeBinary, nullable=False),  # packed: engine/status/card_record.py
)

# --- what the CA publishes, and who pays for questions ---------------------------------------------------------

publication = Table(
    # Documents, news and notices (CPS 2.6.1, 8.1.2). Rows stay; a withdrawal is a time in the row.
    "publication",
    metadata,
    Column("id", RowId, primary_key=True),
    Column(
        "kind", String(32), nullable=False
    ),  # a PublicationKind: cps, cp, privacy-policy, audit-result, news, ...
    Column("title_zh", Text, nullable=False),
    Column("title_en", Text, nullable=False),
    Column("text_zh", Text, nullable=False),  # of news and notices; a document's summary; may be empty
    Column("text_en", Text, nullable=False),
    Column("version", String(32)),  # of a document
    Column("significance", String(16)),  # of a change of the CPS: large, small, re-typesetting (CPS 8.1.2.1)
    Column("about", RowId),  # the publication that a notice announces
    Column("published_at", UtcTime, nullable=False),
    Column("effective_at", UtcTime),
    Column("comments_until", UtcTime),
    Column("content_sha256", LargeBinary),
    Column("content_size", BigInteger),
    Column("media_type", String(128)),
    Column("file_name", Text),
    Column("withdrawn_at", UtcTime),
)

publication_content = Table(
    "publication_content",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

relying_party_account = Table(
    # Who pays for OCSP (CPS 4.4.12), found by a token in the path or by address.
    "relying_party_account",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("token_sha256", LargeBinary),  # of the path token; the token itself is kept nowhere
    Column("address_ranges", Text, nullable=False),  # JSON list of networks, such as 203.0.113.0/24
    Column("monthly_quota", BigInteger),  # answers in a calendar month of Taipei; none: no limit
    Column("opened_at", UtcTime, nullable=False),
    Column("closed_at", UtcTime),
)

# --- leases over all hosts -----------------------------------------------------------------------------------

lease = Table(
    "lease",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("fence", Integer, nullable=False),  # grows with every change of hands
    Column("until", UtcTime, nullable=False),
)

# --- audit -------------------------------------------------------------------------------------------------

audit_record = Table(
    "audit_record",
    metadata,
    Column("sequence", RowId, primary_key=True, autoincrement=False),
    Column("recorded_at", UtcTime, nullable=False),
    Column("actor", Text, nullable=False),
    Column("event", String(64), nullable=False),
    Column("body", Text, nullable=False),  # canonical JSON
    Column("hash", LargeBinary, nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # always 1: the row writers lock
    Column("sequence", RowId, nullable=False),
    Column("recorded_at", UtcTime, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)

audit_checkpoint = Table(
    "audit_checkpoint",
    metadata,
    Column("sequence", RowId, primary_key=True, autoincrement=False),
    Column("signed_at", UtcTime, nullable=False),
    Column("statement", Text, nullable=False),  # canonical JSON: what was signed
    Column("key_identifier", LargeBinary, nullable=False),
    Column("signature", LargeBinary),  # empty between the intent and the signature
)

# --- the token ---------------------------------------------------------------------------------------------

token_measurement = Table(
    "token_measurement",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("measured_at", UtcTime, nullable=False),
    Column("sessions", Integer, nullable=False),
    Column("signatures", Integer, nullable=False),
    Column("microseconds", BigInteger, nullable=False),
    Column("source", String(32), nullable=False),  # token-check or a run
)
