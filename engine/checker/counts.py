"""Counts that must agree: plans, units, claims and what was issued."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from engine.checker.finding import Finding, judge_each
from engine.checker.record import Record

_COUNTS = (
    (
        "run",
        "SELECT id, item_count, (SELECT count(*) FROM item WHERE item.run_id = run.id) FROM run"
        " WHERE state != 'planning'",
    ),
    (
        "work_unit",
        "SELECT work_unit.id, work_unit.size, coalesce(made.number, 0) FROM work_unit LEFT JOIN"
        " (SELECT unit_id, count(*) AS number FROM item GROUP BY unit_id) AS made ON made.unit_id = work_unit.id",
    ),
    (
        "work_unit issued in",
        "SELECT work_unit.id, work_unit.issued, coalesce(made.number, 0) FROM work_unit LEFT JOIN"
        " (SELECT item.unit_id, count(*) AS number FROM signature JOIN item ON item.id = signature.item_id"
        " GROUP BY item.unit_id) AS made ON made.unit_id = work_unit.id",
    ),
    (
        "work_unit failed in",
        "SELECT work_unit.id, work_unit.failed, coalesce(made.number, 0) FROM work_unit LEFT JOIN"
        " (SELECT unit_id, count(*) AS number FROM item_failure WHERE resolved_by_unit IS NULL"
        " GROUP BY unit_id) AS made ON made.unit_id = work_unit.id",
    ),
    (
        "work_unit outcomes of",
        "SELECT id, size, issued + failed FROM work_unit WHERE state = 'completed'",
    ),
    (
        "crl_partition",
        "SELECT crl_partition.id, crl_partition.issued, coalesce(made.number, 0) FROM crl_partition LEFT JOIN"
        " (SELECT work_unit.partition_id AS partition_id, count(*) AS number FROM signature"
        " JOIN item ON item.id = signature.item_id JOIN work_unit ON work_unit.id = item.unit_id"
        " GROUP BY work_unit.partition_id) AS made ON made.partition_id = crl_partition.id",
    ),
    (
        "certificate_status",
        "SELECT 'all', (SELECT count(*) FROM certificate_status), (SELECT count(*) FROM signature)",
    ),
    (
        "run with the cards of its items",
        "SELECT run.id, coalesce(made.number, 0), coalesce(made.carded, 0) FROM run LEFT JOIN"
        " (SELECT item.run_id, count(*) AS number, count(card.id) AS carded FROM item"
        " LEFT JOIN card ON card.id = item.card_id GROUP BY item.run_id) AS made ON made.run_id = run.id",
    ),
    (
        "serial_claim",
        "SELECT 'all', (SELECT count(*) FROM serial_claim), (SELECT count(*) FROM reservation)",
    ),
)
"""The table, and its rows with the recorded count and the true one."""

_UNCLAIMED = (
    "SELECT reservation.item_id FROM reservation LEFT JOIN serial_claim ON serial_claim.serial = reservation.serial"
    " AND serial_claim.item_id = reservation.item_id WHERE serial_claim.serial IS NULL"
)

_OPEN = (
    "SELECT reservation.item_id, work_unit.id FROM reservation JOIN item ON item.id = reservation.item_id"
    " JOIN work_unit ON work_unit.id = item.unit_id JOIN run ON run.id = item.run_id"
    " LEFT JOIN signature ON signature.item_id = reservation.item_id"
    " LEFT JOIN item_failure ON item_failure.item_id = reservation.item_id"
    " AND item_failure.resolved_by_unit IS NULL"
    " WHERE signature.item_id IS NULL AND item_failure.item_id IS NULL"
    " AND (work_unit.state = 'completed' OR run.state IN ('completed', 'aborted'))"
)
"""A reserved TBS may wait for its signature in a unit that is in work, or after a failure that can be tried again."""

_KEYS = (
    "SELECT item.id, item.public_key FROM item JOIN work_unit ON work_unit.id = item.unit_id"
    " JOIN run ON run.id = item.run_id LEFT JOIN reservation ON reservation.item_id = item.id"
    " WHERE run.state != 'planning' AND (work_unit.state != 'aborted' OR reservation.item_id IS NOT NULL)"
)
"""Every item whose key must be claimed; an aborted run gives back what it claimed and did not use."""


def check_counts(record: Record) -> Iterator[Finding]:
    """Compare recorded counts with rows, and claims with what they are for (CPS 4.5, 3.1.11)."""
    for table, statement in _COUNTS:
        for row, recorded, counted in record.rows(statement):
            if recorded != counted:
                yield Finding("counts", f"{table} {row}", f"{recorded} recorded, {counted} counted")
    for (row,) in record.rows(_UNCLAIMED):
        yield Finding("serial-claim", f"reservation {row}", "its serial is not claimed for it")
    for row, unit in record.rows(_OPEN):
        yield Finding(
            "unsigned", f"reservation {row}", f"neither signed nor failed, though unit {unit} is done"
        )
    yield from _check_keys(record)


def _check_keys(record: Record) -> Iterator[Finding]:
    # By a dictionary: the table has no index by item, and a join without one is quadratic.
    claims = dict(record.rows("SELECT item_id, key_digest FROM public_key_claim"))

    def faults(item: int, key: bytes) -> Iterable[str]:
        if item not in claims:
            yield "its key is not claimed for it"
        elif hashlib.sha256(key).digest() != claims[item]:
            yield "another key is claimed for it"

    yield from judge_each("public-key-claim", "item", record.rows(_KEYS), faults)
