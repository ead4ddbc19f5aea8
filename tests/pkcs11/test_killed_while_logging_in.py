"""A process killed inside C_Login costs nobody the token."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import SignerUnavailable
from engine.pkcs11.log_in_lock import one_process_at_a_time
from tests.softhsm import SoftHsmToken, make_token

PROCESS = """
import resource, signal, sys
from pathlib import Path
from engine.pkcs11.log_in_lock import one_process_at_a_time
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.token import find_token

module_path, label, lock, configuration, pin = sys.argv[1:]
with one_process_at_a_time(Path(lock)):
    module = load_module(Path(module_path), {"SOFTHSM2_CONF": configuration})
    token = find_token(module, label=label, log_in_lock=Path(lock))
really_log_in = module.functions.login

def die_where_the_file_is_written(*arguments):
    # SIGXFSZ: the kernel ends a process at the first octet it writes beyond this limit; emptying a file is allowed
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    return really_log_in(*arguments)

for command in sys.stdin:
    if command == "die\\n":
        module.functions.login = die_where_the_file_is_written
    token.limits()  # the other call that SoftHSM reads the file for
    session = token.open_session()
    token.log_in(session, Pin(pin))
    print("logged in" if token.is_logged_in(session) else "not logged in", flush=True)
    session.close()
"""


@pytest.fixture
def token(tmp_path: Path) -> SoftHsmToken:
    return make_token(tmp_path, "killed")


def begin(token: SoftHsmToken) -> subprocess.Popen[str]:
    lock = token.directory / "log-in.lock"
    arguments = (token.module_path, token.label, lock, token.configuration_path, token.pin.reveal().decode())
    command = [sys.executable, "-c", PROCESS, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def log_in(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("log in\n")
    process.stdin.flush()
    return process.stdout.readline()


def test_the_token_is_there_for_the_next_process_and_for_those_at_work(token: SoftHsmToken) -> None:
    (file,) = token.directory.glob("tokens/*/token.object")
    with begin(token) as at_work, begin(token) as killed:
        assert log_in(at_work) == "logged in\n"
        killed.communicate("die\n")
        assert (killed.returncode, file.stat().st_size) == (-signal.SIGXFSZ, 0)  # what a kill may leave
        assert log_in(at_work) == "logged in\n"
        file.write_bytes(b"")  # and so again, for one that begins
        with begin(token) as begins:
            assert log_in(begins) == "logged in\n"


def test_no_log_in_when_the_file_cannot_be_copied(
    token: SoftHsmToken, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = token.directory.glob("tokens/*/token.object")
    file.with_name(file.name + ".before-log-in").mkdir()
    monkeypatch.setenv("SOFTHSM2_CONF", str(token.configuration_path))
    with (
        pytest.raises(SignerUnavailable, match="cannot be copied"),
        one_process_at_a_time(token.directory / "log-in.lock"),
    ):
        pass
