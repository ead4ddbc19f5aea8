"""Live answers: questions with a nonce, each signed when it is asked.

On the pretend HSM, whose C_Sign takes ten milliseconds, the most there can be is sessions ÷ call time; on bare SoftHSM
it is what a C program signs with the same key.
"""

from __future__ import annotations

import random
from typing import Any

import trio

from bench.ocsp_client import OcspClient, request_for, seen
from bench.ocsp_home import ServedHome

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


def measure(home: ServedHome, seconds: float) -> dict[str, Any]:
    """Measure at ten milliseconds a call, and without latency."""
    home.hsm.latency("C_Sign", int(CALL_SECONDS * 1e6))
    slow = trio.run(answers_per_second, home, SESSIONS * CLIENTS_PER_SESSION, seconds)
    home.hsm.latency("C_Sign", 0)
    fast = trio.run(answers_per_second, home, SESSIONS * CLIENTS_PER_SESSION, seconds)
    most = SESSIONS / CALL_SECONDS
    return {
        "live_sessions": SESSIONS,
        "live_per_second": round(slow, 1),
        "live_ratio": round(slow / most, 4),
        "live_softhsm_per_second": round(fast, 1),
    }
