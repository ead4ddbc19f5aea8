"""On the public host, who fetches the copies and who answers out of them are two accounts (CPS 2.6.3, 6.7).

The directories are made by tmpfiles.d's own lines, the copies by the real feed, each command as its account.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.prepared_home import ROOT, PreparedHome, command, copy_of, environment, wait_until
from tests.deploy import as_account, sandboxed
from tests.deploy.accounts import PUBLIC, directories
from tests.deploy.as_account import Account
from tests.deploy.sandboxed import in_sandbox
from tests.deploy.test_accounts import make_host, numbers_in
from tests.feed_pull.two_homes import feed_of
from tests.responders.test_serve_command import ask

pytestmark = [
    pytest.mark.cps("2.6.3"),
    pytest.mark.skipif(as_account.why_not() is not None, reason=as_account.why_not() or ""),
]

PROBE = """
import json, os, sys
from pathlib import Path

rights = {}
for path in [Path(sys.argv[1]), *Path(sys.argv[1]).rglob("*")]:
    rights[str(path.relative_to(sys.argv[1]))] = [os.access(path, right) for right in (os.R_OK, os.W_OK)]
print(json.dumps(rights))
"""
READ_STATUS = """
import sys
from pathlib import Path
from engine.repository.certificate_index import CERTIFICATE_INDEX_NAME, CertificateIndex
from engine.status.status_store import StatusReader

home, serial = Path(sys.argv[1]), bytes.fromhex(sys.argv[2])
with StatusReader(home / "status-store") as store:
    print(store.standing(0, serial).state.name, CertificateIndex(home / "repository" / CERTIFICATE_INDEX_NAME).count())
"""


@dataclass
class PublicHost:
    """A public host's home, its accounts, and the CA's home that it copied."""

    home: Path
    feed: Account
    web: Account
    authority: PreparedHome
    serial: str

    def sandboxed(self, account: Account, unit: str, *arguments: object) -> list[str]:
        """Return one of our commands as an account, in the unit's sandbox where there is one here."""
        words = command(*arguments, "--home", self.home, "--json")
        return account.command(*(words if sandboxed.why_not() else in_sandbox(unit, *words)))

    def pull(self) -> None:
        """Bring the copies up."""
        pull = self.sandboxed(self.feed, "sealmint-feed-pull.service", "feed", "pull")
        done = subprocess.run(
            pull, env=environment(), cwd=ROOT, capture_output=True, umask=0o027, check=False
        )
        assert done.returncode == 0, done.stderr.decode()

    def run(self, account: Account, *words: object) -> str:
        """Run a command as an account, with the units' umask, and return what it said."""
        done = subprocess.run(
            account.command(*words),
            env=environment(),
            cwd=ROOT,
            capture_output=True,
            umask=0o027,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode()

    def rights(self, account: Account) -> dict[str, list[bool]]:
        """Whether an account may read and write each file and directory of the home that it can see."""
        said: dict[str, list[bool]] = json.loads(
            self.run(account, sys.executable, "-P", "-c", PROBE, self.home)
        )
        return said


@pytest.fixture(scope="module")
def host(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicHost]:
    authority = copy_of(prepared, tmp_path_factory.mktemp("authority") / "copy")
    authority.sealmint("run", "start", 1, "--workers", 1)
    ((serial,),) = authority.query("SELECT hex(serial) FROM reservation ORDER BY item_id LIMIT 1")
    authority.look("cert", "accept", serial)
    authority.sealmint("ocsp", "presign", "--signers", 1)
    authority.sealmint("crl", "publish")
    root = Path(tempfile.mkdtemp(prefix="sealmint-host-"))  # pytest's own directories are closed to others
    root.chmod(0o755)
    try:
        make_host(root, PUBLIC)
        users, groups = numbers_in(root / "etc" / "passwd"), numbers_in(root / "etc" / "group")
        feed = Account(users["sealmint-feed"], (groups["sealmint-public"],))
        web = Account(users["sealmint-web"], (groups["sealmint-web"], groups["sealmint-public"]))
        host = PublicHost(root / directories(PUBLIC)[1].path[1:], feed, web, authority, str(serial))
        _join_and_pull(host, root)
        yield host
    finally:
        shutil.rmtree(root)


def _join_and_pull(host: PublicHost, root: Path) -> None:
    """What docs/deployment.md has an operator do, as the account of the feed."""
    exchange = root / "exchange"
    exchange.mkdir()
    os.chown(exchange, host.feed.user, -1)
    request, admission = exchange / "request.pem", exchange / "admission.json"
    at_home = ("--home", host.home, "--json")
    host.run(host.feed, *command("feed", "request", "--name", "public-1", "--out", request, *at_home))
    host.authority.look("feed", "admit", "--request", request, "--out", admission)
    admission.chmod(0o644)
    with feed_of(host.authority) as url:
        host.run(host.feed, *command("feed", "join", "--admission", admission, "--from", url, *at_home))
        host.pull()


def test_who_answers_reads_the_copies(host: PublicHost) -> None:
    said = host.run(host.web, sys.executable, "-P", "-c", READ_STATUS, host.home, host.serial)
    assert said.split() == ["GOOD", "1"]
    rights = host.rights(host.web)
    published = [
        name for name in rights if name.endswith((".crl", ".der", ".toml", ".sqlite", ".mdb", "CURRENT"))
    ]
    assert len(published) > 8
    assert [name for name in published if not rights[name][0]] == []


def test_who_answers_writes_a_lock_and_his_counts(host: PublicHost) -> None:
    generation = (host.home / "status-store" / "CURRENT").read_text().strip()
    writable = {name for name, (_, may_write) in host.rights(host.web).items() if may_write}
    assert writable == {"run", "usage/spool", "locks", f"status-store/{generation}/lock.mdb"}


def test_who_answers_sees_no_secret(host: PublicHost) -> None:
    rights = host.rights(host.web)
    closed = {name for name, (may_read, _) in rights.items() if not may_read}
    assert {"secrets", "feed"} <= closed
    assert closed <= {"secrets", "feed", *(name for name in rights if name.startswith("locks/"))}


def test_the_host_has_no_secret_of_the_authority(host: PublicHost) -> None:
    """Neither a PIN nor a key but the one that this host made itself."""
    pins = [path.read_bytes().strip() for path in (host.authority.path / "secrets").glob("token*pin")]
    assert len(pins) == 2
    own_key = host.home / "secrets" / "feed-key.pem"
    for path in host.home.rglob("*"):
        if path.is_file():
            octets = path.read_bytes()
            assert not any(pin in octets for pin in pins), path
            assert path == own_key or b"PRIVATE KEY" not in octets, path
    assert own_key.stat().st_mode & 0o777 == 0o600


def test_who_answers_serves(host: PublicHost) -> None:
    addresses = ("--ocsp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--processes", "1")
    started = host.sandboxed(host.web, "sealmint-public.service", "serve", *addresses)
    with subprocess.Popen(
        started, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, umask=0o027
    ) as process:
        try:
            assert process.stdout is not None
            said: dict[str, Any] = json.loads(process.stdout.readline())
            assert wait_until(lambda: ask(said["http"], "/healthz")[0] == 200, process)
            states = ask(said["http"], "/readyz"), ask(said["ocsp"], "/MFEw")
        finally:
            process.send_signal(signal.SIGTERM)
    assert states == ((200, b"ready\n"), (200, b"\x30\x03\x0a\x01\x01"))
    assert process.returncode == 0


def test_who_fetches_reads_the_counts_of_who_answers(host: PublicHost) -> None:
    spool = host.home / "usage" / "spool"
    host.run(host.web, "sh", "-c", f"echo counted > {spool}/counts")
    assert host.run(host.feed, "cat", spool / "counts") == "counted\n"
    refused = subprocess.run(
        host.feed.command("rm", "-f", spool / "counts"), capture_output=True, check=False
    )
    assert refused.returncode != 0
    host.run(host.web, "rm", spool / "counts")


def test_the_counts_are_served_by_who_holds_the_certificate(host: PublicHost) -> None:
    started = host.sandboxed(host.feed, "sealmint-usage.service", "usage", "serve", "--listen", "127.0.0.1:0")
    with subprocess.Popen(
        started, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, umask=0o027
    ) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
    assert said["usage"].startswith("https://")
    assert process.returncode == 0
