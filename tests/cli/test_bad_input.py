"""Bad input that reaches the command line: the error names the place and the rule, and nothing is half-written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.home import Home
from tests.cli.prepared_home import POLICY, PreparedHome, copy_of, run_here


@pytest.fixture(scope="module")
def kept(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """A home that no command of this module may change."""
    return copy_of(prepared, tmp_path_factory.mktemp("kept") / "copy")


def contents(home: PreparedHome) -> dict[str, int]:
    tables = [name for (name,) in home.query("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {table: home.number(f'SELECT count(*) FROM "{table}"') for table in tables}


def refused_plan(kept: PreparedHome, code: int, **changes: Any) -> dict[str, Any]:
    """Plan with one thing changed; return the error."""
    options = {"--register": kept.extract, "--card-keys": kept.cards, "--policy": kept.policy}
    for name, value in changes.items():
        options[f"--{name.replace('_', '-')}"] = value
    before = contents(kept)
    words = [word for pair in options.items() for word in pair]
    error = kept.look("run", "plan", *words, code=code).error
    assert contents(kept) == before
    return error


def test_a_policy_with_an_unknown_key(kept: PreparedHome, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("validty = 'P5Y'\n" + POLICY)
    error = refused_plan(kept, 4, policy=policy)
    assert error["error"] == "ConfigurationInvalid"
    assert error["place"] == f"{policy}, key validty"


def test_a_policy_that_is_not_there(kept: PreparedHome) -> None:
    assert "no such shipped policy" in refused_plan(kept, 4, policy="every-company")["message"]
    assert "/nowhere.toml" in refused_plan(kept, 4, policy="/nowhere.toml")["place"]


def test_a_register_that_is_not_there(kept: PreparedHome, tmp_path: Path) -> None:
    error = refused_plan(kept, 3, register=tmp_path / "nowhere.jsonl")
    assert error["error"] == "InputRejected"
    assert "nowhere.jsonl" in error["place"]


def test_a_card_file_that_is_not_there(kept: PreparedHome, tmp_path: Path) -> None:
    error = refused_plan(kept, 3, card_keys=tmp_path / "nowhere")
    assert "nowhere" in error["place"]


def test_a_card_file_whose_hash_is_wrong(kept: PreparedHome, tmp_path: Path) -> None:
    cards = shutil.copytree(kept.cards, tmp_path / "cards")
    (largest, *_) = sorted(cards.iterdir(), key=lambda path: path.stat().st_size, reverse=True)
    with largest.open("ab") as file:
        file.write(b"\n")
    error = refused_plan(kept, 3, card_keys=cards)
    assert largest.name in error["place"]
    assert error["rule"] is not None


def test_a_manifest_whose_signature_is_wrong(kept: PreparedHome, tmp_path: Path) -> None:
    cards = shutil.copytree(kept.cards, tmp_path / "cards")
    manifest = cards / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b"\n")
    error = refused_plan(kept, 8, card_keys=cards)
    assert error["error"] == "SignatureInvalid"
    assert "manifest.json" in error["place"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "status", 99), 3, "no such run"),
        (("run", "start", 99), 3, "no such run"),
        (("run", "pause", 99), 3, "no such run"),
        (("run", "abort", 99), 3, "no such run"),
        (("run", "retry", 99), 3, "no such run"),
        (("run", "report", 99), 3, "no such run"),
        (("cert", "export", "--run", 99, "--out", "unused"), 3, "no such run"),
        (("card-centre", "deliver", "--run", 99, "--out", "unused"), 3, "no such run"),
        (("cert", "show", "tea"), 3, "neither a serial nor a 統一編號"),
        (("cert", "show", "00AA"), 3, "no such certificate"),
        (("cert", "show", "12345675"), 3, "no such certificate"),
    ],
)
def test_what_there_is_not(kept: PreparedHome, arguments: tuple[object, ...], code: int, said: str) -> None:
    before = contents(kept)
    assert said in kept.sealmint(*arguments, code=code).error["message"]
    assert contents(kept) == before


def test_a_directory_that_is_no_home(tmp_path: Path) -> None:
    answer = run_here("run", "status", "--home", tmp_path / "nowhere", "--json")
    assert (answer.code, answer.error["error"]) == (5, "HomeUnusable")
    assert "sealmint init" in answer.error["message"]
    assert not (tmp_path / "nowhere").exists()


def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "home"
    answer = run_here("init", "--home", place, "--json")
    assert (answer.code, answer.error["place"]) == (5, str(place))


def test_a_home_in_use(kept: PreparedHome) -> None:
    with Home(kept.path).lock("home", "testing"):
        error = kept.sealmint("init", code=5).error
    assert error["place"].endswith("home.lock")
    assert error["value"].startswith("testing, process ")


def test_a_configuration_with_an_unknown_key(home: PreparedHome) -> None:
    home.configure("[token]\n", "[token]\nslot = 1\n")
    error = home.look("run", "status", code=4).error
    assert error["place"].endswith("sealmint.toml, key token.slot")


def test_a_damaged_certificate_of_the_authority(home: PreparedHome) -> None:
    path = home.path / "certificates" / "ca.der"
    path.write_bytes(path.read_bytes()[:100])
    error = home.look("run", "status", code=5).error
    assert error["place"] == str(path)


def test_an_export_to_a_place_that_cannot_be_written(kept: PreparedHome, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = kept.look("cert", "export", "--run", 1, "--out", tmp_path / "file" / "out", code=3).error
    assert error["place"] == str(tmp_path / "file" / "out")


def test_wrong_usage() -> None:
    as_json = run_here("run", "start", "one", "--json")
    assert as_json.code == 2
    assert "'RUN'" in as_json.error["message"]
    for_people = run_here("run", "plan")
    assert for_people.code == 2
    assert "--register" in for_people.err


def test_an_error_for_people_keeps_its_brackets(kept: PreparedHome) -> None:
    answer = run_here("cert", "show", "[/bold]", "--home", kept.path)
    assert answer.code == 3
    assert "(found '[/bold]') [hexadecimal, or eight digits]" in answer.err.replace("\n", " ")
