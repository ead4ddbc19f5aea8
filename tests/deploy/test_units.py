"""The units say what systemd understands, start commands that there are, and leave little exposed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.unit_files import INSTALLED, SERVICES, TIMERS, Unit, installed_copy, read_unit
from responders.supervised_process import FINAL
from tests.deploy.accounts import AUTHORITY, PUBLIC, directories, users
from tests.deploy.command_line import check_command

MOST_EXPOSED = 3.0
"""Of the ten points of `systemd-analyze security`; the requirement."""

each_service = pytest.mark.parametrize(
    "unit", [read_unit(path) for path in SERVICES], ids=lambda unit: unit.name
)


@pytest.mark.judge("systemd")
@pytest.mark.cps("6.7")
@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_exposure(path: Path) -> None:
    said = _systemd("security", "--offline=true", "--no-pager", str(path))
    (level,) = re.findall(r"Overall exposure level for \S+: (\d+\.\d)", said)
    assert float(level) < MOST_EXPOSED, said


@pytest.mark.judge("systemd")
def test_systemd_understands_every_line(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("sealmint")
    copy = installed_copy(tmp_path, program)
    paths = [str(copy / path.name) for path in (*SERVICES, *TIMERS)]
    assert _systemd("verify", "--man=no", *paths) == ""


def _systemd(*arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@each_service
def test_the_command_is_one_of_the_command_line(unit: Unit) -> None:
    program, *words = unit.command()
    assert program == INSTALLED
    check_command(words)


@each_service
def test_whoever_starts_again_does_not_where_a_person_must_look(unit: Unit) -> None:
    if unit.one("Type") == "oneshot":
        assert not unit.all("Restart")
        return
    final = set(unit.words("RestartPreventExitStatus"))
    assert unit.one("Restart") == "on-failure"
    codes = {str(code) for code in FINAL}
    assert final == (codes if unit.one("User") == "sealmint" else codes - {"14"})  # no PIN on a public host


@each_service
def test_supervisors_stop_their_processes_themselves(unit: Unit) -> None:
    if unit.command()[1:3] in (["serve", "--ocsp"], ["feed", "serve"]):
        assert unit.one("KillMode") == "mixed"


@each_service
def test_what_a_service_writes_is_there_before_it_starts(unit: Unit) -> None:
    role = AUTHORITY if unit.one("User") == "sealmint" else PUBLIC
    made = {directory.path for directory in directories(role)}
    named = {
        *unit.words("ReadWritePaths"),
        *unit.words("InaccessiblePaths"),
        unit.environment["SEALMINT_HOME"],
    }
    assert named <= made


@each_service
def test_a_service_runs_as_an_account_of_its_host(unit: Unit) -> None:
    role = AUTHORITY if unit.environment["SEALMINT_HOME"] == "/var/lib/sealmint" else PUBLIC
    accounts, groups = users(role)
    assert unit.one("User") in accounts
    assert {unit.one("Group"), *unit.words("SupplementaryGroups")} <= groups


@pytest.mark.cps("2.6.3")
def test_who_answers_on_the_public_host_owns_none_of_the_copies() -> None:
    public = read_unit(next(path for path in SERVICES if path.name == "sealmint-public.service"))
    web = public.one("User")
    pull = read_unit(next(path for path in SERVICES if path.name == "sealmint-feed-pull.service"))
    assert web != pull.one("User")
    own = {directory.path.rsplit("/", 1)[1] for directory in directories(PUBLIC) if directory.user == web}
    assert own == {"run", "spool"}
    assert "/var/lib/sealmint-public/secrets" in public.words("InaccessiblePaths")


@pytest.mark.parametrize("path", TIMERS, ids=lambda path: path.name)
def test_a_timer_has_its_service(path: Path) -> None:
    assert path.with_suffix(".service") in SERVICES
