"""docs/deployment.md: its commands are there, and the marked ones work one after the other."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.try_guide import GUIDE, PORTS, ROLES, blocks
from deploy.unit_files import SERVICES, TIMERS, read_unit
from tests.cli.prepared_home import ROOT, environment
from tests.deploy.command_line import check_names

TEXT = GUIDE.read_text()
LINES = [
    line.strip()
    for block in re.findall(r"^```sh.*?\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines()
]


def test_both_hosts_are_tried() -> None:
    assert {role for role, _ in blocks()} == set(ROLES)


@pytest.mark.parametrize("line", [line for line in LINES if re.search(r"-- sealmint |feed-pull feed ", line)])
def test_commands_of_ours_are_there(line: str) -> None:
    check_names(shlex.split(re.split(r"-- sealmint | feed-pull (?=feed )", line)[1]))


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith(("install ", "sed "))])
def test_files_that_are_installed_are_there(line: str) -> None:
    named = re.findall(r"deploy/\S+", line)
    expanded = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {' '.join(named)}"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert expanded
    assert [path for path in expanded if not (ROOT / path).exists()] == []


def test_every_unit_is_installed_by_the_guide() -> None:
    for path in (*SERVICES, *TIMERS):
        _, _, name = path.stem.partition("-")
        lines = [line for line in LINES if line.startswith("install ") and f"{path.suffix} /etc" in line]
        assert any(re.search(rf"[-{{,]{name}[,}}.]", line) for line in lines), path.name


def test_the_ports_are_those_of_the_units() -> None:
    found = {
        port for path in SERVICES for port in re.findall(r":(\d{4})\b", str(read_unit(path).environment))
    }
    assert found == set(PORTS)
    assert all(f"| {port}" in TEXT or f", {port}" in TEXT for port in PORTS)


def test_the_guide_works(tmp_path: Path) -> None:
    """As a new operator has it: from nothing to OpenSSL's question answered by the public host."""
    done = subprocess.run(
        [sys.executable, "-m", "deploy.try_guide", str(tmp_path / "trial")],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
    assert re.search(r"\.der: good$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith("the guide works\n")
