"""The result of a load as JSON: what was asked, what was counted, the verdict, and everything by the second."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.load.load_run import Beside
from bench.load.objectives import PERCENTILES, Judgement, ServiceLevel
from bench.load.plan import LoadPlan
from bench.load.record import Cell, Record
from bench.machine import describe_machine

MET, MISSED = "met", "missed"


def verdict_of(judgements: Sequence[Judgement]) -> str:
    """Return whether all objectives are met."""
    return MET if all(one.met for one in judgements) else MISSED


def result_of(
    plan: LoadPlan,
    level: ServiceLevel,
    record: Record,
    judgements: Sequence[Judgement],
    beside: Beside,
) -> dict[str, Any]:
    """Put a result together.

    Args:
        plan: the load.
        level: the objectives.
        record: what was counted.
        judgements: of the objectives, in their order.
        beside: what happened meanwhile.
    """
    wanted = plan.scenario
    seconds = wanted.curve.seconds
    return {
        "verdict": verdict_of(judgements),
        "scenario": wanted.model_dump(mode="json", exclude_none=True),
        "objectives": [one._asdict() for one in judgements],
        "service_level": level.name,
        "warm_up_seconds": level.warm_up_seconds,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "ocsp": plan.ocsp,
        "http": plan.http,
        "processes": plan.processes,
        "seconds": seconds,
        "seed": wanted.seed,
        "machine": describe_machine(),
        "commit": commit(),
        "total": figures(record.total(), seconds),
        "kinds": {kind: figures(record.total(kind), seconds) for kind in record.kinds},
        "load": {
            "lateness_p99_ms": _milliseconds(record.lateness.percentile(0.99)),
            "lateness_max_ms": _milliseconds(record.lateness.percentile(1.0)),
            "cpu_seconds": round(record.cpu_seconds, 2),
        },
        "examples": record.examples,
        "changes": None if beside.changes is None else beside.changes.result,
        "issuance": None if beside.issuing is None else beside.issuing.result,
        "series": series_of(record, math.ceil(seconds)),
        "server": [] if beside.samples is None else beside.samples.samples,
    }


def commit() -> str | None:
    """Return what is checked out, with `-dirty` where files differ from it; None where this is no checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return None
    return done.stdout.strip() or None


def figures(cell: Cell, seconds: float) -> dict[str, Any]:
    """Return the figures of one kind, or of all, over the whole load."""
    return {
        **{name: getattr(cell, name) for name in ("offered", "sent", "cached", "good", "verified")},
        "goodput_per_second": round(cell.good / seconds, 2),
        "errors": dict(cell.errors),
        "wrong": dict(cell.wrong),
        "missed": dict(cell.missed),
        "latency": _percentiles(cell, "latency"),
        "service": _percentiles(cell, "service"),
    }


def _percentiles(cell: Cell, name: str) -> dict[str, float | None]:
    times = getattr(cell, name)
    return {
        label: _milliseconds(times.percentile(share))
        for label, share in (*PERCENTILES.items(), ("max_ms", 1))
    }


def series_of(record: Record, seconds: int) -> list[dict[str, Any]]:
    """Return the figures of each second, by when arrivals were due."""
    found = []
    for second in range(seconds):
        cell = Cell.sum_of(one for (at, _), one in record.cells.items() if at == second)
        found.append(
            {
                "second": second,
                **{name: getattr(cell, name) for name in ("offered", "sent", "cached", "good")},
                **{name: dict(getattr(cell, name)) for name in ("errors", "wrong", "missed")},
                **{
                    label: _milliseconds(cell.latency.percentile(share))
                    for label, share in PERCENTILES.items()
                },
            }
        )
    return found


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(1_000 * seconds, 3)
