"""Processes begin on a token, and log in, one at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.softhsm import make_token

BEGIN_AND_LOG_IN = """
import sys
from pathlib import Path
from engine.pkcs11.log_in_lock import one_process_at_a_time
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import find_token

module, label, lock_name = sys.argv[1:]
lock = Path(lock_name) if lock_name else None
pin = Pin(sys.stdin.readline().strip())
print("ready", flush=True)
sys.stdin.readline()
with one_process_at_a_time(lock):
    token = find_token(load_module(Path(module)), label=label, log_in_lock=lock)
for _ in range(20):
    session = token.open_session()
    token.log_in(session, pin)
    session.close()  # the last session of the process ends the log-in
"""


def processes_that_failed(directory: Path, lock: str) -> int:
    token = make_token(directory, "log-in")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", BEGIN_AND_LOG_IN, str(token.module_path), token.label, lock],
            env=token.process_environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(token.pin.reveal() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
    for process in processes:  # all are ready: let them go together
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    return sum(process.returncode != 0 for process in processes)


@pytest.mark.parametrize("attempt", range(3))
def test_processes_that_begin_together_do_not_disturb_each_other(tmp_path: Path, attempt: int) -> None:
    assert processes_that_failed(tmp_path, str(tmp_path / "log-in.lock")) == 0
