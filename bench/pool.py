"""How much of what its sessions can do a pool does: against bare threads on the same sessions.

    python -m bench.pool [--latency-ms 10] [--sessions 1 2 4 8 16 32 64] [--seconds 2] [--json FILE]

One process, a pretend HSM whose C_Sign takes so much longer, a P-256 key: of RSA the CPUs here would not make what 64
sessions can. A session signs at most one message a call time, so n sessions make n ÷ call time; the share of that which
came out is what is told, for bare threads (each signs on a session of its own, one message after the other) and for the
pool (two callers that hand over 512 messages each time, lanes on). The two alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from bench.machine import describe_machine
from engine.algorithms import SignatureAlgorithm
from engine.pkcs11.chunk import Batch, Chunk
from engine.pkcs11.keys import KeyReference, KeyType, generate_key_pair
from engine.pkcs11.lane_table import LaneTable
from engine.pkcs11.lanes import Lane, LaneRules
from engine.pkcs11.module import load_module
from engine.pkcs11.pin import Pin
from engine.pkcs11.session import TokenSession
from engine.pkcs11.session_pool import open_session_pool
from engine.pkcs11.shared_arbiter import SharedArbiter
from engine.pkcs11.token import Token, find_token
from tests.hsm_shim import HsmShim, build
from tests.softhsm import SOFTHSM, make_token

KEY = KeyReference("bench")
ALGORITHM = SignatureAlgorithm.ECDSA_P256_SHA256
UNIT = 512
CHUNK = 64
ROUNDS = 3
"""The two are measured so often at each number of sessions, in turn; the middle one counts."""


def bare_threads(token: Token, pin: Pin, sessions: int, seconds: float) -> tuple[float, float]:
    """Return signatures a second and the mean call time in seconds of threads that do nothing else."""
    anchor = token.open_session()
    token.log_in(anchor, pin)
    signers = [TokenSession(token, [KEY]) for _ in range(sessions)]
    end = time.perf_counter() + seconds
    durations: list[int] = []

    def work(signer: TokenSession) -> None:
        while time.perf_counter() < end:
            chunk = Chunk(Batch(1), 0, [b"message"], False, KEY, ALGORITHM, Lane.ISSUANCE, 0.0)
            signer.sign_many(chunk)
            durations.extend(chunk.durations_ns)

    threads = [threading.Thread(target=work, args=(signer,)) for signer in signers]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - begun
    for signer in signers:
        signer.close()
    anchor.close()
    return len(durations) / elapsed, sum(durations) / len(durations) / 1e9


async def pool(token: Token, pin: Pin, sessions: int, seconds: float, table: Path) -> tuple[float, float]:
    """Return signatures a second and the mean call time in seconds of a pool with enough to do."""
    arbiter = SharedArbiter(LaneTable(table), LaneRules(), parallel=sessions, live_objective=0.05)
    async with open_session_pool(
        token,
        pin,
        keys=[KEY],
        size=sessions,
        chunk=CHUNK,
        call_timeout=60,
        max_stuck=2,
        max_waiting=4 * UNIT,
        arbiter=arbiter,
    ) as opened:

        async def call() -> None:
            while True:
                await opened.sign_many([b"message"] * UNIT, key=KEY, algorithm=ALGORITHM)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            nursery.start_soon(call)
            await trio.sleep(0.5)  # until the chunks have their size
            before, begun = opened.statistics().signing, trio.current_time()
            await trio.sleep(seconds)
            after, elapsed = opened.statistics().signing, trio.current_time() - begun
            nursery.cancel_scope.cancel()
    arbiter.close()
    count = after.count - before.count
    return count / elapsed, (after.total_ns - before.total_ns) / count / 1e9


def measure(token: Token, pin: Pin, sessions: int, seconds: float, directory: Path) -> dict[str, float | int]:
    """Measure both in turn and return the middle share of each, with the pool's rate and CPU."""
    shares: dict[str, list[float]] = {"bare": [], "pool": []}
    rates, cpus = [], []
    for _ in range(ROUNDS):
        rate, call = bare_threads(token, pin, sessions, seconds)
        shares["bare"].append(rate * call / sessions)
        cpu = time.process_time()
        rate, call = trio.run(pool, token, pin, sessions, seconds, directory / "lanes")
        cpus.append((time.process_time() - cpu) / (seconds + 0.5))
        shares["pool"].append(rate * call / sessions)
        rates.append(rate)
    middle = {name: sorted(values)[ROUNDS // 2] for name, values in shares.items()}
    return {
        "sessions": sessions,
        "bare_share": round(middle["bare"], 4),
        "pool_share": round(middle["pool"], 4),
        "pool_per_second": round(sorted(rates)[ROUNDS // 2]),
        "pool_cpus": round(sorted(cpus)[ROUNDS // 2], 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a line for each number of sessions."""
    parser = argparse.ArgumentParser(prog="python -m bench.pool", description=__doc__.split("\n")[0])
    parser.add_argument("--latency-ms", type=float, default=10.0)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        made = make_token(directory / "token", "bench")
        shim = HsmShim(directory / "hsm", SOFTHSM)
        os.environ.update(made.environment | shim.environment)
        module = load_module(
            build(Path(__file__).parent.parent / "build" / "libhsm_shim.so"), made.environment
        )
        token = find_token(module, label=made.label)
        generate_key_pair(token, made.pin, KEY, KeyType.EC_P256)
        shim.latency("C_Sign", round(options.latency_ms * 1000))
        points = []
        for sessions in options.sessions:
            points.append(measure(token, made.pin, sessions, options.seconds, directory))
            print(json.dumps(points[-1]), flush=True)
    if options.json:
        document = {"machine": describe_machine(), "latency_ms": options.latency_ms, "points": points}
        options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
