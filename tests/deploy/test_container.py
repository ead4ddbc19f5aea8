"""The container files: what can be checked without an engine."""

from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types
from packaging.requirements import Requirement

from deploy.runtime_lock import declared, part_for
from deploy.unit_files import DEPLOY, UNITS, read_unit
from tests.deploy.accounts import PUBLIC, users
from tests.deploy.command_line import check_command

PROJECT = DEPLOY.parent
CONTAINER = DEPLOY / "container"
UNIT_OF = {
    "serve": "sealmint-serve",
    "feed": "sealmint-feed",
    "feed-pull": "sealmint-feed-pull",
    "public": "sealmint-public",
    "usage": "sealmint-usage",
}
"""Which unit runs the same on a host without containers."""


def _yaml(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((CONTAINER / name).read_text())
    return document


SERVICES: dict[str, dict[str, Any]] = _yaml("compose.yaml")["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "sealmint"}
each_service = pytest.mark.parametrize("name", SERVICES)
each_of_ours = pytest.mark.parametrize("name", OURS)


def _stages() -> dict[str, list[tuple[str, str]]]:
    """The Containerfile's instructions, by stage."""
    text = re.sub(r"^#.*\n", "", (CONTAINER / "Containerfile").read_text(), flags=re.MULTILINE)
    stages: dict[str, list[tuple[str, str]]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if line:
            word, rest = line.split(None, 1)
            if word == "FROM":
                stages[rest.rsplit(" AS ", 1)[1]] = found = []
            found.append((word, rest))
    return stages


@each_service
def test_a_container_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ulimits"]["core"] == 0
    assert not {"privileged", "cap_add", "devices", "ipc", "env_file"} & set(service)


def test_who_shares_a_status_store_shares_process_numbers() -> None:
    """LMDB marks a reader by its process number (mdb.c, mdb_reader_pid)."""
    spaces = {name: service["pid"] for name, service in SERVICES.items() if "pid" in service}
    assert spaces == {"feed-pull": "service:public"}


@each_service
def test_every_container_has_a_health_check_or_is_judged_by_what_it_brings(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) == (name != "feed-pull")


@each_of_ours
def test_a_container_runs_what_the_unit_runs(name: str) -> None:
    service, unit = OURS[name], read_unit(UNITS / f"{UNIT_OF[name]}.service")
    check_command(service["command"])
    assert service["command"] == unit.command()[1:]
    assert service["user"] == f"{unit.one('User')}:{unit.one('Group')}"
    assert service.get("group_add", []) == unit.words("SupplementaryGroups")
    assert service["environment"] == {"SEALMINT_HOME": unit.environment["SEALMINT_HOME"]}
    (volume,) = service["volumes"]
    assert volume.split(":")[1] == unit.environment["SEALMINT_HOME"]


@pytest.mark.cps("6.7")
def test_the_two_hosts_share_the_network_of_the_feed_and_nothing_else() -> None:
    homes = {name: service["volumes"][0].split(":")[0] for name, service in OURS.items()}
    assert homes == {name: "authority" if name in ("serve", "feed") else "public" for name in OURS}
    assert SERVICES["serve"]["network_mode"] == "none"
    assert [name for name, service in OURS.items() if "feed" in service.get("networks", [])] == [
        "feed",
        "feed-pull",
        "usage",
    ]
    assert SERVICES["edge"]["network_mode"] == "service:public"


def test_ports_that_are_published_are_listened_at() -> None:
    for name in ("feed", "usage"):
        port = SERVICES[name]["command"][-1].rpartition(":")[2]
        assert SERVICES[name]["ports"] == [f"{port}:{port}"]
    (port,) = SERVICES["public"]["ports"]
    site = (DEPLOY / "nginx" / "site.conf").read_text()
    assert re.findall(r"listen (\d+);", site) == [port.split(":")[1]]
    inside = dict(
        re.findall(r"upstream sealmint_(\w+) \{\s+server ([0-9.:]+);", _nginx("sealmint/host.conf"))
    )
    said = dict(zip(*[iter(SERVICES["public"]["command"][1:])] * 2, strict=True))
    assert inside == {"ocsp": said["--ocsp"], "web": said["--http"]}


def _nginx(name: str) -> str:
    return (DEPLOY / "nginx" / name).read_text()


def test_a_real_hsm_adds_its_module_and_the_pin_as_a_file() -> None:
    overlay = _yaml("compose.hsm.yaml")
    assert set(overlay["services"]) == {
        name for name, service in OURS.items() if "authority" in service["profiles"]
    }
    for service in overlay["services"].values():
        assert service["secrets"] == list(overlay["secrets"]) == ["token-pin"]
        assert "environment" not in service


def test_copied_files_are_there_and_reach_the_builder() -> None:
    kept = [line[1:] for line in _ignore_lines() if line.startswith("!")]
    for stage, instructions in _stages().items():
        for word, rest in instructions:
            if word == "COPY" and not rest.startswith("--from="):
                for source in rest.split()[:-1]:
                    assert (PROJECT / source).exists(), (stage, source)
                    assert any(source == one or source.startswith(f"{one}/") for one in kept), source


def _ignore_lines() -> list[str]:
    return (CONTAINER / "Containerfile.dockerignore").read_text().splitlines()


def test_packages_are_installed_by_their_hashes() -> None:
    installs = re.findall(
        r"pip (?:--python \S+ )?install ([^&]+)", " ".join(rest for _, rest in _stages()["build"])
    )
    assert len(installs) == 3
    assert all("--require-hashes" in words or "--no-index" in words for words in installs)


def test_the_last_stages_have_no_tools_to_build_with_and_no_root() -> None:
    for name in ("sealmint", "edge"):
        instructions = _stages()[name]
        runs = " ".join(rest for word, rest in instructions if word == "RUN")
        assert not re.search(r"\b(gcc|pip|venv|build-essential|git|curl|wget|python3-dev)\b", runs)
        (user,) = (rest for word, rest in instructions if word == "USER")
        assert not user.startswith(("root", "0"))
        assert not any(
            re.search(r"(?i)pin|secret|password|token", rest) for word, rest in instructions if word == "ENV"
        )


def test_the_accounts_of_the_image_are_those_of_the_hosts() -> None:
    fixed = [
        shlex.split(line)
        for line in (CONTAINER / "sysusers.conf").read_text().splitlines()
        if line[0] not in "#"
    ]
    named = {fields[1] for fields in fixed if fields[0] == "u"}
    accounts, groups = users(PUBLIC)
    assert named == accounts | {"sealmint"}
    assert {fields[1] for fields in fixed if fields[0] == "g"} <= groups


def test_the_lock_for_running_is_what_the_package_asks_for() -> None:
    """By the metadata of what is installed here, which is the whole lock."""
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(text) for text in project["dependencies"]]
    needed, seen = set[str](), set[tuple[str, frozenset[str]]]()
    while wanted:
        one = wanted.pop()
        name, extras = one.name.lower().replace("_", "-"), frozenset(one.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        needed.add(name)
        asked = [Requirement(text) for text in requires(name) or []]
        wanted += [
            one
            for one in asked
            if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in {"", *extras})
        ]
    locked = set(re.findall(r"^([a-z0-9.-]+)==", part_for(declared()), re.MULTILINE))
    assert locked == needed
    assert not locked & {"pytest", "mypy", "ruff", "setuptools"}


def test_every_file_of_the_packages_is_installed() -> None:
    patterns = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "*"
    ]
    tracked = subprocess.run(
        ["git", "ls-files", "engine", "responders"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    if tracked.returncode != 0:
        pytest.skip("not in a working copy: which files belong to the packages, git would say")
    for line in tracked.stdout.splitlines():
        path = Path(line)
        is_installed = path.suffix == ".py" or any(fnmatch.fnmatch(path.name, one) for one in patterns)
        assert is_installed or path.name == "README.md", line
