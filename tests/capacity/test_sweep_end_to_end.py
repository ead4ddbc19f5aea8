"""`pool sweep` on a pretend HSM of three places: what it finds, what it signs, what it leaves behind."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import pytest

from engine.capacity.document import load_document
from engine.capacity.sweep_messages import announced_message
from tests.cli.prepared_home import PreparedHome, copy_of, wait_until

PLACES = 3
LATENCY_MS = 80
"""So long that what else the host does hardly counts: what a process waits for a CPU is small beside it."""

QUICK = ("--seconds-per-point", "0.2", "--workers", "1,2", "--batches", "1", "--max-sessions", "6")
SMALLEST = ("--seconds-per-point", "0.05", "--workers", "1", "--batches", "1", "--max-sessions", "1")


@pytest.fixture(scope="module")
def swept(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """A home whose token was swept: 80 ms a call, three at once over all processes. Tests only read it."""
    home = copy_of(prepared, tmp_path_factory.mktemp("swept") / "copy")
    home.hsm.latency("C_Sign", LATENCY_MS * 1_000)
    home.hsm.cap_parallel(PLACES)
    (home.directory / "said.json").write_text(home.sealmint("pool", "sweep", *QUICK).out)
    home.hsm.reset()
    return home


def events(home: PreparedHome, event: str) -> list[dict[str, object]]:
    rows = home.query("SELECT body FROM audit_record WHERE event = ? ORDER BY sequence", event)
    return [json.loads(body) for (body,) in rows]


def test_the_knee_is_within_one_session_of_the_places(swept: PreparedHome) -> None:
    said = json.loads((swept.directory / "said.json").read_text())
    assert abs(said["knee_sessions"] - PLACES) <= 1
    assert said["recommended"]["parallel"] == said["knee_sessions"]
    assert said["recommended"]["workers"] * said["recommended"]["sessions"] >= said["knee_sessions"]
    assert said["plateau_per_second"] == pytest.approx(PLACES / (LATENCY_MS / 1e3), rel=0.35)
    assert {"workers", "sessions", "batch", "per_second", "call", "wait"} <= set(said["points"][0])
    assert all(point["call"]["p50_ms"] > LATENCY_MS for point in said["points"])


def test_what_is_saved_can_be_read_again(swept: PreparedHome) -> None:
    directory = Path(json.loads((swept.directory / "said.json").read_text())["directory"])
    assert directory.parent == swept.path / "capacity"
    document = load_document(directory / "sweep.json")
    lines = (directory / "sweep.csv").read_text().splitlines()
    assert len(lines) == 1 + len(document.points)
    for name in ("throughput", "latency"):
        assert (directory / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (directory / f"{name}.svg").read_text()[-20:]


@pytest.mark.cps("6.1.9")
@pytest.mark.cps("4.5.1")
def test_every_signature_was_announced_and_none_is_of_the_ca_key(swept: PreparedHome) -> None:
    slices = events(swept, "token.swept")
    announced = [body for body in slices if "announced_each" in body]
    accounts = {body["slice"]: body["signed"] for body in slices if "signed" in body}
    assert len(announced) == len(accounts)
    digests: set[str] = set()
    total = 0
    for body in announced:
        assert str(body["key"]).startswith("sealmint-sweep-")
        signed = accounts[body["slice"]]
        assert isinstance(signed, list)
        for process, count in enumerate(signed):
            assert count <= body["announced_each"]
            total += count
            text = f"sealmint token sweep {body['nonce']} slice {body['slice']} process {process} message"
            digests |= {
                hashlib.sha256(announced_message(text, number)).hexdigest() for number in range(count)
            }
    before = {item.digest for item in swept.hsm.signatures()} - digests
    made = [item for item in swept.hsm.signatures() if item.digest in digests]
    assert len(made) == total == len(digests)
    # What else the token signed was signed when the home was prepared: nothing by the sweep.
    assert all(
        item.process not in {one.process for one in made}
        for item in swept.hsm.signatures()
        if item.digest in before
    )


def test_the_key_is_destroyed_and_both_are_recorded(swept: PreparedHome) -> None:
    made = [body for body in events(swept, "key.generated") if body.get("purpose") == "token sweep"]
    gone = events(swept, "key.destroyed")
    assert len(made) == len(gone) == 1
    assert made[0]["label"] == gone[0]["label"]
    assert made[0]["type"] == "rsa-2048"


@pytest.mark.cps("6.1.9")
def test_the_ca_key_is_refused_unless_it_is_said_twice(home: PreparedHome) -> None:
    refused = home.sealmint("pool", "sweep", *SMALLEST, "--key", "ca", code=4)
    assert "CPS 6.1.9" in refused.error["rule"]
    assert events(home, "token.swept") == []
    home.sealmint("pool", "sweep", *SMALLEST, "--key", "ca", "--even-the-ca-key")
    assert events(home, "token.swept")[0]["even_the_ca_key"] is True
    assert events(home, "key.destroyed") == []


def test_the_key_of_a_killed_sweep_is_destroyed_by_the_next(home: PreparedHome) -> None:
    home.hsm.latency("C_Sign", 20_000)
    killed = home.start("pool", "sweep", *QUICK)
    assert wait_until(lambda: any("announced_each" in body for body in events(home, "token.swept")), killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    left = [body["label"] for body in events(home, "key.generated") if body.get("purpose") == "token sweep"]
    assert events(home, "key.destroyed") == []
    home.sealmint("pool", "sweep", *SMALLEST, "--key", "operations")
    assert [body["label"] for body in events(home, "key.destroyed")] == left


def test_capacity_reads_the_newest_sweep(swept: PreparedHome) -> None:
    asked = ("--cards", 1_000, "--by", "2099-01-01T00:00", "--nonce-answers", 5)
    said = swept.look("capacity", *asked).json
    assert said["possible"] is True
    assert said["certificates"] == 2_000
    assert said["sessions"] == 1
    assert said["shares"]["live"] == 5
    too_much = swept.look(
        "capacity", "--cards", 600_000, "--by", "2099-01-01", "--nonce-answers", 10_000
    ).json
    assert (too_much["possible"], too_much["binding"], too_much["ends_at"]) == (False, "token", None)


def test_capacity_without_a_sweep_says_what_to_do(home: PreparedHome) -> None:
    refused = home.look("capacity", "--cards", 1, "--by", "Sunday 18:00", code=3)
    assert "pool sweep" in refused.error["rule"]
