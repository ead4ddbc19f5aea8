"""What all service processes do alike: PIN, log, exit codes, stopping."""

from __future__ import annotations

import argparse
import fcntl
import signal
import sqlite3
import sys
import termios
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from engine.status import pre_signer
from tests.cli.prepared_home import PreparedHome, copy_of
from tests.status.ocsp_home import OcspHome

USAGE, HOME_UNUSABLE, CLOCK_WRONG = 2, 5, 11


@pytest.fixture
def home(issued_home: OcspHome, tmp_path: Path) -> OcspHome:
    return OcspHome(copy_of(issued_home.home, tmp_path / "copy"))


def ask_for_the_pin(home: PreparedHome) -> bytes:
    """Have the PIN typed instead of read from its file; return it."""
    pin = home.path / "secrets" / "token-pin"
    home.configure("[token]\n", '[token]\npin_file = "prompt"\n')
    typed = pin.read_bytes().strip()
    pin.unlink()
    return typed


@pytest.mark.cps("6.4.2")
def test_a_typed_pin_comes_on_the_first_line(home: OcspHome) -> None:
    pin = ask_for_the_pin(home.home)
    with home.service("pre_signer", "--once") as signer:
        assert signer.process.stdin is not None
        signer.process.stdin.write(pin + b"\n")
        signer.process.stdin.flush()
        assert signer.process.wait() == 0
        assert pin.decode() not in str(signer.said)
    assert home.is_all_answered()


@pytest.mark.cps("6.4.2")
def test_a_typed_pin_may_come_late_and_in_pieces(home: OcspHome) -> None:
    """Standard input is also watched for its end; the watcher must not swallow the PIN."""
    pin = ask_for_the_pin(home.home)
    with home.service("pre_signer", "--once") as signer:
        assert signer.process.stdin is not None
        for piece in (pin[:2], pin[2:] + b"\n"):
            signer.process.stdin.write(piece)
            signer.process.stdin.flush()
            assert signer.wait_until(lambda: octets_waiting(signer.process.stdin) == 0)
        assert signer.process.wait() == 0


def octets_waiting(pipe: IO[bytes] | None) -> int:
    assert pipe is not None
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_without_its_pin_a_process_does_not_begin(home: OcspHome) -> None:
    ask_for_the_pin(home.home)
    with home.service("pre_signer") as signer:
        assert signer.process.stdin is not None
        signer.process.stdin.close()
        assert signer.process.wait() == HOME_UNUSABLE
        assert "PIN" in signer.said[-1]["message"]
    assert home.home.hsm.calls("C_Login")[-1].process != signer.process.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it(home: OcspHome, number: signal.Signals) -> None:
    with home.service("follower") as service:
        assert service.wait_until(lambda: service.has_said("following"))
        service.process.send_signal(number)
        assert service.process.wait() == 0


def test_what_ended_it_is_its_last_line(home: OcspHome) -> None:
    (home.path / "certificates" / "ca.der").unlink()
    with home.service("follower") as service:
        assert service.process.wait() == HOME_UNUSABLE
        (last,) = service.said
    assert (last["process"], last["pid"], last["level"], last["event"]) == (
        "follower",
        service.process.pid,
        "error",
        "ended",
    )
    assert last["error"] == "HomeUnusable"
    assert "ca.der" in last["message"]


def test_a_clock_before_the_newest_record_stops_it_at_once(home: OcspHome) -> None:
    with closing(sqlite3.connect(home.path / "store.sqlite", timeout=60)) as connection, connection:
        connection.execute("UPDATE audit_head SET recorded_at = recorded_at + 86400000000")
    with home.service("follower") as service:
        assert service.process.wait() == CLOCK_WRONG


@pytest.mark.parametrize("share", ["2/2", "-1/2", "0/0", "1", "a/b"])
def test_a_share_that_there_is_not_is_wrong_usage(share: str) -> None:
    parser = argparse.ArgumentParser()
    pre_signer.add_arguments(parser)
    assert parser.parse_args(["--share=1/2"]).share == (1, 2)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([f"--share={share}"])
    assert ended.value.code == USAGE
