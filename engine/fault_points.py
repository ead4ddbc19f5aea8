"""Places in the program at which a test may have it killed (docs/chaos.md).

`[fault_points]` in `sealmint.toml` names some; without it a fault point costs a look at an empty table. A point kills
once: the file that it leaves says so to the process that is started in place of the dead one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

FAULT_POINTS = {
    "plan.chunk-committed": "planning: a part of the plan is in the record, the run is not planned yet",
    "plan.before-commit": "planning: all is written, the last transaction is not committed",
    "plan.committed": "planning: the run is planned, nobody was told",
    "unit.leased": "a worker has leased a unit",
    "unit.built": "the TBSs of a unit are built and checked, none is stored",
    "unit.reserved": "the TBSs of a unit are committed, none is signed",
    "unit.signed": "all signatures of a unit are there, none is verified or stored",
    "unit.before-commit": "the certificates of a unit are written, not committed",
    "unit.completed": "a unit is committed, the supervisor was not told",
    "run.certificates-listed": "closing a run: its list of certificates is written, its manifest not announced",
    "operations.announced": "the operations key is about to sign: the record says so",
    "run.manifest-written": "closing a run: the manifest is signed and written, the run still open",
    "run.closed": "closing a run: its state is committed, the checkpoint missing",
    "checkpoint.stated": "the statement of a checkpoint is committed, not signed",
    "checkpoint.signed": "a checkpoint is signed, the signature not stored",
    "crl.reserved": "number and digest of a CRL are committed, it is not signed",
    "crl.signed": "a CRL is signed, no file written",
    "crl.written": "a CRL's file is whole, under its partial name",
    "crl.published": "a CRL is recorded as published, its file is still under its partial name",
    "crl.renamed": "a CRL's file is in its place, its lease is still held",
    "ocsp.reserved": "the digests of a batch of OCSP answers are committed, none is signed",
    "ocsp.signed": "a batch of OCSP answers is signed, none is stored",
    "ocsp.stored": "a batch of OCSP answers is committed",
    "act.before-commit": "acts are written, not committed",
    "act.committed": "acts are committed, who asked was not told",
    "status-store.before-commit": "the follower has written to the status store, not committed",
    "status-store.committed": "the follower has committed to the status store",
    "journal.written": "a digest to be signed live is journalled, not signed",
    "journal.recorded": "a part of a journal is in the record, the journal not sealed",
    "feed.signed": "a piece of the feed is signed, not sent",
}
"""Every point there is, and where it is. A configuration that names another one is refused."""

_armed: dict[str, Path] = {}


def arm(points: Iterable[str], marks: Path) -> None:
    """Arm points for this process, and no others.

    Args:
        points: their names.
        marks: directory of the files, named as the points, whose absence lets them kill; made where there are points.
    """
    _armed.clear()
    _armed.update((name, marks / name) for name in points)
    if _armed:
        marks.mkdir(parents=True, exist_ok=True)


def fault_point(name: str) -> None:
    """Die here by SIGKILL, where a test has armed this point."""
    if not _armed:
        return
    mark = _armed.get(name)
    if mark is None:
        return
    try:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
