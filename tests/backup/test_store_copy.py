"""The record goes from a file to a server and back, and is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.backup.table_rows import decode, encode
from tests.cli.prepared_home import PreparedHome, run_here
from tests.postgresql_server import PostgresqlServer


def test_to_postgresql_and_back_every_table_is_the_same(
    prepared: PreparedHome, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    file = f"sqlite:///{prepared.path / 'store.sqlite'}"
    server = postgresql.url(postgresql.new_database())
    back = f"sqlite:///{tmp_path / 'back.sqlite'}"
    there = run_here("store", "copy", "--from", file, "--to", server, "--json")
    assert there.code == 0, there.err
    again = run_here("store", "copy", "--from", server, "--to", back, "--json")
    assert again.code == 0, again.err
    assert there.json == again.json
    assert there.json["verified"] is True
    assert there.json["tables"]["item"]["rows"] == prepared.number("SELECT count(*) FROM item")
    refused = run_here("store", "copy", "--from", file, "--to", server, "--json")
    assert (refused.code, refused.error["error"]) == (5, "HomeUnusable")


def test_a_damaged_chain_is_not_copied(home: PreparedHome, tmp_path: Path) -> None:
    home.change("UPDATE audit_record SET body = body || ' ' WHERE sequence = 2")
    target = tmp_path / "target.sqlite"
    answer = run_here(
        "store",
        "copy",
        "--from",
        f"sqlite:///{home.path / 'store.sqlite'}",
        "--to",
        f"sqlite:///{target}",
        "--json",
    )
    assert (answer.code, answer.error["error"]) == (10, "AuditBroken")


@pytest.mark.parametrize("row", [(None, True, False, -(2**63), 2**63 - 1, b"\0", "統一編號", "", b"")])
def test_rows_survive_their_encoding(row: tuple[object, ...]) -> None:
    assert list(decode(encode(row) * 2, len(row))) == [row, row]  # type: ignore[arg-type]  # a literal of mixed kinds
