"""What counting costs an answer of the fast listener: `python -m bench.metrics [--json]`.

The best of several rounds, each the mean of many calls, less the loop that makes them.
"""

from __future__ import annotations

import argparse
import json
import timeit
from time import perf_counter

from engine.metrics.catalogue import HTTP_CONNECTIONS_ACCEPTED
from engine.metrics.process import observe_process
from engine.metrics.registry import Metrics
from responders.request_durations import RequestDurations

CALLS, ROUNDS = 200_000, 7
BODY = bytes(1_500)
"""As long as an OCSP answer with its responder certificate; only its length counts."""


def measured() -> dict[str, float]:
    """Return nanoseconds by what was done."""
    metrics = Metrics()
    observe_process(metrics)
    durations, counter = RequestDurations(metrics), metrics.counter(HTTP_CONNECTIONS_ACCEPTED)
    answer = (200, b"fields", BODY)
    turn = perf_counter()

    def request() -> None:
        durations.count(b"POST", answer, turn)

    loop = _nanoseconds(lambda: None)
    return {
        "a request of the listener": _nanoseconds(request) - loop,
        "a counter": _nanoseconds(lambda: counter.add()) - loop,
        "a snapshot": _nanoseconds(metrics.snapshot, 2_000),
    }


def _nanoseconds(what: object, calls: int = CALLS) -> float:
    assert callable(what)
    return min(timeit.repeat(what, number=calls, repeat=ROUNDS)) / calls * 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    result = measured()
    if parser.parse_args().json:
        print(json.dumps({"nanoseconds": result}))
        return
    for what, nanoseconds in result.items():
        print(f"{what:<28} {nanoseconds:>8.0f} ns")


if __name__ == "__main__":
    main()
