"""Two homes, real processes, real TLS: what the CA host says reaches the public host, and nothing else does."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509

from engine.feed.certificate_copy import INDEX_NAME
from engine.repository.certificate_index import CertificateIndex
from engine.repository.publication_copy import PublicationCopy
from engine.store.schema import CertificateState
from tests.cli.prepared_home import PreparedHome, copy_of, wait_until
from tests.feed_pull.two_homes import NAME, PublicHome, admitted, feed_of


@pytest.fixture(scope="module")
def issued_home(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """A home with certificates, one card of them accepted, with answers and CRLs."""
    home = copy_of(prepared, tmp_path_factory.mktemp("feed") / "copy")
    home.sealmint("run", "start", 1)
    home.look("cert", "accept", serials(home)[0])
    home.sealmint("ocsp", "presign")
    home.sealmint("crl", "publish")
    return home


@pytest.fixture
def ca_home(issued_home: PreparedHome, tmp_path: Path) -> PreparedHome:
    return copy_of(issued_home, tmp_path / "copy")


def serials(home: PreparedHome) -> list[str]:
    return [serial for (serial,) in home.query("SELECT hex(serial) FROM reservation ORDER BY item_id")]


@pytest.mark.cps("2.6.3")
@pytest.mark.cps("6.7")
def test_what_is_published_reaches_a_host_without_keys(ca_home: PreparedHome, tmp_path: Path) -> None:
    home = ca_home
    document = tmp_path / "policy.txt"
    document.write_text("隱私權政策\n" * 1_000, encoding="utf-8")
    home.look(
        *("publish", "document", "--kind", "privacy-policy", "--file", document, "--version", "1.0"),
        *("--title-zh", "隱私權政策", "--title-en", "Privacy policy"),
    )
    public = admitted(home, tmp_path)
    first, other, last = (serials(home)[place] for place in (0, 1, -1))
    with feed_of(home) as url:
        outcome = public.sealmint("feed", "pull", "--from", url).json
        assert set(outcome.values()) == {"current"}
        check_modes(public.path)
        now = int(
            x509.load_der_x509_certificate(
                (public.path / "certificates/ca.der").read_bytes()
            ).not_valid_before_utc.timestamp()
        )
        assert all(public.has_answer(serial, now) for serial in serials(home))
        index = CertificateIndex(public.path / "repository" / INDEX_NAME)
        assert [one.serial.hex().upper() for one in index.by_serial(bytes.fromhex(first))] == [first]
        assert index.by_serial(bytes.fromhex(other)) == []  # nobody accepted it
        (published,) = PublicationCopy(public.path / "repository").read()
        assert published.content_sha256 == hashlib.sha256(document.read_bytes()).hexdigest()
        content = PublicationCopy(public.path / "repository").content_path(published.content_sha256)
        assert content.read_bytes() == document.read_bytes()
        same_files(home.path / "crl", public.path / "crl")
        with public.following(url) as following:
            assert set(following.caught_up.values()) == {"current"}
            home.look("cert", "revoke", last, "--ground", "key-compromise")
            assert wait_until(lambda: is_revoked(public, last), following.process)
            home.look("cert", "accept", other)
            home.sealmint("crl", "publish")
            assert wait_until(lambda: bool(index.by_serial(bytes.fromhex(other))), following.process)
            assert wait_until(lambda: same_files(home.path / "crl", public.path / "crl"), following.process)
            home.sealmint("ocsp", "presign")
            assert wait_until(lambda: public.has_answer(last, now), following.process)
            assert following.stop() == 0
            assert [line for line in following.said if line["level"] == "error"] == []


@pytest.mark.cps("2.6.3")
def test_a_record_that_was_put_back_is_not_followed_unless_that_is_meant(
    ca_home: PreparedHome, tmp_path: Path
) -> None:
    home = ca_home
    public = admitted(home, tmp_path)
    last = serials(home)[-3]
    store, backup = home.path / "store.sqlite", tmp_path / "backup.sqlite"
    with feed_of(home) as url:
        public.look("feed", "pull", "--from", url)
        with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(backup)) as target:
            source.backup(target)
        home.look("cert", "revoke", last, "--ground", "key-compromise")
        public.look("feed", "pull", "--from", url)
        assert is_revoked(public, last)
    for path in home.path.glob("store.sqlite*"):
        path.unlink()
    shutil.copy(backup, store)
    with feed_of(home) as url:
        refused = public.look("feed", "pull", "--from", url, code=15)
        assert refused.error["error"] == "FeedRejected"
        assert "--from-nothing" in refused.error["message"]
        assert is_revoked(public, last)
        home.look("cert", "accept", last)  # the record goes on, another way
        assert public.look("feed", "pull", "--from", url, code=15).error["rule"]
        assert is_revoked(public, last)
        public.look("feed", "pull", "--from", url, "--from-nothing")
        assert not is_revoked(public, last)


@pytest.mark.cps("6.7")
def test_who_was_not_admitted_or_is_dismissed_reads_nothing(ca_home: PreparedHome, tmp_path: Path) -> None:
    home = ca_home
    public = admitted(home, tmp_path)
    stranger = PublicHome(tmp_path / "stranger")
    stranger.look("feed", "request", "--name", "stranger", "--out", tmp_path / "stranger.pem")
    stranger.look("feed", "join", "--admission", tmp_path / "admission.json")  # it got hold of the file
    with feed_of(home) as url:
        public.look("feed", "pull", "--from", url)
        assert stranger.look("feed", "pull", "--from", url, code=16).error["error"] == "FeedUnavailable"
        assert not (stranger.status_store / "CURRENT").exists()
        home.look("feed", "dismiss", "--name", NAME)
        assert wait_until(lambda: is_refused(public, url))


def check_modes(home: Path) -> None:
    """The group reads the copies, and takes a reader's slot in the store; nobody else reads anything."""

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    (data,) = (home / "status-store").glob("*/data.mdb")
    assert mode(data) == mode(home / "repository" / INDEX_NAME) == 0o640
    assert mode(data.with_name("lock.mdb")) == 0o660
    assert {mode(path) for path in (home / "crl").rglob("*.crl")} == {0o640}
    assert mode(home / "usage" / "accounts.json") == 0o640
    assert {mode(path) for path in (home, data.parent, home / "crl", home / "repository")} == {0o750}
    assert mode(home / "secrets") == 0o700


def is_refused(public: PublicHome, url: str) -> bool:
    return public.run("feed", "pull", "--from", url).code == 16


def is_revoked(public: PublicHome, serial: str) -> bool:
    standing = public.standing(serial)
    return standing is not None and standing.state is CertificateState.REVOKED


def same_files(one: Path, other: Path) -> bool:
    def digests(directory: Path) -> dict[str, str]:
        return {
            str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in directory.rglob("*.crl")
        }

    return digests(one) == digests(other) != {}
