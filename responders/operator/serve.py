"""The operator process: no PIN, no token; the record is read, and written only to pause a run."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from engine.authority.observed import observed
from engine.clock import Clock, SystemClock
from engine.config import Configuration, HostConfiguration
from engine.errors import HomeUnusable
from engine.home import Home
from engine.json_log import Log, json_log
from engine.metrics.process import observe_process
from engine.metrics.registry import Metrics
from engine.store.database import Store, open_store
from engine.store.migration import current_revision, newest_revision
from responders.listening_sockets import listen, url_of
from responders.operator.admission import Admission
from responders.operator.app import Operator, make_app
from responders.operator.collector import Collector
from responders.operator.event_stream import EventStreams
from responders.operator.local_token import local_token
from responders.operator.pages import Pages
from responders.operator.record_look import RecordLook
from responders.operator.record_metrics import RecordMetrics
from responders.operator.run_look import RunLook
from responders.operator.run_steering import RunSteering, why_no_resumption
from responders.operator.tls import OperatorSettings, check_reach, tls_context
from responders.operator.watch import Record, Watch
from responders.web_server import serve_web


@dataclass(frozen=True, slots=True)
class Stores:
    """The record, opened twice: so that it refuses writes, and for the pause of a run."""

    readable: Store
    writable: Store


@contextmanager
def open_stores(configuration: HostConfiguration) -> Iterator[Stores | None]:
    """Open the record of an authority's home; yields None on a public host, which has none.

    Raises:
        HomeUnusable: it is of another revision than this program.
    """
    if not isinstance(configuration, Configuration):
        yield None
        return
    places = configuration.store
    readable = open_store(places.read_url or places.url, must_exist=True, read_only=True)
    stores = Stores(readable, open_store(places.url, must_exist=True))
    try:
        with stores.readable.read() as connection:
            revision = current_revision(connection)
        if revision != newest_revision():
            raise HomeUnusable(
                "the record is of another revision than this program",
                value=revision,
                rule="any other command brings an older one up to date: sealmint run status",
            )
        yield stores
    finally:
        stores.readable.close()
        stores.writable.close()


async def serve_operator(
    home: Home,
    configuration: HostConfiguration,
    address: tuple[str, int],
    on_ready: Callable[[str], None],
) -> None:
    """Serve the page until told to stop; streams of events end at once then.

    Args:
        home: the home.
        configuration: its settings.
        address: host and port; with port 0 any that is free.
        on_ready: called with the URL when connections are accepted.

    Raises:
        ConfigurationInvalid: token file or TLS cannot be used, or the token would travel in the clear.
        InputRejected: nobody can listen at the address.
        HomeUnusable: the record is of another revision.
    """
    context, clock, metrics = tls_context(configuration.operator), SystemClock(), Metrics()
    check_reach(address[0], context)
    admission = Admission(local_token(Path(configuration.operator.token_file)))
    observe_process(metrics)
    log = json_log("operator")
    with (
        open_stores(configuration) as stores,
        ExitStack() as opened,
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
    ):
        sockets, stop = listen(address, 1, opened), trio.Event()

        async def told_to_stop() -> None:
            await anext(signals)
            stop.set()

        async with observed(configuration, "operator", metrics, log), trio.open_nursery() as nursery:
            steering = _steering(home, configuration, stores, clock, nursery, log)
            watch = Watch(configuration, clock, _record(configuration, stores, steering))
            await nursery.start(watch.run)
            operator = Operator(
                admission=admission,
                pages=Pages(str(home.path), configuration.role),
                streams=EventStreams(watch, stop),
                steering=steering,
                collector=_collector(configuration, stores, clock, metrics),
                is_secure=context is not None,
            )
            settings = OperatorSettings(context, os.dup(sockets[0].fileno()))
            async with trio.open_nursery() as serving:
                await serving.start(partial(serve_web, make_app(operator), settings, told_to_stop))
                on_ready(url_of(sockets) if context is None else url_of(sockets).replace("http:", "https:"))
            nursery.cancel_scope.cancel()


def _collector(
    configuration: HostConfiguration, stores: Stores | None, clock: Clock, metrics: Metrics
) -> Collector:
    record = None if stores is None else RecordMetrics(stores.readable, clock)
    return Collector(configuration, clock, record, metrics)


def _steering(
    home: Home,
    configuration: HostConfiguration,
    stores: Stores | None,
    clock: Clock,
    nursery: trio.Nursery,
    log: Log,
) -> RunSteering | None:
    if stores is None or not isinstance(configuration, Configuration):
        return None
    return RunSteering(home, configuration, stores.writable, clock, nursery, log)


def _record(
    configuration: HostConfiguration, stores: Stores | None, steering: RunSteering | None
) -> Record | None:
    if stores is None or steering is None or not isinstance(configuration, Configuration):
        return None
    look = RecordLook(stores.readable, RunLook())
    return Record(look, stores.writable, why_no_resumption(configuration), steering.notices)
