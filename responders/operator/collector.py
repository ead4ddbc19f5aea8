"""One page of metrics out of all processes of a home (decision 0036).

Each page asks every control socket anew, so the values of a process that is gone are gone, and nothing is written to a
disk to be cleaned up. What a process of another version serves that is not in the catalogue is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from time import perf_counter
from typing import Any

import trio
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from engine.clock import Clock
from engine.config import HostConfiguration
from engine.control.client import ask_all
from engine.errors import SealmintError, StoreError
from engine.metrics.catalogue import (
    COLLECTION_DURATION,
    CRL_NEXT_UPDATE,
    CRL_THIS_UPDATE,
    FAMILIES,
    FOLLOWER_LAG,
    OPERATOR,
    PROCESS_START_TIME,
    PROCESSES,
    RECORD_READABLE,
)
from engine.metrics.families import Family, Kind
from engine.metrics.registry import Metrics
from engine.status.crl_files import all_published
from responders.operator.host_look import StatusStoreLook
from responders.operator.record_metrics import RecordMetrics

Snapshot = Iterable[Mapping[str, Any]]

_OWN = "operator"


class Collector:
    """Makes pages of metrics.

    Args:
        configuration: the home's settings.
        clock: tells the time.
        record: reads the record; None: a public host has none.
        metrics: of this process.
    """

    def __init__(
        self, configuration: HostConfiguration, clock: Clock, record: RecordMetrics | None, metrics: Metrics
    ) -> None:
        self._control = Path(configuration.control.directory)
        self._crls = Path(configuration.crl.directory)
        self._clock = clock
        self._record = record
        self._metrics = metrics
        self._status_store = StatusStoreLook(configuration)
        self._duration = metrics.histogram(COLLECTION_DURATION)
        self._collecting = trio.Lock()  # pages are made one after the other, each with all it costs

    async def collect(self) -> list[Metric]:
        """Ask the processes, the record and the files; return all families, ready to be written out.

        Who does not answer in time is left out; what cannot be read is left out, and said so by a metric.
        """
        async with self._collecting:
            began = perf_counter()
            host = Metrics()
            answers = [
                (process.name, answer["families"])
                for process, answer in await ask_all(self._control, "metrics")
            ]
            host.gauge(PROCESSES).set(len(answers))
            await self._read_host(host)
            self._duration.observe(perf_counter() - began)
        named = {name: snapshot for name, snapshot in sorted(answers, key=_begin) if name != _OWN}
        return list(families(named | {_OWN: self._metrics.snapshot()}, host.snapshot()))

    async def _read_host(self, host: Metrics) -> None:
        end: int | None = None
        if self._record is not None:
            readable = host.gauge(RECORD_READABLE)
            with suppress(StoreError):
                end = await trio.to_thread.run_sync(self._record.read, host)
                readable.set(1)
        with suppress(StoreError):
            seen = self._status_store.look(int(self._clock.now().timestamp()), end)
            if seen is not None and seen.behind is not None:
                host.gauge(FOLLOWER_LAG).set(seen.behind)
        with suppress(SealmintError, OSError):
            await trio.to_thread.run_sync(_read_crl_files, self._crls, host)


def _begin(answer: tuple[str, Snapshot]) -> float:
    """When a process began: of two of a name, while one takes over from the other, the later counts."""
    for family in answer[1]:
        if family["name"] == PROCESS_START_TIME.name:
            return float(family["samples"][0]["value"])
    return 0.0


def _read_crl_files(directory: Path, host: Metrics) -> None:
    host.declare(CRL_THIS_UPDATE, CRL_NEXT_UPDATE)
    for crl in all_published(directory):
        host.gauge(CRL_THIS_UPDATE, scope=crl.uri_path).set(crl.this_update)
        host.gauge(CRL_NEXT_UPDATE, scope=crl.uri_path).set(crl.next_update)


def families(processes: Mapping[str, Snapshot], host: Snapshot) -> Iterator[Metric]:
    """Return the families of all processes and of the host, each once.

    Args:
        processes: what each process counts, by its name, which becomes the label `process`.
        host: what is of the whole host.
    """
    found: dict[str, Metric] = {}
    for labels, snapshot in [({"process": name}, counted) for name, counted in processes.items()] + [
        ({}, host)
    ]:
        for counted in snapshot:
            family = FAMILIES.get(counted["name"])
            if family is None:
                continue
            more = {} if family.processes == OPERATOR else labels
            metric = found.setdefault(family.name, _empty(family))
            for sample in counted["samples"]:
                _add(metric, family, {**more, **sample["labels"]}, sample)
    yield from (found[name] for name in FAMILIES if name in found)


def _empty(family: Family) -> Metric:
    if family.kind is Kind.COUNTER:
        return CounterMetricFamily(family.name, family.help)
    if family.kind is Kind.GAUGE:
        return GaugeMetricFamily(family.name, family.help)
    return HistogramMetricFamily(family.name, family.help)


def _add(metric: Metric, family: Family, labels: dict[str, str], sample: Mapping[str, Any]) -> None:
    if family.kind is not Kind.HISTOGRAM:
        metric.add_sample(family.name, labels, sample["value"])
        return
    bounds = [*map(str, family.bounds), "+Inf"]
    for bound, reached in zip(bounds, accumulate(sample["buckets"]), strict=True):
        metric.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, reached)
    metric.add_sample(f"{family.name}_count", labels, sample["count"])
    metric.add_sample(f"{family.name}_sum", labels, sample["sum"])
