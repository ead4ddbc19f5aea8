"""The cap on sessions counts all processes, and a dead process's share comes back by itself."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pkcs11.exceptions import PKCS11Error

from engine.algorithms import SignatureAlgorithm
from engine.errors import SignerFailed, SignerUnavailable
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.session_slots import HeldSlot, NoFreePlace, SessionSlots
from engine.pkcs11.token import Token
from tests.hsm_shim import HsmShim
from tests.pkcs11.conftest import OpenPool
from tests.softhsm import SoftHsmToken

PROGRAM = """
import sys, trio
from pathlib import Path
from engine.errors import TokenError
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import open_session_pool
from engine.pkcs11.session_slots import SessionSlots
from engine.pkcs11.token import find_token

async def main():
    pin = Pin(sys.stdin.readline().rstrip())
    token = find_token(load_module(Path(sys.argv[1])), label=sys.argv[2])
    slots = SessionSlots(Path(sys.argv[3]), int(sys.argv[4]))
    options = dict(keys=[KeyReference("rsa-2048")], size=3, call_timeout=60, max_stuck=1, max_waiting=10)
    try:
        async with open_session_pool(token, pin, slots=slots, **options) as pool:
            print(len(pool.statistics().sessions), flush=True)
            sys.stdin.readline()
    except TokenError as error:
        print(type(error).__name__, flush=True)

trio.run(main)
"""


class PoolProcesses:
    """Starts processes that open a pool of three over the same slots, and tell how many sessions they got."""

    def __init__(self, token: SoftHsmToken, slots: Path, cap: int) -> None:
        self._command = [
            sys.executable,
            "-c",
            PROGRAM,
            str(token.module_path),
            token.label,
            str(slots),
            str(cap),
        ]
        self._token = token
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> str:
        process = subprocess.Popen(
            self._command, env=self._token.process_environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.processes.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(self._token.pin.reveal() + b"\n")
        process.stdin.flush()
        return process.stdout.readline().decode().strip()

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def processes(softhsm_token: SoftHsmToken, rsa_key: KeyReference, tmp_path: Path) -> Iterator[PoolProcesses]:
    running = PoolProcesses(softhsm_token, tmp_path / "slots", 6)
    yield running
    running.end()


def test_two_processes_share_the_cap_and_a_killed_one_gives_its_share_back(
    processes: PoolProcesses, hsm: HsmShim, tmp_path: Path
) -> None:
    hsm.cap_sessions(6)
    refused_before = [call for call in hsm.calls("C_OpenSession") if call.result]
    assert processes.start() == "3"  # and the anchor
    assert processes.start() == "1"  # and the anchor
    assert processes.start() == "NoFreePlace"
    processes.processes[0].kill()
    processes.processes[0].wait()
    assert processes.start() == "3"
    assert [call for call in hsm.calls("C_OpenSession") if call.result] == refused_before


def take_all(slots: SessionSlots) -> list[HeldSlot]:
    held = []
    with contextlib.suppress(NoFreePlace):
        while True:
            held.append(slots.take())
    return held


def test_a_released_slot_can_be_taken_again(tmp_path: Path) -> None:
    slots, others = SessionSlots(tmp_path, 3), SessionSlots(tmp_path, 3)
    held = take_all(slots)
    assert (len(held), take_all(others)) == (3, [])
    held[1].release()
    held[1].release()
    assert len(take_all(others)) == 1


async def test_a_pool_is_capped_by_the_tokens_own_maximum(open_pool: OpenPool, hsm: HsmShim) -> None:
    hsm.cap_sessions(4)
    async with open_pool(size=10) as pool:
        assert len(pool.statistics().sessions) == 3


async def test_a_token_with_room_for_one_session_is_refused(open_pool: OpenPool, hsm: HsmShim) -> None:
    hsm.cap_sessions(1)
    with pytest.raises(SignerFailed, match="too few sessions"):
        async with open_pool():
            pass


async def test_a_full_token_closes_what_was_opened(open_pool: OpenPool, token: Token, hsm: HsmShim) -> None:
    hsm.cap_sessions(4)
    foreign = [token.open_session(), token.open_session()]
    with pytest.raises(SignerUnavailable, match="CKR_SESSION_COUNT"):
        async with open_pool(size=3):
            pass
    assert token.limits().open_sessions == 2
    for session in foreign:
        session.close()


async def test_the_block_of_a_pool_raises_its_own_exceptions(
    open_pool: OpenPool, rsa_key: KeyReference
) -> None:
    with pytest.raises(LookupError, match="from the block"):
        async with open_pool() as pool:
            await pool.sign_many([b"x"], key=rsa_key, algorithm=SignatureAlgorithm.RSA_PKCS1_SHA256)
            raise LookupError("from the block")


async def test_leaving_the_block_closes_every_session(
    open_pool: OpenPool, token: Token, hsm: HsmShim
) -> None:
    hsm.cap_sessions(10)
    async with open_pool(size=4):
        assert token.limits().open_sessions == 5
    assert token.limits().open_sessions == 0
    session = token.open_session()
    logged_in = token.is_logged_in(session)
    session.close()
    assert not logged_in
    with pytest.raises(PKCS11Error):
        token.is_logged_in(session)
