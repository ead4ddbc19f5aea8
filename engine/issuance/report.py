"""The run report: totals that add up, and the list of every row that got nothing, with its reason."""

from __future__ import annotations

import csv
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row

from engine.clock import TAIPEI
from engine.issuance.run_context import RunContext
from engine.store.runs import failures, get_run, reject_reasons, rejects, totals

REPORT_NAME = "report.json"
REJECTS_NAME = "rejects.csv"
FAILURES_NAME = "failures.csv"


def run_document(row: Row[Any], counted: dict[str, int]) -> dict[str, Any]:
    """Describe a run: rows = eligible + rejected + merged + already_held; items = issued + failed + aborted + pending.

    Args:
        row: the run's row.
        counted: its totals.
    """
    return {
        "run": str(row.id),
        "state": row.state,
        "reason": row.state_reason,
        "policy": row.policy_name,
        "legal_basis": row.legal_basis,
        "register": row.register_name,
        "rows": row.rows,
        "eligible": row.eligible,
        "rejected": row.rejected,
        "merged": row.merged,
        "already_held": row.already_held,
        "cards_rejected": row.cards_rejected,
        **counted,
        "created_at": _local(row.created_at),
        "started_at": _local(row.started_at),
        "closed_at": _local(row.closed_at),
        "last_certificate": None
        if row.last_certificate_serial is None
        else row.last_certificate_serial.hex().upper(),
        "last_certificate_at": _local(row.last_certificate_at),
        "manifest_sha256": None if row.manifest_digest is None else row.manifest_digest.hex(),
    }


def _local(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(TAIPEI).isoformat(timespec="seconds")


def write_report(context: RunContext, run_id: int) -> dict[str, Any]:
    """Write a run's report, reject list and failure list into its directory.

    Args:
        context: the home and its parts.
        run_id: the run.

    Returns:
        The report.
    """
    directory = context.home.run_directory(run_id)
    with context.store.read() as connection:
        document = run_document(get_run(connection, run_id), totals(connection, run_id))
        document["reasons"] = reject_reasons(connection, run_id)
        with (directory / REJECTS_NAME).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("source", "row", "identifier", "reason", "field", "detail"))
            for row in rejects(connection, run_id):
                writer.writerow(
                    (row.source, row.row_number, row.identifier, row.reason, row.field, row.detail)
                )
        failed = failures(connection, run_id)
        with (directory / FAILURES_NAME).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("item", "reason"))
            writer.writerows((row.item_id, row.reason) for row in failed)
    document["files"] = [str(directory / name) for name in (REPORT_NAME, REJECTS_NAME, FAILURES_NAME)]
    (directory / REPORT_NAME).write_bytes(
        orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    return document
