"""A run on the pretend HSM, paused and resumed from the page; and what stays when the page goes."""

from __future__ import annotations

import httpx
import pytest

from tests.cli.prepared_home import CERTIFICATES, PreparedHome, wait_until
from tests.operator.event_reader import state_when
from tests.operator.served_home import ServedOperator, operator_of


def act_token(client: httpx.Client) -> str:
    page = client.get("/en/").text
    return page.partition('name="act" content="')[2].partition('"')[0]


def act(served: ServedOperator, client: httpx.Client, what: str, run: int = 1) -> httpx.Response:
    headers = {"Origin": served.origin, "X-Sealmint-Act": act_token(client)}
    return client.post(f"/runs/{run}/{what}", headers=headers)


def issued(home: PreparedHome) -> int:
    return home.number("SELECT count(*) FROM signature")


@pytest.mark.cps("4.5.1")
def test_a_run_is_paused_and_goes_on_without_the_page(home: PreparedHome) -> None:
    home.hsm.latency("C_Sign", 200_000)
    with operator_of(home.path) as served, served.signed_in() as client:
        assert act(served, client, "resume").json() == {"run": 1, "said": "resumed"}
        running = state_when(client, lambda state: state["record"]["runs"][0]["issued"] > 0)
        assert running["record"]["runs"][0]["act"] == "pause"
        assert act(served, client, "resume").status_code == 409
        assert act(served, client, "pause").json() == {"run": 1, "said": "pausing"}
        paused = state_when(client, lambda state: state["record"]["runs"][0]["state"] == "paused")
        (run,) = paused["record"]["runs"]
        assert (run["items"], run["act"]) == (CERTIFICATES, "resume")
        left = CERTIFICATES - issued(home)
        assert 0 < run["pending"] == left < CERTIFICATES
        (asked,) = home.query("SELECT actor FROM audit_record WHERE event = 'run.pause-asked'")
        assert "operator's page, the local token" in asked[0]
        home.hsm.latency("C_Sign", 2_000_000)  # it runs still when the page is gone
        assert act(served, client, "resume").json() == {"run": 1, "said": "resumed"}
        state_when(client, lambda state: state["record"]["runs"][0]["state"] == "running")
        assert served.stop() == 0
    home.hsm.latency("C_Sign", 0)
    wait_until(lambda: home.state() == "completed")
    assert issued(home) == CERTIFICATES


def test_a_start_that_fails_is_told(home: PreparedHome) -> None:
    (home.path / "secrets" / "token-pin").unlink()
    with operator_of(home.path) as served, served.signed_in() as client:
        assert act(served, client, "resume").status_code == 200
        state = state_when(client, lambda state: state["record"]["runs"][0]["notice"] is not None)
        assert "PIN" in state["record"]["runs"][0]["notice"]
        assert state["record"]["runs"][0]["act"] == "resume"


def test_where_the_pin_is_typed_no_run_is_started_from_afar(home: PreparedHome) -> None:
    home.configure("[token]\n", '[token]\npin_file = "prompt"\n')
    with operator_of(home.path) as served, served.signed_in() as client:
        state = state_when(client, lambda state: True)
        assert state["record"]["resumption"] == "prompt"
        assert act(served, client, "resume").status_code == 409
    assert home.state() == "planned"


def test_what_is_no_run_is_refused(home: PreparedHome) -> None:
    with operator_of(home.path) as served, served.signed_in() as client:
        for what in ("pause", "resume"):
            assert act(served, client, what, run=99).status_code == 404
        assert act(served, client, "abort").status_code == 404
    assert home.state() == "planned"
