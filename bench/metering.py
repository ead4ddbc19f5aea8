"""What metering costs an OCSP answer: metered listeners against unmetered ones, in the same run.

    python -m bench.metering [--certificates 20000] [--seconds 5] [--rounds 4] [--json FILE]

Two listener processes of each kind answer from one status store: unmetered, with accounts told by a token in the path,
and with accounts told by address. wrk asks each in turn, by GET and by POST, so that whatever a shared machine does
else meets all alike. Counts are flushed while it runs as often as by default; in the end the spool must say what wrk
saw. Fails when metering takes more than a tenth of the CPU time of an unmetered answer. Rates are reported, but not
held to: how many answers a shared machine gives says more of what else it does.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import describe_machine
from bench.ocsp import CONNECTIONS, METHODS, PROCESSES, ocsp_request, write_requests
from bench.ocsp_servers import Servers, listeners, write_home
from bench.ocsp_store import SyntheticAuthority, fill, make_authority
from bench.wrk_load import replay
from engine.usage.accounts import token_digest
from engine.usage.spool import read_whole_lines, spool_files, usages_in

TOKEN = "00112233445566778899aabbccddeeff"  # of an account that is in this benchmark alone
ACCOUNTS = 200
"""On the list, with a range each: a guess at how many relying parties there will be."""

MOST_MORE_CPU = 1.10


@dataclass(frozen=True, slots=True)
class Kind:
    """Servers of one kind, and what they are asked."""

    servers: Servers
    paths: dict[str, Path]
    post_to: str = "/"


def write_metered_home(home: Path, authority: SyntheticAuthority, store: Path) -> None:
    """Write a home that meters, on the status store of another."""
    write_home(home, authority)
    with (home / "sealmint.toml").open("a") as file:
        file.write(f'status_store = "{store}"\n[metering]\nenabled = true\n')
    digest = token_digest(TOKEN.encode()).hex()
    accounts: list[dict[str, object]] = [
        {
            "name": f"account {n}",
            "token_sha256": None,
            "address_ranges": [f"10.{n}.0.0/16"],
            "monthly_quota": 10**12,
        }
        for n in range(ACCOUNTS)
    ]
    accounts[0] |= {"name": "by token", "token_sha256": digest}
    accounts[1] |= {"name": "by address", "address_ranges": ["127.0.0.0/8"]}
    (home / "usage").mkdir()
    (home / "usage" / "accounts.json").write_text(json.dumps(accounts))


def with_token(paths: dict[str, Path], directory: Path) -> dict[str, Path]:
    """Return the requests with the token in their path."""
    path = directory / "get-with-token.txt"
    lines = paths["GET"].read_text().splitlines()
    path.write_text("".join(f"t/{TOKEN}/{line}\n" for line in lines))
    return {**paths, "GET": path}


def run_rounds(kinds: dict[str, Kind], options: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Load each kind in turn, by each method, round after round."""
    rounds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for number in range(options.rounds):
        for method in METHODS:
            order = list(kinds)
            for name in order if number % 2 else reversed(order):
                rounds[name].append({"method": method, **_load(kinds[name], method, options.seconds)})
    return rounds


def _load(kind: Kind, method: str, seconds: float) -> dict[str, Any]:
    before = kind.servers.cpu_seconds()
    result = replay(
        kind.servers.url,
        method,
        kind.paths[method],
        seconds=seconds,
        connections=CONNECTIONS,
        path=kind.post_to,
    )
    return {
        "requests": result.requests,
        "per_second": round(result.per_second, 1),
        "p99_ms": round(result.p99_ms, 3),
        "server_cpu_us": round((kind.servers.cpu_seconds() - before) / result.requests * 1e6, 2),
    }


def result_of(rounds: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Put the figures together: medians, and the median ratio of rounds side by side."""
    result: dict[str, Any] = {}
    for name, found in rounds.items():
        for what in ("per_second", "p99_ms", "server_cpu_us"):
            result[f"{name}_{what}"] = round(statistics.median(one[what] for one in found), 2)
        for what in ("per_second", "server_cpu_us"):
            ratios = [one[what] / plain[what] for one, plain in zip(found, rounds["unmetered"], strict=True)]
            result[f"{name}_{what}_ratio"] = round(statistics.median(ratios), 4)
    return result


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Make the store, start the servers, load them, and compare the spool with what was asked."""
    with ExitStack() as opened:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        authority = make_authority()
        plain_home, metered_home = directory / "plain", directory / "metered"
        store = write_home(plain_home, authority)
        serials = fill(store, authority, options.certificates)
        write_metered_home(metered_home, authority, store)
        random.Random(1).shuffle(serials)
        paths = write_requests(directory, [ocsp_request(authority, serial) for serial in serials])
        with listeners(plain_home, PROCESSES) as plain, listeners(metered_home, PROCESSES) as metered:
            kinds = {
                "unmetered": Kind(plain, paths),
                "token": Kind(metered, with_token(paths, directory), f"/t/{TOKEN}/"),
                "address": Kind(metered, paths),
            }
            rounds = run_rounds(kinds, options)
        counted = _spooled(metered_home / "usage" / "spool")
    asked = {f"by {name}": sum(one["requests"] for one in rounds[name]) for name in ("token", "address")}
    for account, requests in asked.items():  # wrk leaves with a request on its way on each connection
        most = requests + 2 * options.rounds * CONNECTIONS
        assert requests <= counted[account] <= most, (account, requests, counted)
    return {**result_of(rounds), "asked": asked, "counted": counted, "rounds": rounds}


def _spooled(spool: Path) -> dict[str, int]:
    counted: dict[str, int] = {}
    for path in spool_files(spool):
        for usage in usages_in(read_whole_lines(path, 0), path.name):
            counted[usage.account] = counted.get(usage.account, 0) + usage.answers
    return counted


def main() -> None:
    """Measure, print, and fail when the floor is not reached."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--certificates", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run of wrk")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = {**measure(options), "machine": describe_machine(), "command": " ".join(sys.argv)}
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "rounds"}, indent=2))
    worst = max(result[f"{name}_server_cpu_us_ratio"] for name in ("token", "address"))
    if worst > MOST_MORE_CPU:
        sys.exit(
            f"metering takes {worst} times the CPU of an unmetered answer, which is over {MOST_MORE_CPU}"
        )


if __name__ == "__main__":
    main()
