"""The checker finds nothing in a sound home, and each planted damage by its rule."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from unittest.mock import patch

import pytest

from engine.algorithms import SignatureAlgorithm
from engine.audit.events import Event
from engine.audit.log import append_record
from engine.capacity.sweep_key import SweepKey
from engine.capacity.sweep_messages import announced_message
from engine.checker import check
from engine.clock import SystemClock
from tests.checker.damage import damaged, judged, rules
from tests.cli.prepared_home import CERTIFICATES, PreparedHome, copy_of, run_here
from tests.postgresql_server import PostgresqlServer
from tests.status.ocsp_home import opened


def test_a_sound_home_has_no_findings(worked: PreparedHome) -> None:
    report = judged(worked)
    assert report.findings == []
    assert report.counted["signature"] == CERTIFICATES
    assert report.counted["signatures_logged"] > CERTIFICATES
    assert worked.look("check").json["ok"]


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE signature SET signature = zeroblob(256) WHERE item_id = 7", {"certificate"}),
        ("UPDATE signature SET item_id = 999 WHERE item_id = 7", {"certificate", "counts", "unsigned"}),
        ("UPDATE reservation SET tbs = 'no DER' WHERE item_id = 7", {"certificate", "signature-unaccounted"}),
        ("UPDATE reservation SET not_after = not_after + 1000000 WHERE item_id = 7", {"certificate"}),
        ("UPDATE item SET public_key = x'3000' WHERE id = 7", {"certificate", "public-key-claim"}),
        ("DELETE FROM public_key_claim WHERE item_id = 7", {"public-key-claim"}),
        ("DELETE FROM serial_claim WHERE item_id = 7", {"counts", "serial-claim"}),
        ("UPDATE crl_partition SET issued = issued + 1 WHERE id = 1", {"counts"}),
        ("UPDATE work_unit SET size = size + 1 WHERE id = 2", {"counts"}),
        ("UPDATE work_unit SET failed = 1 WHERE id = 2", {"counts"}),
        ("UPDATE audit_record SET actor = 'x' WHERE sequence = 3", {"audit-chain"}),
        ("UPDATE audit_record SET actor = CAST(x'ff' AS TEXT) WHERE sequence = 3", {"audit-chain"}),
        ("DELETE FROM audit_record WHERE sequence = 1", {"audit-chain", "audit-sequence"}),
        ("UPDATE audit_head SET sequence = sequence + 1", {"audit-head"}),
        ("UPDATE audit_checkpoint SET signature = zeroblob(256)", {"audit-checkpoint"}),
        ("UPDATE audit_checkpoint SET statement = '{}'", {"audit-checkpoint", "signature-unaccounted"}),
        ("UPDATE audit_checkpoint SET key_identifier = x'00'", {"audit-checkpoint"}),
        (
            "UPDATE authority_certificate SET signature = zeroblob(256) WHERE role = 'ocsp'",
            {"authority", "ocsp-answer"},
        ),
        ("UPDATE ocsp_answer SET answer = x'00' WHERE card_id = 5", {"ocsp-answer"}),
        (
            "UPDATE ocsp_answer SET answer = substr(answer, 1, 29) || zeroblob(256) WHERE card_id = 5",
            {"ocsp-answer"},
        ),
        ("UPDATE ocsp_answer SET responder_id = 1 WHERE card_id = 5", {"ocsp-answer"}),
        ("UPDATE ocsp_answer SET card_id = 999 WHERE card_id = 5", {"ocsp-answer"}),
        ("UPDATE ocsp_batch SET reserved_at = reserved_at - 3600000000", {"ocsp-answer"}),
        (
            "UPDATE ocsp_batch SET digests = zeroblob(32)",
            {"ocsp-answer", "ocsp-batch", "signature-unaccounted"},
        ),
        ("UPDATE card_status_revision SET revision = revision + 1, answered = answered + 1", {"ocsp-answer"}),
        ("DELETE FROM status_change WHERE sequence = 2", {"change-sequence"}),
        ("UPDATE status_change_head SET sequence = sequence + 1", {"change-sequence"}),
        ("UPDATE status_change SET subject = 999 WHERE sequence = 1", {"change-audit"}),
        ("UPDATE status_change SET kind = 9 WHERE sequence = 1", {"change-audit"}),
        ("UPDATE item SET card_id = 999 WHERE id = 7", {"counts"}),
        (
            "UPDATE audit_record SET body = 'no JSON' WHERE event = 'unit.completed'",
            {"audit-body", "audit-chain", "change-audit"},
        ),
        (
            "UPDATE audit_record SET body = '[]' WHERE event = 'operations.signature-intended'",
            {"audit-body", "audit-chain", "signature-unaccounted"},
        ),
    ],
)
def test_damage_is_found_by_its_rule(
    worked: PreparedHome, tmp_path: Path, statement: str, expected: set[str]
) -> None:
    assert rules(damaged(worked, tmp_path / "copy", statement)) == expected


def test_a_rule_that_cannot_read_the_record_is_a_finding_and_the_others_go_on(
    worked: PreparedHome, tmp_path: Path
) -> None:
    home = damaged(worked, tmp_path / "copy", "UPDATE audit_head SET sequence = sequence + 1")
    with patch.object(check, "check_standings", side_effect=ValueError("a time of 13 months")):
        found = {finding.rule: finding.what for finding in judged(home).findings}
    assert found.keys() == {"unreadable", "audit-head"}
    assert "a time of 13 months" in found["unreadable"]


def test_a_damaged_home_has_its_exit_code(worked: PreparedHome, tmp_path: Path) -> None:
    home = damaged(worked, tmp_path / "copy", "UPDATE audit_head SET sequence = sequence + 1")
    document = home.look("check", code=17).json
    assert document["ok"] is False
    assert document["findings"][0]["place"] == "audit_head"


def test_a_key_certified_twice_is_found(worked: PreparedHome, tmp_path: Path) -> None:
    """Both certificates are whole, and signed by the CA."""
    copied = ("serial", "not_after", "tbs")
    statements = [
        *(
            f"UPDATE reservation SET {column} = (SELECT {column} FROM reservation WHERE item_id = 7) WHERE item_id = 8"
            for column in copied
        ),
        "UPDATE signature SET signature = (SELECT signature FROM signature WHERE item_id = 7) WHERE item_id = 8",
        "UPDATE item SET public_key = (SELECT public_key FROM item WHERE id = 7) WHERE id = 8",
    ]
    home = damaged(worked, tmp_path / "copy", *statements)
    told = [(found.rule, found.what) for found in judged(home).findings if found.place == "signature 8"]
    assert told == [
        ("certificate", "a second certificate of this serial"),
        ("certificate", "a second certificate of this key"),
    ]


def _log(home: PreparedHome, digests: Iterable[bytes]) -> None:
    """Write signatures to the log of the HSM that it never made."""
    log = home.path / "hsm" / "log"
    line = next(line for line in log.read_text().splitlines() if line.startswith("SIGN ")).split(" ")
    with log.open("a") as file:
        for digest in digests:
            file.write(" ".join([*line[:5], digest.hex(), *line[6:]]) + "\n")


def test_a_signature_without_a_reason_is_found(worked: PreparedHome, tmp_path: Path) -> None:
    home = copy_of(worked, tmp_path / "copy")
    _log(home, [bytes.fromhex("ab" * 32)])
    assert [(found.rule, found.what) for found in judged(home).findings] == [
        ("signature-unaccounted", "ab" * 32)
    ]


def test_what_a_sweep_announced_has_its_reason(worked: PreparedHome, tmp_path: Path) -> None:
    """Two processes, ten messages each; the eleventh of one was not announced."""
    home = copy_of(worked, tmp_path / "copy")
    key = SweepKey("sealmint-sweep-1", SignatureAlgorithm.RSA_PKCS1_SHA256, "1", own=True)
    announced = {"nonce": key.nonce, "key": key.label, "slice": 3, "workers": 2, "announced_each": 10}
    with opened(home) as store, store.write() as connection:
        for body in ({"nonce": key.nonce, "key": key.label, "own": True}, announced):
            append_record(connection, SystemClock(), Event.TOKEN_SWEPT, actor="test", body=body)
    messages = [announced_message(key.text(3, worker), number) for worker in (0, 1) for number in range(10)]
    _log(home, [hashlib.sha256(message).digest() for message in messages])
    assert judged(home).findings == []
    _log(home, [hashlib.sha256(announced_message(key.text(3, 1), 10)).digest()])
    assert rules(home) == {"signature-unaccounted"}


def test_a_record_in_postgresql_is_judged_alike(
    worked: PreparedHome, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    """Through the role that may only read."""
    home = copy_of(worked, tmp_path / "copy")
    database = postgresql.new_database()
    source, target = f"sqlite:///{home.path / 'store.sqlite'}", postgresql.url(database)
    copied = run_here("store", "copy", "--from", source, "--to", target, "--json")
    assert copied.code == 0, copied.err
    home.configure(
        "[token]\n",
        f'[store]\nurl = "{target}"\nread_url = "{postgresql.url(database, "sealmint_reader")}"\n\n[token]\n',
    )
    (home.path / "store.sqlite").unlink()
    sound = judged(home)
    assert sound.findings == []
    assert sound.counted == judged(worked).counted
    for statement in (
        "UPDATE signature SET signature = '\\x00' WHERE item_id = 7",
        "UPDATE audit_head SET sequence = sequence + 1",
        "DELETE FROM serial_claim WHERE item_id = 9",
    ):
        postgresql.administer(statement, database)
    assert rules(home) == {"certificate", "audit-head", "counts", "serial-claim"}
