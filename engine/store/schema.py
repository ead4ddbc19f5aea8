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
from typing import Any

from sqlalchemy import (
    BigInteger,
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
    Column("state", Integer, nullable=False),  # STATUS_GOOD; the status business adds the others
)

STATUS_GOOD = 0

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
