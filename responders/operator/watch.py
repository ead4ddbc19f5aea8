"""Looking at everything again and again, for all who watch: nobody's page asks the processes by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trio

from engine.clock import Clock
from engine.config import HostConfiguration
from engine.errors import SealmintError
from engine.store.database import Store
from responders.operator.host_look import StatusStoreLook, look_at_crls
from responders.operator.ocsp_look import OcspLook
from responders.operator.process_look import VERBS, ProcessLook, ask_each, lanes_of, named
from responders.operator.record_look import RecordLook, RecordSeen, try_writing
from responders.operator.ring import LOOK_SECONDS, Point, Ring
from responders.operator.views import RecordView, State, WritingView

WRITING_SECONDS = 15.0
"""Between two tries of the write lock. A guess: a full disk is seen before the next unit is committed."""


@dataclass(frozen=True, slots=True)
class Record:
    """The record of an authority's home.

    Attributes:
        look: reads it.
        writable: is open for writing.
        resumption: why no run can be resumed from the page; None: it can.
        notices: what is to be said of runs.
    """

    look: RecordLook
    writable: Store
    resumption: str | None
    notices: dict[int, str]


class Watch:
    """Looks, keeps what the charts show, and tells those who watch.

    Args:
        configuration: the home's settings.
        clock: tells the time.
        record: the record; None: a public host has none.
    """

    def __init__(self, configuration: HostConfiguration, clock: Clock, record: Record | None) -> None:
        self.ring = Ring()
        self.state: State | None = None
        self.point: Point = []
        self._configuration, self._clock, self._record = configuration, clock, record
        self._processes, self._ocsp = ProcessLook(), OcspLook()
        self._status_store = StatusStoreLook(configuration)
        self._writing: WritingView | None = None
        self._news = trio.Event()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look until cancelled; started when everything was looked at once."""
        async with trio.open_nursery() as nursery:
            if self._record is not None:
                nursery.start_soon(self._try_writing, self._record.writable)
            await self.look()
            task_status.started()
            while True:
                await trio.sleep(LOOK_SECONDS)
                await self.look()

    async def look(self) -> None:
        """Look at everything once. What cannot be looked at is named among the faults, and the rest is there."""
        self.state = await self._look()
        self.point = self.ring.add(self.state)
        news, self._news = self._news, trio.Event()
        news.set()

    async def changed(self) -> None:
        """Wait for the next look."""
        await self._news.wait()

    async def _look(self) -> State:
        faults: list[str] = []
        answers = await ask_each(Path(self._configuration.control.directory), VERBS, faults)
        at, now = trio.current_time(), int(self._clock.now().timestamp())
        seen = await self._look_at_record(faults)
        pools = named(answers["pool"])
        status_store = None
        with _told_in(faults):
            status_store = self._status_store.look(now, None if seen is None else seen.last_change)
        crls = await trio.to_thread.run_sync(look_at_crls, Path(self._configuration.crl.directory), now)
        snapshots = {process: answer["families"] for process, answer in answers["metrics"]}
        return State(
            now=self._clock.now().timestamp(),
            role=self._configuration.role,
            record=self._record_view(seen),
            lanes=lanes_of(pools) if self._record is not None else [],
            pools=pools,
            processes=self._processes.processes(answers["describe"], at),
            ocsp=self._ocsp.since_before(snapshots, at),
            status_store=status_store,
            crls=crls,
            token_health=named(answers["token-health"]),
            faults=sorted(set(faults)),
        )

    async def _look_at_record(self, faults: list[str]) -> RecordSeen | None:
        if self._record is not None:
            with _told_in(faults):
                return await trio.to_thread.run_sync(self._record.look.look, self._record.notices)
        return None

    def _record_view(self, seen: RecordSeen | None) -> RecordView | None:
        if seen is None or self._record is None:
            return None
        return RecordView(seen.runs, seen.audit, self._writing, self._record.resumption)

    async def _try_writing(self, store: Store) -> None:
        while True:
            self._writing = await trio.to_thread.run_sync(
                try_writing, store, self._clock, abandon_on_cancel=True
            )
            await trio.sleep(WRITING_SECONDS)


@contextlib.contextmanager
def _told_in(faults: list[str]) -> Iterator[None]:
    """What goes wrong of ours in the block is a fault on the page."""
    try:
        yield
    except SealmintError as error:
        faults.append(str(error))
