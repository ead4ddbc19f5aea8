"""Damage to CRLs, in the record and in the files, is found."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.checker.check import check_home
from tests.checker.damage import FIRST_CRLS, damaged, judged, rules
from tests.cli.prepared_home import PreparedHome, copy_of

_NEWEST = "(SELECT max(id) FROM crl_issue)"
_REVOKED = "(SELECT min(item_id) FROM revocation)"
_AN_HOUR_AGO = "UPDATE crl_issue SET published_at = published_at - 3600000000"
"""Files that are not in place are given some minutes."""


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE crl_scope SET last_number = last_number - 1 WHERE id = 1", {"crl-number"}),
        ("UPDATE crl_issue SET number = 1 WHERE id = 2", {"crl-number"}),
        (f"UPDATE crl_issue SET base_number = number + 1 WHERE id = {_NEWEST}", {"crl-number", "crl-file"}),
        ("UPDATE crl_issue SET signature = zeroblob(256) WHERE id = 1", {"crl-signature"}),
        ("UPDATE crl_issue SET published_at = NULL WHERE id = 1", {"crl-signature", "crl-file"}),
        (
            "UPDATE crl_issue SET tbs_digest = zeroblob(32) WHERE id = 1",
            {"crl-signature", "signature-unaccounted"},
        ),
        (f"UPDATE crl_issue SET entries = entries + 1 WHERE id = {_NEWEST}", {"crl-file"}),
        (f"UPDATE crl_issue SET file_sha256 = zeroblob(32) WHERE id = {_NEWEST}", {"crl-file"}),
        (f"DELETE FROM crl_entry WHERE item_id = {_REVOKED}", {"standing", "crl-file", "ocsp-answer"}),
        (
            f"UPDATE crl_entry SET since = since + 1000000 WHERE item_id = {_REVOKED}",
            {"standing", "crl-file", "ocsp-answer"},
        ),
        (f"UPDATE certificate_status SET state = 1 WHERE item_id = {_REVOKED}", {"standing"}),
        (f"UPDATE revocation SET reason = 4 WHERE item_id = {_REVOKED}", {"standing"}),
        ("UPDATE hold SET lifted_at = placed_at WHERE id = 1", {"standing"}),
        ("UPDATE crl_scope SET uri = 'no URI' WHERE id = 1", {"crl-file"}),
    ],
)
def test_damage_in_the_record_is_found(
    worked: PreparedHome, tmp_path: Path, statement: str, expected: set[str]
) -> None:
    assert rules(damaged(worked, tmp_path / "copy", statement)) == expected


def _file(home: PreparedHome, directory: str = "crl") -> Path:
    """A full CRL of a partition in which certificates were withdrawn."""
    ((uri,),) = home.query("SELECT uri FROM crl_scope WHERE partition_id = 1")
    return home.path / directory / str(uri).split("/", 3)[3]


def _flip(home: PreparedHome) -> None:
    octets = bytearray(_file(home).read_bytes())
    octets[-1] ^= 1
    _file(home).write_bytes(octets)


def _other(home: PreparedHome) -> None:
    """A list that the CA did sign, in the place of another."""
    ((uri,),) = home.query("SELECT uri FROM crl_scope WHERE partition_id = 0")
    shutil.copy(home.path / "crl" / str(uri).split("/", 3)[3], _file(home))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda home: _file(home).write_bytes(b"no DER"), "cannot be read"),
        (_flip, "not what the record has as published"),
        (_other, "not what the record has as published"),
        (lambda home: shutil.copy(_file(home), _file(home).with_name("stray.crl")), "no CRL scope"),
        (lambda home: shutil.copy(_file(home, FIRST_CRLS), _file(home)), "was published since"),
        (lambda home: _file(home).unlink(), "is missing"),
    ],
)
def test_damage_to_a_file_is_found(
    worked: PreparedHome, tmp_path: Path, spoil: Callable[[PreparedHome], object], told: str
) -> None:
    home = damaged(worked, tmp_path / "copy", _AN_HOUR_AGO)
    assert judged(home).findings == []
    spoil(home)
    (found,) = judged(home).findings
    assert found.rule == "crl-file"
    assert told in found.what


def test_a_list_that_a_killed_publisher_left_is_no_damage(worked: PreparedHome, tmp_path: Path) -> None:
    """It is recorded, and lies whole under its partial name (docs/decisions/0044)."""
    home = damaged(worked, tmp_path / "copy", _AN_HOUR_AGO)
    file = _file(home)
    file.rename(file.with_name(f".{file.name}.7.partial"))
    shutil.copy(_file(home, FIRST_CRLS), file)
    assert judged(home).findings == []


def test_what_changed_since_a_list_is_left_out(worked: PreparedHome, tmp_path: Path) -> None:
    home = copy_of(worked, tmp_path / "copy")
    ((card,),) = home.query("SELECT number FROM card ORDER BY id LIMIT 1 OFFSET 5")
    home.look("cert", "revoke", "--card", card, "--ground", "key-compromise")
    assert judged(home).findings == []


def test_lists_may_lie_in_another_home_of_the_record(worked: PreparedHome, tmp_path: Path) -> None:
    """Whoever holds a scope's lease publishes it, in its own directory."""
    home, other = (damaged(worked, tmp_path / name, _AN_HOUR_AGO) for name in ("home", "other"))
    _file(home).unlink()
    assert rules(home) == {"crl-file"}
    assert check_home(home.path, other_homes=[other.path]).findings == []
    _flip(other)
    (found,) = check_home(home.path, other_homes=[other.path]).findings
    assert found.place == f"file {_file(other)}"
