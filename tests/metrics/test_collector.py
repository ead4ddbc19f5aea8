"""Many snapshots on one page; and what the copies of a public host count."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, cast

import trio
from prometheus_client.core import Metric

from engine.clock import SystemClock
from engine.config import PublicConfiguration
from engine.control.server import ControlServer, controlled
from engine.errors import FeedRejected, SealmintError
from engine.feed.feed_client import Asking
from engine.feed.head_news import HeadNews
from engine.feed.pull import Copies, Puller, _Following
from engine.json_log import json_log
from engine.metrics.catalogue import AUDIT_RECORDS, LIVE_PENDING, POOL_SESSIONS
from engine.metrics.registry import Metrics
from responders.operator.collector import Collector, families


def counted(value: float) -> Metrics:
    metrics = Metrics()
    metrics.gauge(LIVE_PENDING).set(value)
    return metrics


def values(found: list[Metric], name: str) -> dict[str, float]:
    (metric,) = [one for one in found if one.name == name]
    return {sample.labels.get("process", ""): sample.value for sample in metric.samples}


def test_processes_come_together_in_one_family_and_the_host_has_no_process() -> None:
    host = Metrics()
    host.gauge(AUDIT_RECORDS).set(9)
    processes = {"listener-1": counted(1).snapshot(), "listener-2": counted(2).snapshot()}
    found = list(families(processes, host.snapshot()))
    assert [one.name for one in found] == ["sealmint_live_pending", "sealmint_audit_records"]
    assert values(found, "sealmint_live_pending") == {"listener-1": 1, "listener-2": 2}
    assert values(found, "sealmint_audit_records") == {"": 9}


def test_what_another_version_serves_is_left_out() -> None:
    strange = [{"name": "sealmint_from_the_future", "samples": [{"labels": {}, "value": 1}]}]
    assert list(families({"web": strange}, [])) == []


async def test_whose_process_is_gone_is_gone(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir(mode=0o700)
    configuration = PublicConfiguration.model_validate(
        {
            "role": "public",
            "control": {"directory": str(tmp_path / "control")},
            "crl": {"directory": str(tmp_path / "crl")},
            "ocsp": {"status_store": str(tmp_path / "status-store")},
        }
    )
    collector = Collector(configuration, SystemClock(), None, Metrics())
    directory = Path(configuration.control.directory)
    async with controlled(ControlServer(directory, "web", counted(5))):
        async with controlled(ControlServer(directory, "listener-1", counted(7))):
            assert values(await collector.collect(), "sealmint_live_pending") == {"listener-1": 7, "web": 5}
        found = await collector.collect()
        assert values(found, "sealmint_live_pending") == {"web": 5}
        assert values(found, "sealmint_processes") == {"": 1}
    assert "sealmint_live_pending" not in {one.name for one in await collector.collect()}
    assert POOL_SESSIONS.name not in {one.name for one in await collector.collect()}


class _Lane:
    def __init__(self, name: str, error: SealmintError | None) -> None:
        self.name = name
        self._error = error

    def open(self, *, from_nothing: bool = False) -> None: ...

    async def follow(self, news: HeadNews) -> None:
        await trio.lowlevel.checkpoint()
        if self._error is not None:
            raise self._error


async def test_copies_count_what_fails_and_say_when_they_were_last_right() -> None:
    metrics = Metrics()
    lanes = [_Lane("status", None), _Lane("crls", FeedRejected("another signature"))]
    copies = Copies(cast("Any", lanes[0]), lanes[1:])
    puller = Puller(cast("Asking", None), copies, random.Random(1))
    following = _Following(puller, json_log("test"), 1, lambda _: None, metrics)
    for lane in lanes:
        for _ in range(2):
            await following._try(lane, cast("HeadNews", None))
    found = list(families({"feed-pull": metrics.snapshot()}, []))
    failures, success = (
        next(one for one in found if one.name == name).samples
        for name in ("sealmint_feed_lane_failures", "sealmint_feed_lane_last_success_seconds")
    )
    assert [(one.labels["lane"], one.labels["error"], one.value) for one in failures] == [
        ("crls", "FeedRejected", 2)
    ]
    assert [one.labels["lane"] for one in success] == ["status"]
