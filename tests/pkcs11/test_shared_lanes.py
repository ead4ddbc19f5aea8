"""Real processes that share a token: one is killed, one is stopped, and the others get on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lane_table import set_parallel
from tests.hsm_shim import HsmShim
from tests.softhsm import SoftHsmToken

SESSIONS = 4
PARALLEL = 4
MOST_WORDS = 5_000
PROGRAM = """
import json, sys, trio
from pathlib import Path
from engine.algorithms import SignatureAlgorithm
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lane_table import LaneTable
from engine.pkcs11.lanes import Lane, LaneRules
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import open_session_pool
from engine.pkcs11.shared_arbiter import SharedArbiter
from engine.pkcs11.token import find_token

module, label, table, lane, sessions, parallel = sys.argv[1:]
lane, key = Lane[lane], KeyReference("rsa-2048")

async def sign(pool):
    while True:
        outcomes = await pool.sign_many([b"x"] * 16, key=key, algorithm=SignatureAlgorithm.RSA_PKCS1_SHA256, lane=lane)
        assert all(isinstance(outcome, bytes) for outcome in outcomes)
        now = pool.statistics()
        print(json.dumps([now.lanes[lane].in_flight, now.arbiter.processes, now.arbiter.in_flight]), flush=True)

async def main():
    pin = Pin(sys.stdin.readline().rstrip())
    token = find_token(load_module(Path(module)), label=label)
    arbiter = SharedArbiter(LaneTable(Path(table)), LaneRules(), parallel=int(parallel), live_objective=9)
    options = dict(keys=[key], size=int(sessions), chunk=8, call_timeout=60, max_stuck=1, max_waiting=100)
    async with open_session_pool(token, pin, arbiter=arbiter, **options) as pool, trio.open_nursery() as nursery:
        nursery.start_soon(sign, pool)
        nursery.start_soon(sign, pool)

trio.run(main)
"""


@dataclass(frozen=True)
class Word:
    """What a process says after each call of 16 messages."""

    own: int
    processes: int
    in_flight: int


class Signer:
    """A process that signs without end."""

    def __init__(self, token: SoftHsmToken, table: Path, lane: str) -> None:
        arguments = [str(token.module_path), token.label, str(table), lane, str(SESSIONS), str(PARALLEL)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *arguments],
            env=token.process_environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(token.pin.reveal() + b"\n")
        self.process.stdin.flush()

    def says(self) -> Word:
        assert self.process.stdout is not None
        return Word(*json.loads(self.process.stdout.readline()))

    def until(self, says: Callable[[Word], bool]) -> Word:
        """Read until it says so, but no more than it says in some minutes."""
        for _ in range(MOST_WORDS):
            if says(word := self.says()):
                return word
        raise AssertionError(f"it never said so in {MOST_WORDS} calls")


@pytest.fixture
def start(
    softhsm_token: SoftHsmToken, rsa_key: KeyReference, hsm: HsmShim, tmp_path: Path
) -> Iterator[Callable[[str], Signer]]:
    hsm.latency("C_Sign", 10_000)
    running: list[Signer] = []

    def start_one(lane: str) -> Signer:
        running.append(Signer(softhsm_token, tmp_path / "lanes", lane))
        running[-1].says()
        return running[-1]

    yield start_one
    for signer in running:
        signer.process.send_signal(signal.SIGCONT)
        signer.process.kill()
        signer.process.communicate()


def test_the_share_of_a_killed_process_comes_back(start: Callable[[str], Signer], tmp_path: Path) -> None:
    killed, other = start("ISSUANCE"), start("ISSUANCE")
    killed.until(lambda word: word.processes == 2 and word.own < PARALLEL)
    other.until(lambda word: word.own >= 1)
    killed.process.kill()
    killed.process.wait()
    assert other.until(lambda word: word.processes == 1 and word.own >= PARALLEL - 1).in_flight <= PARALLEL
    assert set_parallel(tmp_path / "lanes", None) == 1


def test_a_stopped_process_stops_nobody(start: Callable[[str], Signer]) -> None:
    stopped, other = start("ISSUANCE"), start("ISSUANCE")
    other.until(lambda word: word.processes == 2)
    stopped.process.send_signal(signal.SIGSTOP)
    other.until(lambda word: word.processes == 1 and word.own >= PARALLEL - 1)
    stopped.process.send_signal(signal.SIGCONT)
    other.until(lambda word: word.processes == 2 and word.own < PARALLEL)
    stopped.until(lambda word: word.processes == 2 and word.own >= 1)


def mostly_at_most(in_flight: int) -> Callable[[Word], bool]:
    """Whether at seven of its last nine words no more calls were in flight."""
    lately = deque([PARALLEL] * 9, maxlen=9)

    def said(word: Word) -> bool:
        lately.append(word.in_flight)
        return sorted(lately)[6] <= in_flight

    return said


def test_an_operator_sets_the_limit_of_all(start: Callable[[str], Signer], tmp_path: Path) -> None:
    one, other = start("ISSUANCE"), start("LIVE")
    assert set_parallel(tmp_path / "lanes", 2) == 2
    for signer in (
        one,
        other,
    ):  # what was said before the limit is read first; now and then both begin at once
        signer.until(mostly_at_most(2))
    assert set_parallel(tmp_path / "lanes", 8) == 2
    one.until(lambda word: word.in_flight > PARALLEL)
