"""Hostile requests to every route: no server error, nothing of an unaccepted certificate, nothing lost or left."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.prepared_home import PreparedHome
from tests.fuzz.run import as_json, run
from tests.fuzz.served_hosts import two_hosts

REQUESTS = 2_000
"""In all. `python -m tests.fuzz` sends a hundred thousand."""


@pytest.mark.cps("4.3.1")
def test_hostile_requests_do_no_harm(home: PreparedHome, tmp_path: Path) -> None:
    seen = as_json(run(two_hosts(home, tmp_path), REQUESTS, seed=20_261))
    assert {group["routes"]: group["findings"] for group in seen if group["findings"]} == {}
    for group in seen:
        assert {"2xx", "4xx"} <= set(group["statuses"]), group
    assert sum(group["requests"] for group in seen) >= REQUESTS
