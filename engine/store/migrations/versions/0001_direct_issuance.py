"""Direct issuance: runs, certificates, claims and the audit log."""

import sqlalchemy as sa
from alembic import op

from engine.store.schema import RowId, UtcTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_checkpoint",
        sa.Column("sequence", RowId, autoincrement=False, nullable=False),
        sa.Column("signed_at", UtcTime(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("key_identifier", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sequence", RowId, nullable=False),
        sa.Column("recorded_at", UtcTime(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "audit_record",
        sa.Column("sequence", RowId, autoincrement=False, nullable=False),
        sa.Column("recorded_at", UtcTime(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sequence", name=op.f("pk_audit_record")),
    )
    op.create_table(
        "authority_certificate",
        sa.Column("id", RowId, nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("key_label", sa.String(length=255), nullable=False),
        sa.Column("key_identifier", sa.LargeBinary(), nullable=False),
        sa.Column("serial", sa.LargeBinary(), nullable=False),
        sa.Column("tbs", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=True),
        sa.Column("reserved_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authority_certificate")),
        sa.UniqueConstraint("serial"),
    )
    op.create_table(
        "card",
        sa.Column("id", RowId, nullable=False),
        sa.Column("run_id", RowId, nullable=False),
        sa.Column("entity_id", RowId, nullable=False),
        sa.Column("number", sa.String(length=32), nullable=False),
        sa.Column("rank", sa.String(length=16), nullable=False),
        sa.Column("carrier", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("uniform_number", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card")),
    )
    op.create_index(op.f("ix_card_entity_id"), "card", ["entity_id"], unique=False)
    op.create_index(op.f("ix_card_run_id"), "card", ["run_id"], unique=False)
    op.create_table(
        "card_number_claim",
        sa.Column("number", sa.String(length=32), nullable=False),
        sa.Column("card_id", RowId, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_card_number_claim")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "certificate_status",
        sa.Column("item_id", RowId, autoincrement=False, nullable=False),
        sa.Column("partition_id", sa.Integer(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_certificate_status")),
    )
    op.create_table(
        "crl_partition",
        sa.Column("id", RowId, nullable=False),
        sa.Column("issuer_key_identifier", sa.LargeBinary(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("complete_uri", sa.Text(), nullable=False),
        sa.Column("allotted", sa.Integer(), nullable=False),
        sa.Column("issued", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crl_partition")),
    )
    op.create_index(
        "uq_crl_partition_number", "crl_partition", ["issuer_key_identifier", "number"], unique=True
    )
    op.create_table(
        "entity",
        sa.Column("id", RowId, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("identifier", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unit_name", sa.Text(), nullable=True),
        sa.Column("county", sa.Text(), nullable=True),
        sa.Column("subscriber_number", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_entity")),
    )
    op.create_index("uq_entity_identifier", "entity", ["kind", "identifier"], unique=True)
    op.create_table(
        "item",
        sa.Column("id", RowId, nullable=False),
        sa.Column("run_id", RowId, nullable=False),
        sa.Column("unit_id", RowId, nullable=False),
        sa.Column("card_id", RowId, nullable=False),
        sa.Column("usage", sa.String(length=16), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item")),
    )
    op.create_index(op.f("ix_item_card_id"), "item", ["card_id"], unique=False)
    op.create_index(op.f("ix_item_unit_id"), "item", ["unit_id"], unique=False)
    op.create_table(
        "item_failure",
        sa.Column("id", RowId, nullable=False),
        sa.Column("item_id", RowId, nullable=False),
        sa.Column("unit_id", RowId, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("failed_at", UtcTime(), nullable=False),
        sa.Column("resolved_by_unit", RowId, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_item_failure")),
    )
    op.create_index(op.f("ix_item_failure_item_id"), "item_failure", ["item_id"], unique=False)
    op.create_index(op.f("ix_item_failure_unit_id"), "item_failure", ["unit_id"], unique=False)
    op.create_table(
        "primary_card_claim",
        sa.Column("entity_id", RowId, autoincrement=False, nullable=False),
        sa.Column("card_id", RowId, nullable=False),
        sa.PrimaryKeyConstraint("entity_id", name=op.f("pk_primary_card_claim")),
    )
    op.create_table(
        "public_key_claim",
        sa.Column("key_digest", sa.LargeBinary(), nullable=False),
        sa.Column("occasion", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("item_id", RowId, nullable=False),
        sa.PrimaryKeyConstraint("key_digest", "occasion", name=op.f("pk_public_key_claim")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "reservation",
        sa.Column("item_id", RowId, autoincrement=False, nullable=False),
        sa.Column("serial", sa.LargeBinary(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.Column("tbs", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_reservation")),
    )
    op.create_table(
        "run",
        sa.Column("id", RowId, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("state_reason", sa.Text(), nullable=True),
        sa.Column("policy_name", sa.Text(), nullable=False),
        sa.Column("policy_text", sa.Text(), nullable=False),
        sa.Column("legal_basis", sa.Text(), nullable=False),
        sa.Column("register_name", sa.Text(), nullable=False),
        sa.Column("register_digest", sa.LargeBinary(), nullable=False),
        sa.Column("card_keys_digest", sa.LargeBinary(), nullable=False),
        sa.Column("issuer_key_identifier", sa.LargeBinary(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("eligible", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("merged", sa.Integer(), nullable=False),
        sa.Column("already_held", sa.Integer(), nullable=False),
        sa.Column("cards_rejected", sa.Integer(), nullable=False),
        sa.Column("item_count", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("closed_at", UtcTime(), nullable=True),
        sa.Column("last_certificate_serial", sa.LargeBinary(), nullable=True),
        sa.Column("last_certificate_at", UtcTime(), nullable=True),
        sa.Column("manifest_digest", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
    )
    op.create_table(
        "run_reject",
        sa.Column("id", RowId, nullable=False),
        sa.Column("run_id", RowId, nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("field", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run_reject")),
    )
    op.create_index(op.f("ix_run_reject_run_id"), "run_reject", ["run_id"], unique=False)
    op.create_table(
        "serial_claim",
        sa.Column("serial", sa.LargeBinary(), nullable=False),
        sa.Column("item_id", RowId, nullable=False),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_serial_claim")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "signature",
        sa.Column("item_id", RowId, autoincrement=False, nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_signature")),
    )
    op.create_table(
        "subject_claim",
        sa.Column("subject_digest", sa.LargeBinary(), nullable=False),
        sa.Column("entity_id", RowId, nullable=False),
        sa.PrimaryKeyConstraint("subject_digest", name=op.f("pk_subject_claim")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "subscriber_number_claim",
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("entity_id", RowId, nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_subscriber_number_claim")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "work_unit",
        sa.Column("id", RowId, nullable=False),
        sa.Column("run_id", RowId, nullable=False),
        sa.Column("partition_id", RowId, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("issued", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("lease_until", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["partition_id"], ["crl_partition.id"], name=op.f("fk_work_unit_partition_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_unit")),
    )
    op.create_index("ix_work_unit_run_id_state", "work_unit", ["run_id", "state", "id"], unique=False)
