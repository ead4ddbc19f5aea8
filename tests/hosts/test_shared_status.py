"""Homes with one record keep one status: each list and each answer is signed by one of them, whoever falls out."""

from __future__ import annotations

from pathlib import Path

from engine.checker.check import check_home
from tests.cli.prepared_home import COMPANIES, PreparedHome, copy_of, wait_until
from tests.hosts.shared_record import SharedRecord
from tests.postgresql_server import PostgresqlServer
from tests.status.ocsp_home import OcspHome

HELD_BACK = 20_000
"""Microseconds by which each signature takes longer: the homes then meet."""

PUBLISHED = "SELECT count(*) FROM crl_issue WHERE published_at IS NOT NULL"
UNPUBLISHED = "SELECT count(*) FROM crl_issue WHERE published_at IS NULL"
ANSWERED = (
    "SELECT count(*) FROM ocsp_answer WHERE card_id NOT IN"
    " (SELECT card_id FROM card_status_revision WHERE answered < revision)"
)
SCOPES = "SELECT count(*) FROM crl_scope"


def issued_record(prepared: PreparedHome, postgresql: PostgresqlServer, directory: Path) -> SharedRecord:
    """Two homes on a record whose run is done; changes of status are due at once."""
    issued = copy_of(prepared, directory / "issued")
    issued.sealmint("run", "start", 1)
    issued.configure("[token]\n", "[crl]\non_change_minutes = 0\n\n[token]\n")
    shared = SharedRecord(issued, postgresql, directory, ["one", "two"])
    for home in shared.homes:
        home.hsm.latency("C_Sign", HELD_BACK)
    return shared


def a_serial(shared: SharedRecord) -> str:
    """Of a certificate, in hexadecimal."""
    return str(
        shared.server.administer("SELECT encode(serial, 'hex') FROM reservation", shared.database)[0][0]
    )


def judge(shared: SharedRecord) -> None:
    """Every signature has its reason, and every list and answer is what the record says."""
    shared.assert_accounted_for()
    one, two = shared.homes
    report = check_home(one.path, signature_log=one.path / "hsm" / "log", other_homes=[two.path])
    assert report.ok, report.findings


def test_two_homes_publish_a_change_once(
    prepared: PreparedHome, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    shared = issued_record(prepared, postgresql, tmp_path)
    one, two = (OcspHome(home) for home in shared.homes)
    with one.service("crl_publisher") as first, two.service("crl_publisher") as second:
        assert first.wait_until(lambda: first.has_said("serving") and second.has_said("serving"))
        # each wants a file of its own in its place
        assert first.wait_until(lambda: shared.number(PUBLISHED) == 2 * shared.number(SCOPES) > 0)
        two.home.sealmint("cert", "suspend", a_serial(shared), "--ground", "token-lost")
        changed = 2  # the complete list, and that of its partition
        assert first.wait_until(lambda: shared.number(PUBLISHED) >= 2 * shared.number(SCOPES) + changed)
        assert [first.stop(), second.stop()] == [0, 0]
    assert shared.number(PUBLISHED) == 2 * shared.number(SCOPES) + changed
    assert shared.number(UNPUBLISHED) == 0
    judge(shared)


def signs_and_is_killed(home: OcspHome, name: str) -> None:
    before = home.home.log_lines
    with home.service(name) as service:
        assert wait_until(lambda: home.home.log_lines > before, service.process)
        service.kill()


def test_a_home_that_is_killed_leaves_lists_and_answers_to_the_other(
    prepared: PreparedHome, postgresql: PostgresqlServer, tmp_path: Path
) -> None:
    shared = issued_record(prepared, postgresql, tmp_path)
    killed, other = (OcspHome(home) for home in shared.homes)
    for name in ("crl_publisher", "pre_signer"):
        signs_and_is_killed(killed, name)
    with other.service("crl_publisher") as publisher, other.service("pre_signer") as signer:
        assert signer.wait_until(lambda: signer.has_said("another-signs"))
        shared.server.administer(
            "UPDATE lease SET until = 0", shared.database
        )  # as they would be in a minute
        assert publisher.wait_until(lambda: shared.number(PUBLISHED) == shared.number(SCOPES) > 0)
        assert signer.wait_until(lambda: shared.number(ANSWERED) == COMPANIES)
        assert [publisher.stop(), signer.stop()] == [0, 0]
    judge(shared)
