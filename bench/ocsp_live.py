"""Live answers: questions with a nonce, each signed when it is asked.

The most there can be is sessions ÷ call time, and that is what a C program gets out of the same module and key with as
many threads: it is run between the slices. Once with a pretend HSM whose C_Sign takes ten milliseconds more, once
without.
"""

from __future__ import annotations

import random
import statistics
from typing import Any

import trio

from bench.ocsp_client import OcspClient, request_for, seen
from bench.ocsp_home import ServedHome
from bench.raw_signer import RawSigner, raw_signer_of
from engine.cli.opening import open_context

CALL_SECONDS = 0.010
SESSIONS = 4
CLIENTS_PER_SESSION = 6
"""Questions in flight for each session: enough that it never waits for one."""

SETTINGS = f"""
[ocsp]
live_sessions = {SESSIONS}
"""


async def answers_per_second(home: ServedHome, clients: int, seconds: float) -> float:
    """Return how many nonce questions are answered a second; every answer must be a signed one."""
    answered = 0
    counting = False

    async def ask(number: int) -> None:
        nonlocal answered
        choice = random.Random(number)
        client = OcspClient(home.address)
        while True:
            serial = choice.choice(home.serials)
            said = seen(await client.ask(request_for(home.issuer, serial, nonce=True)), serial)
            if said.status != "good" or said.cacheable:
                raise SystemExit(f"a nonce question was not answered live: {said}")
            answered += counting

    async with trio.open_nursery() as nursery:
        for number in range(clients):
            nursery.start_soon(ask, number)
        await trio.sleep(0.5)
        counting = True
        began = trio.current_time()
        await trio.sleep(seconds)
        counting, took = False, trio.current_time() - began
        nursery.cancel_scope.cancel()
    return answered / took


def measure(home: ServedHome, seconds: float, rounds: int = 3) -> dict[str, Any]:
    """Measure at ten milliseconds a call, and without latency."""
    with open_context(home.path) as context:
        raw = raw_signer_of(context.configuration, context.configuration.keys.ocsp)
    home.hsm.latency("C_Sign", int(CALL_SECONDS * 1e6))
    slow, slow_most = _alternate(home, raw, seconds, rounds)
    home.hsm.latency("C_Sign", 0)
    fast, fast_most = _alternate(home, raw, seconds, rounds)
    return {
        "live_sessions": SESSIONS,
        "live_per_second": round(slow, 1),
        "live_most_per_second": round(slow_most, 1),
        "live_ratio": round(slow / slow_most, 4),
        "live_ratio_to_nominal": round(slow / (SESSIONS / CALL_SECONDS), 4),
        "live_softhsm_per_second": round(fast, 1),
        "live_softhsm_ratio": round(fast / fast_most, 4),
    }


def _alternate(home: ServedHome, raw: RawSigner, seconds: float, rounds: int) -> tuple[float, float]:
    """Return the live answers and the C program's signatures a second, measured in turns."""
    live, most = [], []
    for _ in range(rounds):
        most.append(raw.per_second((1, SESSIONS), seconds))
        live.append(trio.run(answers_per_second, home, SESSIONS * CLIENTS_PER_SESSION, seconds))
    return statistics.fmean(live), statistics.fmean(most)
