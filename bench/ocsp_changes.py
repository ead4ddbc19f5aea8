"""Changes of status under load: how long an old "good" lives after its withdrawal was acknowledged.

Certificates are revoked at a steady rate through the same function that the commands use. Of some of them the time is
taken from the acknowledgement (the transaction is committed, the caller has its result) until the listener gives no
"good" any more (withdrawal), and until it gives the new answer signed ahead (propagation). In the end every revoked
certificate is asked for once more: one "good" among the answers is a wrong answer.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from bench.ocsp_client import OcspClient, request_for, seen
from bench.ocsp_home import ServedHome, percentile
from engine.cli.opening import open_context
from engine.status.act_request import ActRequest
from engine.status.acts import ActResult, StatusActs
from engine.status.origins import Scope, Verb

TICK = 0.05
"""Seconds between transactions: at 200 changes a second each carries ten."""

PROBES = 8
"""Changes that are followed side by side."""

PROBE_PAUSE = 0.02
"""Seconds between two questions about the same certificate: the resolution of the times."""


@dataclass
class Times:
    """What was seen, in seconds."""

    withdrawal: list[float] = field(default_factory=list)
    propagation: list[float] = field(default_factory=list)
    changed: list[bytes] = field(default_factory=list)
    wrong: int = 0
    errors: int = 0


async def change_and_probe(
    home: ServedHome, acts: StatusActs, serials: Sequence[bytes], seconds: float, rate: int, *, signed: bool
) -> Times:
    """Revoke at a rate for so many seconds, and follow some of the changes to the listener.

    Args:
        home: what is served.
        acts: revokes.
        serials: whose certificates, each once.
        seconds: for how long.
        rate: changes a second.
        signed: also wait for the new answers signed ahead.
    """
    times = Times()
    acknowledged, probes = trio.open_memory_channel[tuple[bytes, float]](PROBES)
    async with trio.open_nursery() as nursery:
        for _ in range(PROBES):
            nursery.start_soon(_probe, home, probes.clone(), times, signed)
        probes.close()
        async with acknowledged:
            await _change(acts, serials, seconds, rate, acknowledged, times)
    return times


async def _change(
    acts: StatusActs,
    serials: Sequence[bytes],
    seconds: float,
    rate: int,
    acknowledged: trio.MemorySendChannel[tuple[bytes, float]],
    times: Times,
) -> None:
    began = trio.current_time()
    choice = random.Random(1)
    while (elapsed := trio.current_time() - began) < seconds and len(times.changed) < len(serials):
        wanted = min(len(serials), int(elapsed * rate) + 1)
        part = serials[len(times.changed) : wanted]
        if part:
            requests = [
                ActRequest(Verb.REVOKE, Scope.CERTIFICATE, serial.hex(), "key-compromise") for serial in part
            ]
            outcomes = await trio.to_thread.run_sync(acts.perform_together, requests)
            now = trio.current_time()
            if not all(isinstance(outcome, ActResult) for outcome in outcomes):
                raise SystemExit(f"a revocation was refused: {outcomes}")
            times.changed.extend(part)
            with contextlib.suppress(trio.WouldBlock):  # every probe is busy: this change is not followed
                acknowledged.send_nowait((choice.choice(part), now))
        await trio.sleep(TICK)


async def _probe(
    home: ServedHome, changes: trio.MemoryReceiveChannel[tuple[bytes, float]], times: Times, signed: bool
) -> None:
    client = OcspClient(home.address)
    async with changes:
        async for serial, acknowledged_at in changes:
            request = request_for(home.issuer, serial)
            withdrawn = False
            while True:
                said = seen(await client.ask(request), serial)
                now = trio.current_time()
                if said.status != "good" and not withdrawn:
                    withdrawn = True
                    times.withdrawal.append(now - acknowledged_at)
                elif said.status == "good" and withdrawn:
                    times.wrong += 1
                if withdrawn and (not signed or (said.status == "revoked" and said.cacheable)):
                    times.propagation.append(now - acknowledged_at)
                    break
                await trio.sleep(PROBE_PAUSE)
    await client.aclose()


async def ask_all(home: ServedHome, serials: Sequence[bytes], wanted: str) -> int:
    """Ask for each serial once; return how many answers do not say what they must."""
    client = OcspClient(home.address)
    wrong = 0
    for serial in serials:
        wrong += seen(await client.ask(request_for(home.issuer, serial)), serial).status != wanted
    await client.aclose()
    return wrong


async def measure(home: ServedHome, seconds: float, rate: int) -> dict[str, Any]:
    """Measure with the token at work; return the figures."""
    shuffled = home.serials[:]
    random.Random(7).shuffle(shuffled)
    with open_context(home.path) as context:
        acts = StatusActs(context.store, context.clock, "bench")
        times = await change_and_probe(
            home, acts, shuffled[: int(seconds * rate)], seconds, rate, signed=True
        )
    wrong = times.wrong + await ask_all(home, times.changed, "revoked")
    return {
        "changed": len(times.changed),
        "changes_per_second": round(len(times.changed) / seconds, 1),
        "probed": len(times.withdrawal),
        "withdrawal_p50_s": round(percentile(times.withdrawal, 0.50), 3),
        "withdrawal_p99_s": round(percentile(times.withdrawal, 0.99), 3),
        "propagation_p50_s": round(percentile(times.propagation, 0.50), 3),
        "propagation_p99_s": round(percentile(times.propagation, 0.99), 3),
        "wrong_answers": wrong,
    }


def measure_without_token(home: ServedHome, seconds: float, rate: int) -> dict[str, Any]:
    """Measure withdrawal while every signature of the token fails."""
    shuffled = home.serials[:]
    random.Random(7).shuffle(shuffled)
    first = len(shuffled) // 2
    home.hsm.fail_next("C_Sign", 0x30, count=1_000_000)  # CKR_DEVICE_ERROR
    with open_context(home.path) as context:
        acts = StatusActs(context.store, context.clock, "bench")

        async def run() -> dict[str, Any]:
            part = shuffled[first : first + int(seconds * rate)]
            away = await change_and_probe(home, acts, part, seconds, rate, signed=False)
            return {
                "token_away_changed": len(away.changed),
                "token_away_withdrawal_p99_s": round(percentile(away.withdrawal, 0.99), 3),
                "token_away_withdrawal_max_s": round(max(away.withdrawal), 3),
                "token_away_wrong_answers": away.wrong,
            }

        return trio.run(run)
