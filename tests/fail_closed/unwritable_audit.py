"""An audit record that cannot be written: a trigger in the database refuses every insert, until it is dropped."""

from __future__ import annotations

from tests.cli.prepared_home import PreparedHome

REFUSAL = "the audit disk is gone"
AUDIT_FAILED = 9
"""Exit code of `AuditFailed`."""


def refuse_audit(home: PreparedHome) -> None:
    """Have every audit record refused."""
    home.change(
        "CREATE TRIGGER unwritable_audit BEFORE INSERT ON audit_record"
        f" BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    )


def allow_audit(home: PreparedHome) -> None:
    """Let audit records be written again."""
    home.change("DROP TRIGGER unwritable_audit")


def content(home: PreparedHome) -> list[object]:
    """What the record says happened, and what stands of every certificate."""
    tables = ("audit_record", "audit_head", "certificate_status", "status_act", "hold", "revocation")
    return [home.query(f"SELECT * FROM {table}") for table in (*tables, "crl_issue", "status_change")]
