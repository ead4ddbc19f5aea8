"""`sealmint load` against `sealmint serve` on a real home, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.load.targets import Targets
from engine.store.schema import CertificateState
from tests.cli.prepared_home import (
    CERTIFICATES,
    Answer,
    PreparedHome,
    copy_of,
    run_command,
    run_here,
    wait_until,
)
from tests.responders.test_serve_command import ask, serving
from tests.status import ocsp_home
from tests.status.ocsp_home import OcspHome

USAGE, INPUT_REJECTED, CONFIGURATION, MISSED = 2, 3, 4, 20

MIXED = """
name = "short day"
about = "All that a CA host answers, while some certificates are revoked."
connections = 16
timeout = 60
patience = 60
verify = 1.0
withdrawal_seconds = 60

[[stages]]
shape = "steps"
seconds = 6
rates = [20, 60, 30]

[[kinds]]
kind = "post"
weight = 5
hash_name = "sha256"

[[kinds]]
kind = "get"
weight = 3
caches = 2
keep_seconds = 1

[[kinds]]
kind = "nonce"
weight = 2

[[kinds]]
kind = "crl"
weight = 1
caches = 3

[[kinds]]
kind = "search"
optional = true

[acts]
per_second = 4
count = 6
"""

RIGHT = """
name = "right"

[[objectives]]
measure = "wrong_answers"
at_most = 0

[[objectives]]
measure = "verified_answers"
at_least = 50

[[objectives]]
measure = "error_rate"
at_most = 0.2
"""
"""No objective of time: the machine may be busy. An answer that was withdrawn and not signed anew yet is an error."""

IMPOSSIBLE = 'name = "impossible"\n[[objectives]]\nmeasure = "p50_ms"\nat_most = 0.000001\n'


@dataclass(frozen=True)
class Loadable:
    """A home that is served, and the files of a load."""

    home: PreparedHome
    ocsp: str
    http: str
    directory: Path

    def load(self, scenario: str, slo: str, *options: object, code: int = 0) -> Answer:
        """Give the command as a tester on the CA host would."""
        where = ("--ocsp", self.ocsp, "--http", self.http, "--out", self.directory / "out")
        answer = run_command("load", scenario, "--slo", slo, *where, "--json", *options)
        assert answer.code == code, (answer.code, answer.out, answer.err)
        return answer

    def file(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        return str(path)


@contextmanager
def loadable(prepared: PreparedHome, directory: Path) -> Iterator[Loadable]:
    home = copy_of(prepared, directory / "copy")
    ocsp_home.issue(home)
    OcspHome(home).act(3, 0, CertificateState.REVOKED)
    home.sealmint("ocsp", "presign")
    home.sealmint("crl", "publish")
    with serving(home, "--processes", "1") as (process, said):
        assert wait_until(lambda: ask(said["http"], "/readyz")[0] == 200, process)
        yield Loadable(home, said["ocsp"], said["http"], directory)


@pytest.fixture(scope="module")
def served(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loadable]:
    with loadable(prepared, tmp_path_factory.mktemp("load")) as made:
        yield made


@pytest.fixture(scope="module")
def result(served: Loadable) -> dict[str, Any]:
    scenario, slo = served.file("mixed.toml", MIXED), served.file("right.toml", RIGHT)
    options = ("--home", served.home.path, "--change-status", "--processes", 2)
    document: dict[str, Any] = served.load(scenario, slo, *options).json
    return document


def test_a_mixed_load_with_revocations_meets_its_objectives(result: dict[str, Any]) -> None:
    assert result["verdict"] == "met"
    assert [one["met"] for one in result["objectives"]] == [True, True, True]
    assert set(result["kinds"]) == {"post", "get", "nonce", "crl"}  # a CA host has no repository
    for kind in result["kinds"].values():
        assert kind["good"] > 0
        assert kind["wrong"] == {}
        assert kind["offered"] == kind["sent"] + kind["cached"] + sum(kind["missed"].values())
    assert result["kinds"]["get"]["cached"] > 0
    changes = result["changes"]
    assert (changes["verb"], changes["failed"]) == ("revoke", 0)
    assert 1 <= changes["acknowledged"] <= 6  # on a busy machine a command takes as long as the load


def test_the_record_has_what_the_load_changed(served: Loadable, result: dict[str, Any]) -> None:
    revoked = served.home.number("SELECT count(*) FROM certificate_status WHERE state = 2")
    assert revoked == 1 + result["changes"]["acknowledged"]
    acts = served.home.number("SELECT count(*) FROM status_act WHERE verb = 'revoke'")
    assert acts == result["changes"]["acknowledged"]


def test_lanes_and_sessions_are_on_the_same_time_axis(served: Loadable, result: dict[str, Any]) -> None:
    lanes = {lane for sample in result["server"] for lane in sample["lanes"]}
    assert {"live", "urgent"} <= lanes
    assert all(0 <= sample["second"] < 600 for sample in result["server"])
    assert any(sum(sample["sessions"].values()) > 0 for sample in result["server"])
    page = (served.directory / "out" / "report.html").read_text()
    for title in ("Arrivals a second", "Latency of good answers", "Failures a second", "Server: sessions"):
        assert title in page
    assert not re.search(r"""(?:src|href)=["'](?!#)""", page)  # nothing from anywhere else
    kept = json.loads((served.directory / "out" / "result.json").read_text())
    assert kept["total"] == result["total"]
    assert {"machine", "commit", "seed"} <= set(kept)  # without which two results cannot be compared


def test_a_missed_objective_has_an_exit_code_and_says_by_how_much(
    served: Loadable, result: dict[str, Any]
) -> None:
    targets = served.directory / "targets"
    written = served.load("nonce", "ocsp", "--home", served.home.path, "--write-targets", targets).json
    assert written["targets"] == CERTIFICATES == len(Targets(targets))
    slo = served.file("impossible.toml", IMPOSSIBLE)
    options = ("--targets", targets, "--seconds", 2, "--rate", 0.1, "--processes", 1)
    missed = served.load("relying-party-post", slo, *options, code=MISSED).json
    (one,) = missed["objectives"]
    assert (missed["verdict"], one["met"]) == ("missed", False)
    assert one["margin"] == pytest.approx(0.000001 - one["value"])
    assert missed["server"] == []  # a tester elsewhere has no control sockets
    assert missed["scenario"]["connections"] == 64


# ---- what is refused, before anything is sent ----


def refused(*arguments: object, code: int = INPUT_REJECTED) -> str:
    answer = run_here("load", *arguments, "--json")
    assert answer.code == code, (answer.out, answer.err)
    return json.dumps(answer.error)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://192.0.2.1/", "--not-loopback"),
        ("http://127.0.0.1:1/", "nobody listens"),
        ("ftp://127.0.0.1/", "no URL"),
        ("127.0.0.1:80", "no URL"),
        ("http://127.0.0.1:99999/", "no URL"),
        ("http://127.0.0.1/?query", "no URL"),
    ],
)
def test_whom_a_load_is_not_sent_to(tmp_path: Path, url: str, said: str) -> None:
    where = ("--ocsp", url, "--targets", tmp_path / "targets", "--out", tmp_path / "out")
    assert said in refused("relying-party-post", *where)
    assert not (tmp_path / "out").exists()


def test_what_must_be_said_before_anything_changes(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "out")
    assert "--home or --targets" in refused("nonce", *out)
    home = ("--home", tmp_path)
    assert "--change-status" in refused("revocation-storm", *out, *home)
    assert "--home" in refused("revocation-storm", *out, "--targets", tmp_path / "targets", "--change-status")
    assert "--run" in refused("issuance-while-serving", *out, *home)
    assert "fewer connections" in refused("crl-fetchers", *out, *home, "--processes", 33)
    assert "relying-party-get" in refused("nothing", *out, *home, code=CONFIGURATION)
    assert "overload" in refused("nonce", "--slo", "nothing", *out, *home, code=CONFIGURATION)
