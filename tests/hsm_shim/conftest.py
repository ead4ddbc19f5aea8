"""A program against the pretend HSM, in a process of its own, by ctypes, without the pool."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.hsm_shim import HsmShim, build
from tests.softhsm import SOFTHSM, SoftHsmToken, make_token

PRELUDE = """
import pkcs11, sys, threading, time
from pathlib import Path
from pkcs11 import Mechanism, KeyType, MechanismFlag
from engine.pkcs11.cryptoki import CKU_USER
from engine.pkcs11.module import load_module
from engine.pkcs11.token import find_token
from engine.pkcs11.token_initialisation import initialise_token
from engine.pkcs11.keys import KeyReference, KeyType as Type, generate_key_pair, find_private_key
from engine.pkcs11.pin import Pin
from engine.pkcs11.return_codes import name_of
from engine.algorithms import SignatureAlgorithm
from engine.pkcs11.mechanisms import choose_mechanism
from engine.pkcs11.sign_call import SignCall
from tests.hsm_shim import HsmShim
module = load_module(Path(sys.argv[1]))
token = find_token(module, label="shim")
pin = Pin("user-1234")
rsa = KeyReference("rsa")
by_hash = {"mechanism": Mechanism.SHA256_RSA_PKCS}
def logged_in():
    session = token.open_session()
    token.log_in(session, pin)
    return session
def refused(call, *arguments, **options):
    try:
        call(*arguments, **options)
    except pkcs11.PKCS11Error as error:
        return name_of(error)
    return "CKR_OK"
def signer():  # one C_Sign a signature: python-pkcs11 calls it twice, first to ask for the length
    session = logged_in()
    key = find_private_key(session, rsa)
    mechanism = choose_mechanism(SignatureAlgorithm.RSA_PKCS1_SHA256, token.mechanisms)
    return SignCall(module.functions, session.handle, key.handle, mechanism)
def sign_side_by_side(count, told=False):
    signers = [signer() for _ in range(count)]
    if told:
        print("ready", flush=True)
        sys.stdin.readline()
    threads = [threading.Thread(target=sign, args=(b"x",)) for sign in signers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""
STEER = "hsm = HsmShim(Path(sys.argv[2]), Path(sys.argv[3]))\n"
"""For the program that steers: an HsmShim begins with an empty control file."""

Start = Callable[[str], "subprocess.Popen[str]"]
Run = Callable[[str], list[str]]


@pytest.fixture(scope="session")
def shim_token(tmp_path_factory: pytest.TempPathFactory) -> SoftHsmToken:
    """A token with the keys "rsa" and "ec"."""
    token = make_token(tmp_path_factory.mktemp("shim"), "shim")
    program = "for name, kind in (('rsa', Type.RSA_2048), ('ec', Type.EC_P256)):\n"
    program += "    generate_key_pair(token, pin, KeyReference(name), kind)\n"
    command = [sys.executable, "-c", PRELUDE + program, str(SOFTHSM)]
    subprocess.run(command, env=os.environ | token.environment, check=True)
    return token


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module, built afresh."""
    return build(tmp_path_factory.mktemp("library") / "libhsm_shim.so")


@pytest.fixture
def shim(tmp_path: Path) -> HsmShim:
    """Steers the pretend HSM of this test."""
    return HsmShim(tmp_path / "hsm", SOFTHSM)


@pytest.fixture
def start(shim: HsmShim, library: Path, shim_token: SoftHsmToken) -> Iterator[Start]:
    """Start a program against the pretend HSM; it is killed at the end of the test."""
    with ExitStack() as started:

        def start_it(program: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", PRELUDE + textwrap.dedent(program)]
            command += [str(library), str(shim.control_path.parent), str(SOFTHSM)]
            environment = os.environ | shim_token.environment | shim.environment
            pipe = subprocess.PIPE
            process = subprocess.Popen(
                command, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe
            )
            started.enter_context(process)
            started.callback(process.kill)
            return process

        yield start_it


@pytest.fixture
def run(start: Start) -> Run:
    """Run a program that steers the pretend HSM as `hsm` itself; give the lines it prints."""

    def run_it(program: str) -> list[str]:
        said, complaints = (process := start(STEER + textwrap.dedent(program))).communicate()
        assert process.returncode == 0, complaints
        return said.splitlines()

    return run_it
