"""The service does its work under what its unit forbids, and so does the run that is resumed from it."""

from __future__ import annotations

import pytest

from tests.cli.prepared_home import PreparedHome
from tests.deploy import sandboxed
from tests.operator.event_reader import state_when
from tests.operator.served_home import operator_of
from tests.operator.test_runs import act

pytestmark = [
    pytest.mark.cps("6.5.1"),
    pytest.mark.skipif(sandboxed.why_not() is not None, reason=sandboxed.why_not() or ""),
]


def test_a_resumed_run_issues_in_the_sandbox(home: PreparedHome) -> None:
    sandbox = sandboxed.in_sandbox("sealmint-operator.service")
    with operator_of(home.path, within=sandbox) as served, served.signed_in() as client:
        assert act(served, client, "resume").status_code == 200
        ended = state_when(
            client, lambda state: state["record"]["runs"][0]["state"] in {"completed", "paused"}
        )
        (run,) = ended["record"]["runs"]
        assert (run["state"], run["issued"]) == ("completed", run["items"]), run["reason"]
