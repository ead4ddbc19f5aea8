"""How exact the knee of `sealmint pool sweep` is: against pretend HSMs whose knee is known, and a dense sweep.

    python -m bench.sweep --json FILE [--parallel 4,12] [--latency-ms 10] [--seconds-per-point S] [--workers LIST]

For each pretend HSM (SoftHSM behind tests/hsm_shim with so much latency and so many calls at once, over all processes)
a home of its own is swept; the truth is the fewest sessions with 95 % of the places. For SoftHSM itself nobody knows
the truth: there every number of sessions up to twice the knee is measured in the same run, with the same processes
and key, in alternating order, and the knee of that dense sweep is compared.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from bench.machine import describe_machine
from bench.sealmint_command import sealmint
from engine.authority.signing import open_token, read_pin
from engine.capacity.knee import knee, plateau
from engine.capacity.points import shape
from engine.capacity.search import Found, Space, curve, search
from engine.capacity.sweep import SweepRequest, open_rounds
from engine.capacity.sweep_key import SweepKey, sweep_key
from engine.cli.opening import open_context
from engine.issuance.run_context import RunContext
from tests.hsm_shim import HsmShim, build
from tests.softhsm import SOFTHSM

MARK = "--in-a-process-of-its-own"
"""A process loads one module once: each token is swept in a process of its own, with this argument."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Sweep each token and write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--parallel", default="4,12", help="places of the pretend HSMs")
    parser.add_argument("--latency-ms", type=int, default=10)
    parser.add_argument("--seconds-per-point", type=float, default=2.0)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--max-sessions", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--without-softhsm", action="store_true", help="the pretend HSMs only")
    parser.add_argument(MARK, dest="places", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.places is not None:
        options.json.write_text(json.dumps(measure(options.places, options)))
        return
    machine = describe_machine()
    tokens = [int(text) for text in options.parallel.split(",") if text]
    tokens += [] if options.without_softhsm else [0]
    results = [in_a_process(places, list(arguments or sys.argv[1:])) for places in tokens]
    document = {"tokens": results, "machine": machine, "command": " ".join(sys.argv)}
    options.json.write_text(json.dumps(document, indent=2) + "\n")
    for result in results:
        print(json.dumps({name: value for name, value in result.items() if name not in ("curve", "dense")}))


def in_a_process(places: int, arguments: list[str]) -> dict[str, Any]:
    """Measure one token in a process of its own."""
    with tempfile.NamedTemporaryFile(suffix=".json") as answer:
        own = [sys.executable, "-m", "bench.sweep", *arguments, "--json", answer.name, MARK, str(places)]
        subprocess.run(own, check=True)
        document: dict[str, Any] = json.loads(Path(answer.name).read_text())
        return document


def measure(places: int, options: argparse.Namespace) -> dict[str, Any]:
    """Sweep one token: a pretend HSM with so many places, or, with none, SoftHSM itself, densely as well."""
    directory = Path(tempfile.mkdtemp(prefix="bench-sweep-"))
    try:
        home = directory / "home"
        sealmint("init", "--home", home)
        if places:
            pretend(home, places, options.latency_ms)
        with open_context(home) as context:
            return swept(context, places, options)
    finally:
        shutil.rmtree(directory)


def pretend(home: Path, places: int, latency_ms: int) -> None:
    """Put the pretend HSM between the home and its SoftHSM."""
    hsm = HsmShim(home / "hsm", SOFTHSM)
    hsm.latency("C_Sign", latency_ms * 1_000)
    hsm.cap_parallel(places)
    module = build(home.parent / "libhsm_shim.so")
    variables = {name: value for name, value in hsm.environment.items() if name != "HSM_SHIM_LOG"}
    lines = "".join(f'{name} = "{value}"\n' for name, value in variables.items())
    path = home / "sealmint.toml"
    text = path.read_text().replace(str(SOFTHSM), str(module))
    path.write_text(text.replace("[token.environment]\n", f"[token.environment]\n{lines}"))


def swept(context: RunContext, places: int, options: argparse.Namespace) -> dict[str, Any]:
    """Sweep, and put the figures together."""
    token, pin = open_token(context.home, context.configuration), read_pin(context.configuration)
    workers = tuple(int(text) for text in options.workers.split(","))
    space = Space(workers, options.max_sessions, (1, 2, 4, 16, 64), options.rounds)
    request = SweepRequest(space, options.seconds_per_point)

    async def run(key: SweepKey) -> dict[str, Any]:
        async with open_rounds(context, request, pin, key, lambda _shape, _slice: None) as rounds:
            began = time.monotonic()
            found = await search(space, rounds)
            result = figures(found, curve(rounds, found.workers, found.curve_batch), time.monotonic() - began)
            if places:
                truth = -(-places * 19 // 20)
                return {"token": f"{places} places, {options.latency_ms} ms", "true_knee": truth, **result}
            # The dense sweep: fresh rounds, so that nothing of the search is in it.
            rounds.points.clear()
            most = min(options.max_sessions, max(8, 2 * found.knee_sessions + 2))
            shapes = [shape(found.workers, sessions, found.curve_batch) for sessions in range(1, most + 1)]
            await rounds.measure(shapes, 3 * options.rounds)
            dense = curve(rounds, found.workers, found.curve_batch)
            return {
                "token": "SoftHSM",
                "dense_knee": knee(dense),
                "dense_plateau": round(plateau(dense), 1),
                "dense_share_at_knee": round(dense[found.knee_sessions] / plateau(dense), 3),
                **result,
                "dense": {sessions: round(rate, 1) for sessions, rate in dense.items()},
            }

    with sweep_key(context, token, pin, None, even_the_ca_key=False) as key:
        return trio.run(run, key)


def figures(found: Found, rates: dict[int, float], seconds: float) -> dict[str, Any]:
    """What one sweep found."""
    return {
        "knee": found.knee_sessions,
        "workers": found.workers,
        "batch": found.batch,
        "plateau": round(found.plateau, 1),
        "seconds": round(seconds, 1),
        "curve": {sessions: round(rate, 1) for sessions, rate in rates.items()},
    }


if __name__ == "__main__":
    main()
