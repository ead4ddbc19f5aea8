"""Processes log in one at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.softhsm import make_token

LOG_IN_REPEATEDLY = """
import sys
from pathlib import Path
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import find_token

module, label, lock = sys.argv[1:]
pin = Pin(sys.stdin.readline().strip())
token = find_token(load_module(Path(module)), label=label, log_in_lock=Path(lock))
for _ in range(100):
    session = token.open_session()
    token.log_in(session, pin)
    session.close()  # the last session of the process ends the log-in
"""


def test_processes_that_log_in_all_the_time_do_not_disturb_each_other(tmp_path: Path) -> None:
    token = make_token(tmp_path, "log-in")
    arguments = [str(token.module_path), token.label, str(tmp_path / "log-in.lock")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LOG_IN_REPEATEDLY, *arguments],
            env=token.process_environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    ends = [process.communicate(token.pin.reveal() + b"\n") for process in processes]
    assert [(process.returncode, end[1]) for process, end in zip(processes, ends, strict=True)] == [
        (0, b"")
    ] * 3
