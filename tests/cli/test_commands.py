"""What commands say to people and to programs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from typer.main import get_command

from engine.cli.main import COMMANDS, command_line
from engine.cli.output import table
from tests.cli.prepared_home import CERTIFICATES, COMPANIES, PreparedHome, copy_of, run_command, run_here


@pytest.fixture(scope="module")
def issued(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """A home whose run 1 is completed; tests only read it."""
    home = copy_of(prepared, tmp_path_factory.mktemp("issued") / "copy")
    home.sealmint("run", "start", 1)
    return home


def text(*arguments: object, code: int = 0) -> str:
    answer = run_here(*arguments)
    assert answer.code == code, answer.err
    return answer.out


def test_every_command_and_every_option_has_a_help_text() -> None:
    def missing(command: object, name: str) -> list[str]:
        found = [] if command.help else [name]  # type: ignore[attr-defined]  # typer's own copy of click has no types
        found += [
            f"{name} {parameter.name}"
            for parameter in command.params  # type: ignore[attr-defined]  # the same
            if parameter.name != "help" and not getattr(parameter, "help", None)
        ]
        for word, sub in getattr(command, "commands", {}).items():
            found += missing(sub, f"{name} {word}")
        return found

    assert missing(get_command(command_line()), "sealmint") == []


def test_every_command_takes_json() -> None:
    def leaves(command: object) -> list[object]:
        subs = getattr(command, "commands", None)
        return [command] if not subs else [leaf for sub in subs.values() for leaf in leaves(sub)]

    commands = leaves(get_command(command_line()))
    assert len(commands) >= 17
    for command in commands:
        assert "--json" in [option for parameter in command.params for option in parameter.opts]  # type: ignore[attr-defined]  # the same


def test_a_newcomer_is_told_where_to_begin() -> None:
    said = text("--help")
    for word in ("init", "card-centre", "run plan", "run start", "cert export"):
        assert word in said


@pytest.mark.parametrize(
    "words", [["run", "status"], ["init"], ["feed", "serve"], ["feed", "pull"], ["serve"]]
)
def test_what_is_called_alone_is_what_is_there_with_all(words: list[str]) -> None:
    def found(command: object) -> list[str]:
        for word in words:
            command = command.commands[word]  # type: ignore[attr-defined]  # a group
        return [option for parameter in command.params for option in parameter.opts]  # type: ignore[attr-defined]  # a command

    alone = get_command(command_line(words))
    assert list(alone.commands) == words[:1]  # type: ignore[attr-defined]  # a group
    assert found(alone) == found(get_command(command_line()))


def test_a_name_that_is_no_command_brings_in_all() -> None:
    assert set(get_command(command_line(["--help"])).commands) >= {*COMMANDS, "serve"}  # type: ignore[attr-defined]  # a group


def test_chinese_names_stay_aligned() -> None:
    """A Chinese character takes two places: columns are counted in places."""
    rows = [
        ("臺灣水泥股份有限公司", "1"),
        ("𠮷野家股份有限公司", "2"),
        ("Ａ＆Ｂ [/x] :key:", "3"),
        ("ABC", "4"),
    ]
    out = io.StringIO()
    Console(file=out, width=80, markup=False, emoji=False).print(table(None, ("name", "number"), rows))
    lines = out.getvalue().splitlines()
    assert len(lines) == 5
    assert {
        cell_len(line[: line.rindex(number)]) for line, (_, number) in zip(lines[1:], rows, strict=True)
    } == {cell_len(lines[0][: lines[0].index("number")])}
    assert "[/x] :key:" in lines[3]


def test_a_certificate_by_serial_number_and_name(issued: PreparedHome) -> None:
    ((number, name),) = issued.query("SELECT identifier, name FROM entity ORDER BY id LIMIT 1")
    found = issued.look("cert", "show", number).json["certificates"]
    assert {certificate["usage"] for certificate in found} == {"signature", "encryption"}
    assert {certificate["identifier"] for certificate in found} == {number}
    serial = found[0]["serial"]
    assert issued.look("cert", "show", serial.lower()).json["certificates"] == found[:1]
    assert issued.look("cert", "show", name).json["certificates"] == found
    assert "no such certificate" in issued.look("cert", "show", name[:-1], code=3).error["message"]
    said = text("cert", "show", serial, "--home", issued.path)
    assert name in said
    assert "BEGIN CERTIFICATE" in said


def test_status_for_people_and_for_programs(issued: PreparedHome) -> None:
    (run,) = issued.look("run", "status").json["runs"]
    assert run == issued.look("run", "status", 1).json
    assert (run["state"], run["issued"]) == ("completed", CERTIFICATES)
    line = next(
        line for line in text("run", "status", "--home", issued.path).splitlines() if "completed" in line
    )
    assert line.split()[:5] == ["1", "completed", "small", str(CERTIFICATES), str(CERTIFICATES)]
    assert "completed" in text("run", "status", 1, "--home", issued.path)


def test_the_report_lies_in_the_home(issued: PreparedHome) -> None:
    report = issued.look("run", "report", 1).json
    written, rejects, failures = map(Path, report["files"])
    assert json.loads(written.read_text()) == report
    assert rejects.read_text().startswith("source,row,identifier,reason,field,detail\n")
    assert failures.read_text() == "item,reason\n"


def test_the_audit_log_for_people(issued: PreparedHome) -> None:
    assert "the chain is whole" in text("audit", "verify", "--home", issued.path)
    issued.sealmint("audit", "checkpoint")


def test_a_damaged_audit_log(home: PreparedHome) -> None:
    home.change("UPDATE audit_record SET actor = 'nobody' WHERE sequence = 5")
    document = home.look("audit", "verify", code=10).json
    assert not document["whole"]
    assert 5 in {finding["record"] for finding in document["findings"]}
    assert "5" in text("audit", "verify", "--home", home.path, code=10)


def test_the_token_is_proven_and_measured(issued: PreparedHome) -> None:
    document = issued.sealmint("token", "check", "--sessions", 2).json
    assert document["keys_proven"] == ["ca", "ocsp", "audit", "operations"]
    assert document["signatures_per_second"] > 0
    assert document["measured_over_sessions"] == 2


def test_a_register_is_checked_without_a_home(prepared: PreparedHome, tmp_path: Path) -> None:
    good = run_here("register", "check", "--register", prepared.extract, "--json")
    assert (good.code, good.json["good"], good.json["rejected"]) == (0, COMPANIES, 0)
    register = tmp_path / "extract.jsonl"
    register.write_text(prepared.extract.read_text() + "no JSON\n")
    bad = run_here("register", "check", "--register", register, "--json")
    assert (bad.code, bad.json["good"], bad.json["rejected"]) == (20, COMPANIES, 1)
    assert bad.json["rejects"][0]["row"] == COMPANIES + 1
    assert str(COMPANIES + 1) in text("register", "check", "--register", register, code=20)


def test_the_home_may_come_from_the_environment(issued: PreparedHome) -> None:
    answer = run_command("run", "status", "--json", SEALMINT_HOME=str(issued.path))
    assert answer.code == 0
    assert len(answer.json["runs"]) == 1
