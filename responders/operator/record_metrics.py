"""What the record says of the whole host, as metrics: made anew for every page, so what is gone is gone from it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from sqlalchemy import Connection

from engine.audit.condition import chain_condition
from engine.clock import Clock
from engine.metrics.catalogue import (
    AUDIT_LAST_CHECKPOINT,
    AUDIT_LAST_RECORD,
    AUDIT_RECORDS,
    AUDIT_UNSIGNED_RECORDS,
    CRL_ENTRIES,
    CRL_NUMBER,
    PRE_SIGNING_DUE,
    PRE_SIGNING_OWED,
    RUN_ITEMS,
    RUN_RATE,
    RUN_REMAINING,
    RUNS,
)
from engine.metrics.registry import Metrics
from engine.status.crl_files import uri_path_of
from engine.store.crls import all_scopes, last_full
from engine.store.database import Store
from engine.store.ocsp_answers import count_to_renew
from engine.store.runs import RunState, list_runs
from engine.store.schema import to_microseconds
from engine.store.standings import count_owed_an_answer
from engine.store.status_changes import last_change
from responders.operator.run_look import RunLook


class RecordMetrics:
    """Reads the record for a page of metrics.

    Args:
        store: the record.
        clock: tells the time.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._runs = RunLook()

    def read(self, metrics: Metrics) -> int:
        """Set the metrics of the host, and return the end of the change feed. Blocks.

        Raises:
            StoreError: the record cannot be read.
        """
        metrics.declare(RUN_ITEMS, RUN_RATE, RUN_REMAINING, CRL_NUMBER, CRL_ENTRIES)
        with self._store.read() as connection:
            self._read_runs(connection, metrics)
            _read_crls(connection, metrics)
            _read_audit(connection, metrics)
            now = to_microseconds(self._clock.now())
            metrics.gauge(PRE_SIGNING_OWED).set(count_owed_an_answer(connection))
            metrics.gauge(PRE_SIGNING_DUE).set(count_to_renew(connection, now))
            return last_change(connection)

    def _read_runs(self, connection: Connection, metrics: Metrics) -> None:
        states = Counter(run.state for run in list_runs(connection))
        for state in RunState:
            metrics.gauge(RUNS, state=state.value).set(states[state.value])
        for run in self._runs.runs(connection, time.monotonic(), {}):
            if run.state in (RunState.ABORTED.value, RunState.COMPLETED.value):
                continue
            number = str(run.run)
            parts: dict[str, Any] = {"issued": run.issued, "failed": run.failed, "pending": run.pending}
            for state_of_item, count in parts.items():
                metrics.gauge(RUN_ITEMS, run=number, state=state_of_item).set(count)
            metrics.gauge(RUN_RATE, run=number).set(run.rate or 0)
            if run.remaining_seconds is not None:
                metrics.gauge(RUN_REMAINING, run=number).set(run.remaining_seconds)


def _read_crls(connection: Connection, metrics: Metrics) -> None:
    for scope in all_scopes(connection):
        issue = last_full(connection, scope.id)
        if issue is not None:
            path = uri_path_of(scope.uri)
            metrics.gauge(CRL_NUMBER, scope=path).set(issue.number)
            metrics.gauge(CRL_ENTRIES, scope=path).set(issue.entries)


def _read_audit(connection: Connection, metrics: Metrics) -> None:
    chain = chain_condition(connection)
    if chain is None:
        return
    signed_at = 0.0 if chain.checkpoint_at is None else chain.checkpoint_at.timestamp()
    metrics.gauge(AUDIT_RECORDS).set(chain.sequence)
    metrics.gauge(AUDIT_LAST_RECORD).set(chain.recorded_at.timestamp())
    metrics.gauge(AUDIT_UNSIGNED_RECORDS).set(chain.uncovered)
    metrics.gauge(AUDIT_LAST_CHECKPOINT).set(signed_at)
