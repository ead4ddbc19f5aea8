"""Thousands of bad requests: never a crash, a hang or a 500, and no memory lost to them."""

from __future__ import annotations

from pathlib import Path

from tests.judges.toy_authority import ToyAuthority
from tests.responders.fuzzed_listener import fuzz, resident_octets
from tests.responders.synthetic_status import SyntheticStatus


async def test_bad_requests_do_no_harm(tmp_path: Path) -> None:
    """`python -m tests.responders.fuzzed_listener` sends a hundred thousand."""
    status = SyntheticStatus(tmp_path, ToyAuthority())
    status.build()
    await fuzz(status, 1_500, seed=5019)
    before = resident_octets()
    statuses = await fuzz(status, 3_500, seed=9919)
    assert resident_octets() - before < 2_000_000
    assert {"200", "304", "400", "404"} <= set(statuses)
