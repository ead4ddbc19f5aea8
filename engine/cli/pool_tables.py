"""What `sealmint pool status` shows: the answers of running processes as tables, or as one document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType

from engine.cli.output import table
from engine.control.client import RunningProcess

Answers = list[tuple[RunningProcess, dict[str, Any]]]

_QUANTILES = ("p50_ms", "p95_ms", "p99_ms")


@dataclass(slots=True)
class PoolStatus:
    """What running processes said.

    Attributes:
        processes: what each is (verb "describe").
        pools: those that have one (verb "pool").
        health: how the keys of the token are (verb "token-health").
    """

    processes: Answers = field(default_factory=list)
    pools: Answers = field(default_factory=list)
    health: Answers = field(default_factory=list)

    def watched_keys(self) -> list[dict[str, Any]]:
        """Every key that is watched."""
        return [key for _, answer in self.health for key in answer["keys"]]

    def arbiter(self) -> Mapping[str, Any] | None:
        """What the processes share; each says the same of it, so one of them stands for all."""
        return self.pools[0][1]["arbiter"] if self.pools else None


def status_document(status: PoolStatus) -> dict[str, Any]:
    """Return all of it: `processes` (each with its `pool`, or null), `arbiter`, `keys`."""
    pools = dict(status.pools)
    return {
        "processes": [{**answer, "pool": pools.get(process)} for process, answer in status.processes],
        "arbiter": status.arbiter(),
        "keys": status.watched_keys(),
    }


def pool_tables(status: PoolStatus) -> RenderableType:
    """Return the tables of a status: processes, lanes, sessions, errors, keys. Times are those of recent seconds."""
    parts: list[RenderableType] = [
        table("PROCESSES", _PROCESS, [_process_row(status, *one) for one in status.processes]),
        "",
    ]
    arbiter = status.arbiter()
    if arbiter is not None:
        parts += [_arbiter_line(arbiter), ""]
        parts += [table("LANES, recent seconds, milliseconds", _LANE, list(_lane_rows(status.pools))), ""]
        parts += [
            table("SESSIONS, since opened, milliseconds", _SESSION, list(_session_rows(status.pools))),
            "",
        ]
    errors = [
        (process.name, code, count)
        for process, pool in status.pools
        for code, count in pool["errors"].items()
    ]
    if errors:
        parts += [table("ERRORS", ("process", "return value", "times"), errors), ""]
    if status.watched_keys():
        parts.append(table("KEYS", _KEY, [_key_row(key) for key in status.watched_keys()]))
    return Group(*parts)


_PROCESS = (
    "process",
    "pid",
    "up s",
    "cpu s",
    "memory MB",
    "sessions",
    "in flight",
    "/s",
    "replaced",
    "stuck",
    "",
)


def _process_row(status: PoolStatus, process: RunningProcess, answer: Mapping[str, Any]) -> list[object]:
    row: list[object] = [
        process.name,
        str(process.pid),
        round(answer["uptime_seconds"]),
        round(answer["cpu_seconds"]),
        answer["memory_bytes"] // 1_000_000,
    ]
    pool = dict(status.pools).get(process)
    if pool is None:
        return [*row, "", "", "", "", "", ""]
    lanes = pool["lanes"].values()
    working = sum(session["state"] in ("idle", "busy") for session in pool["sessions"])
    return [
        *row,
        f"{working}/{pool['wanted']}",
        sum(lane["in_flight"] for lane in lanes),
        sum(lane["recent"]["done_per_second"] for lane in lanes),
        pool["replacements"],
        pool["stuck"],
        "drained" if pool["drained"] else "",
    ]


def _arbiter_line(arbiter: Mapping[str, Any]) -> str:
    parallel = "as many as sessions" if arbiter["parallel"] is None else arbiter["parallel"]
    ceiling = "all" if arbiter["bulk_ceiling"] is None else arbiter["bulk_ceiling"]
    p99 = "-" if arbiter["live_p99_ms"] is None else f"{arbiter['live_p99_ms']:.1f} ms"
    return (
        f"TOKEN  {arbiter['in_flight']} calls in flight; at most {parallel}, of bulk lanes {ceiling}; "
        f"{arbiter['processes']} pools; live p99 {p99}"
    )


_LANE = (
    "process",
    "lane",
    "waiting",
    "in flight",
    "/s",
    "refused",
    "done",
    *(f"{what} {quantile}" for what in ("wait", "sign") for quantile in ("p50", "p95", "p99")),
)


def _lane_rows(pools: Answers) -> Iterator[list[object]]:
    """The lanes that are used, or were."""
    for process, pool in pools:
        for name, lane in pool["lanes"].items():
            if lane["done"] or lane["waiting"] or lane["in_flight"] or lane["refused"]:
                recent = lane["recent"]
                yield [
                    process.name,
                    name,
                    lane["waiting"],
                    lane["in_flight"],
                    recent["done_per_second"],
                    lane["refused"],
                    lane["done"],
                    *_quantiles((recent["wait"], recent["sign"])),
                ]


_SESSION = (
    "process",
    "session",
    "state",
    "lane",
    "open s",
    "calls",
    "sign p50",
    "sign p95",
    "sign p99",
    "errors",
)


def _session_rows(pools: Answers) -> Iterator[list[object]]:
    for process, pool in pools:
        for session in pool["sessions"]:
            yield [
                process.name,
                session["number"],
                session["state"],
                session["in_flight"],
                round(session["open_seconds"]),
                session["calls"],
                *_quantiles((session["sign"],)),
                session["errors"],
            ]


_KEY = ("key", "healthy", "last well", "ms", "what is wrong")


def _key_row(key: Mapping[str, Any]) -> list[object]:
    return [key["key"], key["healthy"], key["last_ok_at"], key["latency_ms"], key["error"]]


def _quantiles(summaries: Iterable[Mapping[str, Any]]) -> list[object]:
    """The percentiles of each; nothing where nothing was counted."""
    return [f"{one[name]:.1f}" if one["count"] else None for one in summaries for name in _QUANTILES]
