"""The commands between a CA's home and a public host's: accounts, counts fetched over TLS, the report."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import HTTPSHandler, build_opener

import pytest

from engine.clock import SystemClock
from engine.feed.self_signed import new_key, self_signed
from engine.x509.ocsp_response import IssuerNames
from tests.cli.prepared_home import ROOT, PreparedHome, command, environment
from tests.feed_pull.two_homes import NAME, PublicHome, admitted, feed_of
from tests.responders.listener_process import UNAUTHORIZED, listener_process
from tests.responders.ocsp_requests import plain
from tests.status.ocsp_home import issue
from tests.usage.spools import A, B, append, line

JUNE = f"2026-06.{A}.jsonl"
ONE, TWO = line("2026-06-01 10:00", "bank", 3), line("2026-06-02 10:00", "bank", 4, 1)


@pytest.fixture
def public(home: PreparedHome, tmp_path: Path) -> PublicHome:
    return admitted(home, tmp_path)


def spool_of(public: PublicHome) -> Path:
    return public.path / "usage" / "spool"


@contextmanager
def serving(public: PublicHome) -> Iterator[str]:
    """Serve the counts of a public host; yield where."""
    arguments = ("usage", "serve", "--home", public.path, "--listen", "127.0.0.1:0", "--json")
    with subprocess.Popen(
        command(*arguments),
        env=environment(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["usage"]
        finally:
            process.terminate()
        assert process.wait() == 0


@pytest.mark.cps("2.5.2")
def test_from_an_account_to_the_bill(home: PreparedHome, public: PublicHome, tmp_path: Path) -> None:
    opened = home.look(
        "usage", "account", "open", "bank", "--address", "203.0.113.0/24", "--monthly-quota", "100"
    ).json
    assert opened["path"] == f"/t/{opened['token']}/"
    listed = json.loads((home.path / "usage" / "accounts.json").read_text())
    assert [one["name"] for one in listed] == ["bank"]
    with serving(public) as url:
        nothing = home.look("usage", "collect", "--from", url).json
        assert nothing == {"host": NAME, "files": 0, "octets": 0, "answers": 0}
        append(spool_of(public), JUNE, ONE)
        assert home.look("usage", "collect", "--from", url).json["answers"] == 3
        append(spool_of(public), JUNE, TWO, TWO[:9])
        assert home.look("usage", "collect", "--from", url, "--host", NAME).json["answers"] == 4
    copy = home.path / "usage" / "collected" / NAME / JUNE
    assert copy.read_bytes() == ONE + TWO
    append(tmp_path / "carried", f"2026-06.{B}.jsonl", ONE)
    carried = home.look("usage", "collect", "--from", tmp_path / "carried", "--host", "public-2").json
    assert (carried["host"], carried["answers"]) == ("public-2", 3)
    out = tmp_path / "june.csv"
    report = home.look("usage", "report", "--month", "2026-06", "--out", out).json
    assert report["hosts"] == [NAME, "public-2"]
    assert out.read_bytes() == (
        b"account,month,answers,refused_over_quota,first_day,last_day\r\n"
        b"bank,2026-06,10,1,2026-06-01,2026-06-02\r\n"
    )
    home.look("usage", "account", "close", "bank")
    assert json.loads((home.path / "usage" / "accounts.json").read_text()) == []
    (account,) = home.look("usage", "account", "list").json["accounts"]
    assert account["closed_at"] is not None
    assert opened["token"] not in json.dumps(account)
    events = [event for (event,) in home.query("SELECT event FROM audit_record WHERE event LIKE 'usage.%'")]
    assert events == ["usage.account-opened", *["usage.collected"] * 3, "usage.account-closed"]


@pytest.mark.cps("4.4.12")
def test_what_is_answered_on_the_public_host_is_on_the_bill(home: PreparedHome, tmp_path: Path) -> None:
    """The whole way: the account by the feed, the answers by the listener, the counts by TLS, the bill as CSV."""
    issue(home)
    home.sealmint("ocsp", "presign")
    token = home.look("usage", "account", "open", "bank", "--monthly-quota", "9").json["token"]
    public = admitted(home, tmp_path)
    with feed_of(home) as url:
        public.sealmint("feed", "pull", "--from", url)
    with (public.path / "sealmint.toml").open("a") as file:
        file.write("[metering]\nenabled = true\n")
    ((serial,),) = home.query("SELECT serial FROM reservation ORDER BY item_id LIMIT 1")
    issuer = IssuerNames.from_certificate((public.path / "certificates" / "ca.der").read_bytes())
    with listener_process(public.path, plain(issuer=issuer, serial=serial)) as listener:
        bodies = listener.ask(token, times=11)
        assert listener.ask() == [UNAUTHORIZED]
        listener.stop()
    assert [body == UNAUTHORIZED for body in bodies] == [False] * 9 + [True] * 2
    with serving(public) as url:
        home.look("usage", "collect", "--from", url)
    (copy,) = (home.path / "usage" / "collected" / NAME).iterdir()
    month = copy.name.partition(".")[0]
    (row,) = home.look("usage", "report", "--month", month).json["accounts"]
    assert (row["account"], row["answers"], row["refused_over_quota"]) == ("bank", 9, 2)


def test_a_host_that_lost_counts_is_told_apart(home: PreparedHome, public: PublicHome) -> None:
    append(spool_of(public), JUNE, ONE, TWO)
    with serving(public) as url:
        home.look("usage", "collect", "--from", url)
        (spool_of(public) / JUNE).write_bytes(ONE)
        error = home.look("usage", "collect", "--from", url, code=3).error
    assert "shrunk" in error["message"]
    assert (home.path / "usage" / "collected" / NAME / JUNE).read_bytes() == ONE + TWO


def test_the_public_host_lets_in_nobody_but_the_ca_host(public: PublicHome, tmp_path: Path) -> None:
    append(spool_of(public), JUNE, ONE)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    key.write_bytes(new_key())
    certificate.write_bytes(self_signed("feed", key.read_bytes(), SystemClock()))
    own = public.path / "feed" / "own.pem", public.path / "secrets" / "feed-key.pem"
    with serving(public) as url:
        for files in (None, (certificate, key), own):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(public.path / "feed" / "own.pem")
            if files is not None:
                context.load_cert_chain(*files)
            opener = build_opener(HTTPSHandler(context=context))
            with pytest.raises(OSError, match=r"alert|reset|closed|EOF"):
                opener.open(f"{url}/usage/v1/spool")


def test_the_ca_host_believes_no_host_that_was_not_admitted(home: PreparedHome, public: PublicHome) -> None:
    append(spool_of(public), JUNE, ONE)
    with serving(public) as url:
        error = home.look("usage", "collect", "--from", url, "--host", "public-2", code=3).error
        assert NAME in error["rule"]
        home.look("feed", "dismiss", "--name", NAME)
        assert "admitted" in home.look("usage", "collect", "--from", url, code=5).error["message"]
        other = home.path / "feed" / "admitted" / "other.pem"
        other.write_bytes(self_signed("other", new_key(), SystemClock()))
        error = home.look("usage", "collect", "--from", url, code=16).error
        assert "certificate verify failed" in error["value"]
    assert home.look("usage", "collect", "--from", url, code=16).error["error"] == "FeedUnavailable"
    assert not (home.path / "usage" / "collected").exists()


def test_nothing_but_the_spool_is_served(home: PreparedHome, public: PublicHome) -> None:
    append(spool_of(public), JUNE, ONE)
    (spool_of(public) / "2026-06.sums.json").write_text("{}")
    with serving(public) as url:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(public.path / "feed" / "own.pem")
        context.load_cert_chain(
            home.path / "feed" / "server.pem", home.path / "secrets" / "feed-server-key.pem"
        )
        opener = build_opener(HTTPSHandler(context=context))
        told = {}
        for path in (
            "/usage/v1/spool",
            f"/usage/v1/spool/{JUNE}",
            f"/usage/v1/spool/{JUNE}?offset={len(ONE)}",
            f"/usage/v1/spool/{JUNE}?offset=-1",
            f"/usage/v1/spool/{JUNE}?offset=1e3",
            "/usage/v1/spool/2026-06.sums.json",
            f"/usage/v1/spool/2026-07.{A}.jsonl",
            "/usage/v1/spool/..%2f..%2fsealmint.toml",
            "/usage/v1/spool/../../sealmint.toml",
            "/",
        ):
            try:
                with opener.open(url + path) as answer:
                    told[path] = answer.status, answer.read()
            except OSError as error:
                told[path] = getattr(error, "code", None), b""
    served = {path: body for path, (status, body) in told.items() if status == 200}
    assert list(served.values()) == [
        json.dumps([{"name": JUNE, "octets": len(ONE)}], separators=(",", ":")).encode(),
        ONE,
        b"",
    ]
    assert {status for status, _ in told.values()} == {200, 400, 404}


def test_commands_of_the_wrong_host_say_so(home: PreparedHome, public: PublicHome, tmp_path: Path) -> None:
    assert "public host" in public.look("usage", "account", "list", code=5).error["message"]
    assert "CA" in home.look("usage", "serve", code=5).error["message"]
    for arguments in (
        ("collect", "--from", tmp_path / "nowhere", "--host", "public-1"),
        ("collect", "--from", tmp_path),
        ("collect", "--from", tmp_path, "--host", "../up"),
        ("report", "--month", "2026-00"),
        ("report", "--month", "2026-01", "--out", tmp_path / "nowhere" / "report.csv"),
        ("account", "close", "nobody"),
    ):
        assert home.look("usage", *arguments, code=3).error["error"] == "InputRejected"
