"""What a signature costs besides the token's own work: `python -m tests.pkcs11.measure_sign_call DIRECTORY`.

Prints microseconds of CPU a signature: python-pkcs11's key.sign and our SignCall, alternating on SoftHSM; what
SignCall itself adds to two calls that do nothing; what the pool, threads and event loop together, adds to them; and a
pool on SoftHSM.
"""

from __future__ import annotations

import ctypes
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pkcs11
import trio

import engine.pkcs11.session
from engine.algorithms import SignatureAlgorithm
from engine.pkcs11.cryptoki import Functions
from engine.pkcs11.keys import KeyReference, KeyType, find_private_key, generate_key_pair
from engine.pkcs11.mechanisms import choose_mechanism
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.session_pool import open_session_pool
from engine.pkcs11.sign_call import SignCall
from engine.pkcs11.token import Token, find_token
from tests.softhsm import make_token

ALGORITHM = SignatureAlgorithm.RSA_PKCS1_SHA256
KEY = KeyReference("measured")
MESSAGE = bytes(1000)  # about the size of a tbsCertificate
BLOCKS, BLOCK = 20, 200


def cpu(work: Callable[[bytes], object], clock: Callable[[], int] = time.thread_time_ns) -> float:
    """Microseconds of this thread's CPU a call, over one block."""
    begun = clock()
    for _ in range(BLOCK):
        work(MESSAGE)
    return (clock() - begun) / BLOCK / 1000


def functions_that_do_nothing() -> Functions:
    address = ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p).value
    assert address is not None
    number, reference = ctypes.c_ulong, ctypes.c_void_p
    init = ctypes.CFUNCTYPE(number, number, reference, number)(address)
    sign = ctypes.CFUNCTYPE(number, number, ctypes.c_char_p, number, reference, reference)(address)
    return cast("Functions", SimpleNamespace(sign_init=init, sign=sign))


async def pool_cpu(token: Token, pin: Pin) -> tuple[float, float]:
    """Microseconds of the process's CPU and of wall time a signature, through a pool of two."""
    async with open_session_pool(
        token, pin, keys=[KEY], size=2, call_timeout=60, max_stuck=1, max_waiting=BLOCKS * BLOCK
    ) as pool:
        messages = [MESSAGE] * BLOCKS * BLOCK
        cpu_begun, wall_begun = time.process_time_ns(), time.perf_counter_ns()
        await pool.sign_many(messages, key=KEY, algorithm=ALGORITHM)
        cpu_spent, wall_spent = time.process_time_ns() - cpu_begun, time.perf_counter_ns() - wall_begun
    return cpu_spent / len(messages) / 1000, wall_spent / len(messages) / 1000


def main(directory: Path) -> None:
    made = make_token(directory, "measured")
    token = find_token(load_module(made.module_path, made.environment), label=made.label)
    generate_key_pair(token, made.pin, KEY, KeyType.RSA_2048)
    session = token.open_session()
    token.log_in(session, made.pin)
    key: Any = find_private_key(session, KEY)
    mechanism = choose_mechanism(ALGORITHM, token.mechanisms)
    ours = SignCall(token.module.functions, session.handle, key.handle, mechanism)
    idle = functions_that_do_nothing()
    nothing = SignCall(idle, 0, 1, mechanism)

    def theirs(message: bytes) -> bytes:
        return bytes(key.sign(message, mechanism=pkcs11.Mechanism.SHA256_RSA_PKCS))

    pairs = [(cpu(theirs), cpu(ours)) for _ in range(BLOCKS)]
    direct = statistics.median(pair[1] for pair in pairs)
    print(f"key.sign {statistics.median(pair[0] for pair in pairs):.1f}, SignCall {direct:.1f}")
    print(f"difference, median of {BLOCKS} pairs: {statistics.median(a - b for a, b in pairs):.1f}")
    print(
        f"SignCall around calls that do nothing: {statistics.median(cpu(nothing) for _ in range(BLOCKS)):.2f}"
    )
    with mock.patch.object(engine.pkcs11.session, "SignCall", lambda *_: SignCall(idle, 0, 1, mechanism)):
        print(f"a pool of two around calls that do nothing: {trio.run(pool_cpu, token, made.pin)[0]:.1f}")
    through_pool, wall = trio.run(pool_cpu, token, made.pin)
    print(f"through a pool of two: {through_pool:.1f} ({1e6 / wall:.0f} signatures a second)")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
