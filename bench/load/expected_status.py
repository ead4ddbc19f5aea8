"""What may rightly be said of a certificate: what the record said, and what has happened since.

Acts of the load itself are known to the moment. Of others' it is only known that they happened after the record was
read, so an answer may say so, if its own times do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import orjson

from bench.load.targets import Target
from engine.store.schema import CertificateState


class Said(NamedTuple):
    """What an answer says of a certificate; times in seconds since the epoch."""

    state: Literal["good", "revoked", "unknown"]
    since: int | None
    reason: int | None
    this_update: int


class Acknowledged:
    """The acts of this load: when each was acknowledged. A file that one process appends to and others read on.

    Args:
        path: the file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._moments: dict[bytes, float] = {}

    def append(self, serials: list[bytes], moment: float) -> None:
        """Write down acts that were acknowledged at a moment, seconds since the epoch."""
        lines = [orjson.dumps([serial.hex(), moment]) + b"\n" for serial in serials]
        with self._path.open("ab") as file:
            file.write(b"".join(lines))

    def read_on(self) -> None:
        """Take in what was appended since; a line that is not whole yet waits."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                octets = file.read()
        except FileNotFoundError:
            return
        whole = octets[: octets.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            serial, moment = orjson.loads(line)
            self._moments[bytes.fromhex(serial)] = moment

    def moment(self, serial: bytes) -> float | None:
        """Return when the act on a certificate was acknowledged; None where none was."""
        return self._moments.get(serial)

    def __len__(self) -> int:
        return len(self._moments)


class ExpectedStatus:
    """Judges what is said of a certificate.

    Args:
        read_at: when the record was read, seconds since the epoch.
        acknowledged: the acts of this load.
        withdrawal_seconds: how long after an acknowledged act the old answer may still come.
    """

    def __init__(self, read_at: int, acknowledged: Acknowledged, withdrawal_seconds: float) -> None:
        self._read_at = read_at
        self._acknowledged = acknowledged
        self._withdrawal_seconds = withdrawal_seconds

    def fault(self, target: Target, said: Said, asked_at: float) -> str | None:
        """Return what is wrong with an answer: `status` or `stale-good`; None where nothing is.

        Args:
            target: the certificate as the record had it.
            said: what the answer says.
            asked_at: when the question was sent, seconds since the epoch.
        """
        if said.state == "unknown":
            return "status"
        if said.state == "good":
            return self._fault_of_good(target, said, asked_at)
        if said.since == target.since and said.reason == target.reason:
            return None
        changed_since = said.since is not None and said.since >= self._read_at
        return None if changed_since and target.state is not CertificateState.REVOKED else "status"

    def _fault_of_good(self, target: Target, said: Said, asked_at: float) -> str | None:
        if target.state is CertificateState.REVOKED:
            return "status"
        done_at = self._acknowledged.moment(target.serial)
        if done_at is not None and asked_at > done_at + self._withdrawal_seconds:
            return "stale-good"
        if target.state is CertificateState.HELD and said.this_update < self._read_at:
            return "status"  # lifted since, an answer would be younger
        return None
