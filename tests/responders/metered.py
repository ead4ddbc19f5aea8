"""Accounts on a host, and what its spool says."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

from engine.config import MeteringSection
from engine.usage.accounts import token_digest
from engine.usage.spool import read_whole_lines, spool_files, usages_in

TOKEN = "00112233445566778899aabbccddeeff"
OTHER_TOKEN = "ff" * 16
UNKNOWN_TOKEN = "ab" * 16


def account(name: str, *ranges: str, token: str | None = None, quota: int | None = None) -> dict[str, object]:
    """An account as the feed lists it."""
    digest = None if token is None else token_digest(token.encode()).hex()
    return {"name": name, "token_sha256": digest, "address_ranges": list(ranges), "monthly_quota": quota}


def list_accounts(path: Path, *accounts: dict[str, object]) -> None:
    """Write the list as the feed does, by rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(accounts))
    partial.rename(path)


def metering_in(directory: Path, *, anonymous: bool = False) -> MeteringSection:
    """Metering in a directory, flushed when the test says so."""
    return MeteringSection(
        enabled=True,
        accounts=str(directory / "accounts.json"),
        spool=str(directory / "spool"),
        flush_seconds=3_600,
        anonymous=anonymous,
    )


def spooled(spool: Path, month: str | None = None) -> dict[str, tuple[int, int]]:
    """Answers and refusals by account."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in spool_files(spool, month):
        for usage in usages_in(read_whole_lines(path, 0), path.name):
            sums[usage.account][0] += usage.answers
            sums[usage.account][1] += usage.refused
    return {name: (answers, refused) for name, (answers, refused) in sums.items()}
