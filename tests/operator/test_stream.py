"""The stream of events: what it carries, that it ends, and that a sick process hides no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.pkcs11.lanes import Lane
from responders.operator.ring import COLUMNS
from tests.cli.prepared_home import PreparedHome
from tests.operator.event_reader import events, state_when
from tests.operator.served_home import ServedOperator, operator_of
from tests.operator.stand_ins import LISTENERS, SIGNERS


def test_a_busy_host_is_shown_whole(busy: ServedOperator) -> None:
    with busy.signed_in() as client:
        state = state_when(
            client, lambda state: state["ocsp"] is not None and state["ocsp"]["per_second"] > 0
        )
    assert [lane["lane"] for lane in state["lanes"]] == [lane.label for lane in Lane]
    issuance = state["lanes"][Lane.ISSUANCE]
    assert issuance["served"] > 0
    assert issuance["per_second"] == 401.0  # two workers
    assert issuance["p50_ms"] < issuance["p95_ms"] < issuance["p99_ms"]
    assert {pool["process"] for pool in state["pools"]} == set(SIGNERS)
    names = {process["process"] for process in state["processes"]}
    assert names == {*SIGNERS, *LISTENERS, "token-watch", "operator"}
    assert 0 < state["ocsp"]["p50_ms"] < state["ocsp"]["p99_ms"]
    (health,) = state["token_health"]
    assert [key["healthy"] for key in health["keys"]] == [True, True, False, True]
    assert state["record"]["audit"]["sequence"] > 0
    assert len(state["record"]["audit"]["hash"]) == 64
    assert state["crls"]["count"] == len(state["crls"]["nearest"]) > 0
    assert state["faults"] == []


@pytest.mark.cps("4.5.6")
def test_whether_the_audit_log_can_be_written_is_shown(busy: ServedOperator) -> None:
    with busy.signed_in() as client:
        state = state_when(client, lambda state: state["record"]["writing"] is not None)
    assert state["record"]["writing"]["fault"] is None
    assert state["record"]["writing"]["free_bytes"] > 0


def test_the_charts_come_first(busy: ServedOperator) -> None:
    with busy.signed_in() as client, client.stream("GET", "/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        stream = events(response)
        name, charts = next(stream)
        assert (name, tuple(charts["columns"])) == ("charts", COLUMNS)
        name, document = next(stream)
        assert name == "state"
        assert len(document["point"]) == len(COLUMNS)
        assert charts["points"][-1] == document["point"] or charts["points"][-1][0] < document["point"][0]


def test_a_stream_ends_with_the_process_and_keeps_it_not(home: PreparedHome) -> None:
    with operator_of(home.path) as served, served.signed_in() as client:
        with client.stream("GET", "/events") as response:
            stream = events(response)
            assert next(stream)[0] == "charts"
            served.process.terminate()
            assert {name for name, _ in stream} <= {"state"}  # to its end, which is whole
        assert served.process.wait() == 0


def test_a_stream_ends_with_its_session(home: PreparedHome) -> None:
    with (
        operator_of(home.path) as served,
        served.signed_in() as client,
        client.stream("GET", "/events") as response,
    ):
        stream = events(response)
        assert next(stream)[0] == "charts"
        assert client.post("/logout", headers={"Origin": served.origin}).status_code == 303
        assert len(list(stream)) <= 2


def test_a_process_with_a_defect_is_a_fault_and_hides_no_other(home: PreparedHome, tmp_path: Path) -> None:
    control = home.path / "run" / "control"
    with operator_of(home.path) as served, served.signed_in() as client:
        state = state_when(client, lambda state: True)
        assert [process["process"] for process in state["processes"]] == ["operator"]
        control.chmod(0o700)
        (control / f"worker-1-{served.process.pid}.socket").touch()  # no socket at all
        state = state_when(client, lambda state: True)
        assert [process["process"] for process in state["processes"]] == ["operator"]
