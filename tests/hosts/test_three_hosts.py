"""Three hosts, one record over the network: one is cut off and comes back, one is killed, one does the rest."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.cli.prepared_home import PreparedHome, wait_until
from tests.hosts.hosts import ADDRESS, network_of
from tests.hosts.shared_record import SharedRecord, outcome, start
from tests.postgresql_server import WRITER, running_server

HELD_BACK = 1_000_000
"""Microseconds by which each signature takes longer until every host has units in hand."""


def test_one_is_cut_off_and_healed_and_one_is_killed(prepared: PreparedHome, tmp_path: Path) -> None:
    names = ["staying", "cut", "killed"]
    with network_of(names) as hosts:
        staying, cut, killed = hosts
        with running_server(ADDRESS if staying.is_namespace else "127.0.0.1") as server:
            url = server.network_url("{database}", WRITER)
            shared = SharedRecord(prepared, server, tmp_path, names, url=url)
            for home in shared.homes:
                home.hsm.latency("C_Sign", HELD_BACK)
            try:
                running = [
                    host.run(partial(start, home)) for host, home in zip(hosts, shared.homes, strict=True)
                ]
                for home, process in zip(shared.homes, running, strict=True):
                    assert wait_until(partial(shared.has_units, home), process)
                cut.cut_off()
                killed.kill()
                running[2].communicate()
                for home in shared.homes:
                    home.hsm.latency("C_Sign", 0)
                for home in shared.homes[1:]:
                    shared.end_leases(home)
                assert outcome(running[0])["state"] == "completed"
                cut.heal()
                woken = outcome(running[1])
                assert (woken["state"], woken["left_to_another_home"]) == ("completed", True)
            finally:
                for host in hosts:
                    host.kill()
            shared.assert_accounted_for()
