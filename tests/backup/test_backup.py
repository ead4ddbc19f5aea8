"""A backup comes back as it was, holds no secret, and is refused when it is damaged."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tests.cli.prepared_home import PreparedHome, run_here
from tests.status.ocsp_home import issue


def _restore(source: Path, home: Path, *more: object) -> tuple[int, str]:
    done = run_here("restore", "--from", source, "--home", home, "--json", *more)
    return done.code, done.out or done.err


@pytest.mark.cps("4.8.1")
def test_an_incremental_backup_writes_what_is_new_and_comes_back(home: PreparedHome, tmp_path: Path) -> None:
    out = tmp_path / "backups"
    full = home.look("backup", "--out", out).json
    issue(home)
    (home.path / "audit" / "journal.digests").write_bytes(b"ab\n")
    later = home.look("backup", "--out", out, "--incremental").json
    assert later["base"] == full["manifest"]
    assert 0 < later["new_octets"] < full["new_octets"]
    back = tmp_path / "back"
    done = run_here("restore", "--from", out, "--home", back, "--first", "status", "--json")
    assert done.code == 0, done.err
    assert done.json["cards_with_status"] == home.number("SELECT count(*) FROM card")
    assert list(done.json["seconds"]) == ["repository", "status", "record", "all"]
    assert any("token-pin" in missing for missing in done.json["missing"])
    restored = PreparedHome(tmp_path)
    restored.path = back
    for statement in ("SELECT * FROM signature ORDER BY 1", "SELECT * FROM serial_claim ORDER BY 1"):
        assert restored.query(statement) == home.query(statement)
    assert (back / "audit" / "journal.digests").read_bytes() == b"ab\n"
    assert restored.look("audit", "verify").json["whole"]
    assert run_here("restore", "--from", out, "--home", back, "--json").error["error"] == "HomeUnusable"


def test_no_secret_is_in_any_chunk(home: PreparedHome, tmp_path: Path) -> None:
    out = tmp_path / "backups"
    home.look("backup", "--out", out)
    contents = [zlib.decompress(path.read_bytes()) for path in out.glob("chunks/*/*")]
    contents += [path.read_bytes() for path in out.glob("manifests/*")]
    held = [path for name in ("secrets", "token") for path in (home.path / name).rglob("*") if path.is_file()]
    held = [path for path in held if path.name != "generation"]  # SoftHSM's counter: zeros, as in any number
    secrets = [path.read_bytes().strip() for path in [*held, home.path / "card-centre" / "card-centre.key"]]
    assert len(secrets) > 3
    for secret in filter(None, secrets):
        assert not any(secret in content for content in contents)
    assert all(path.stat().st_mode & 0o077 == 0 for path in [out, *out.rglob("*")])


def test_a_damaged_chunk_is_named_and_a_full_backup_mends_it(home: PreparedHome, tmp_path: Path) -> None:
    out = tmp_path / "backups"
    home.look("backup", "--out", out)
    spoilt = max(out.glob("chunks/*/*"), key=lambda path: path.stat().st_size)
    octets = bytearray(spoilt.read_bytes())
    octets[len(octets) // 2] ^= 1
    spoilt.write_bytes(octets)
    code, said = _restore(out, tmp_path / "one")
    assert (code, spoilt.name in said) == (18, True)
    spoilt.unlink()
    assert _restore(out, tmp_path / "two")[0] == 18
    home.look("backup", "--out", out)
    drilled = run_here("drill", "--from", out, "--json")
    assert drilled.code == 0, drilled.err
    assert drilled.json["verified"] is True
