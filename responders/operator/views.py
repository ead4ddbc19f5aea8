"""What the page shows, as plain values: times in seconds since the epoch, durations as their names say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class RunView:
    """A run of mass issuance.

    Attributes:
        rate: certificates a second of the last minute; None while nothing is known.
        remaining_seconds: at that rate.
        act: what the page offers to do with it.
        notice: how the last start from the page went wrong.
    """

    run: int
    state: str
    policy: str
    items: int
    issued: int
    failed: int
    aborted: int
    pending: int
    reason: str | None
    started_at: float | None
    closed_at: float | None
    rate: float | None
    remaining_seconds: float | None
    act: Literal["pause", "resume"] | None
    notice: str | None


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane over all processes. The percentiles are those of the process where it waits longest, of recent seconds."""

    lane: str
    waiting: int
    in_flight: int
    served: int
    refused: int
    per_second: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class OcspView:
    """OCSP answers over all processes that answer, since the look before."""

    per_second: float
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class StatusStoreView:
    """The copy of the status that this host answers from."""

    written_at: float
    is_current: bool
    sequence: int
    behind: int | None
    """Entries of the change feed; None where this host has no record to compare with."""


@dataclass(frozen=True, slots=True)
class CrlView:
    """A published CRL."""

    path: str
    this_update: int
    next_update: int
    size: int


@dataclass(frozen=True, slots=True)
class CrlsView:
    """All published CRLs, and those of them that end first."""

    count: int
    past: int
    nearest: list[CrlView]


@dataclass(frozen=True, slots=True)
class AuditView:
    """How the audit chain stands."""

    sequence: int
    recorded_at: float
    event: str
    actor: str
    hash: str
    checkpoint: int | None
    checkpoint_at: float | None
    uncovered: int


@dataclass(frozen=True, slots=True)
class WritingView:
    """Whether the record can be written: without audit records nothing is done (CPS 4.5.6).

    Attributes:
        checked_at: when that was tried last.
        waited_ms: how long the write lock was waited for.
        free_bytes: on the file system of the record; None where it is a database server's.
        fault: why it cannot be written; None: it can.
    """

    checked_at: float
    waited_ms: float
    free_bytes: int | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class ProcessView:
    """A running process."""

    process: str
    pid: int
    uptime_seconds: float
    memory_bytes: int
    cpu: float | None
    """CPUs it kept busy since the look before; None at the first."""


@dataclass(frozen=True, slots=True)
class RecordView:
    """What the record says; a public host has none."""

    runs: list[RunView]
    audit: AuditView | None
    writing: WritingView | None
    resumption: str | None
    """Why no run can be resumed from the page; None: it can."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything at one moment.

    Attributes:
        pools: of each process that signs, as it says (verb "pool"), with its name and number.
        token_health: as the process that looks after the token says (verb "token-health").
        faults: what could not be looked at, and why.
    """

    now: float
    role: str
    record: RecordView | None
    lanes: list[LaneView]
    pools: list[dict[str, Any]]
    processes: list[ProcessView]
    ocsp: OcspView | None
    status_store: StatusStoreView | None
    crls: CrlsView
    token_health: list[dict[str, Any]]
    faults: list[str]
