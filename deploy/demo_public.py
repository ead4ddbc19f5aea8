"""The third part of the demonstration: a public host that holds no key of the CA's.

It is admitted to the feed, copies what the CA publishes, and answers from its copy: OCSP, CRLs, the repository's pages
and search. OpenSSL is asked again, this time of the public host, before and after a revocation on the CA host.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from deploy.demo_status import PATIENCE_SECONDS, Demonstrated, Served, fetch_crl, ocsp, run, until, verify
from deploy.shown_commands import SEALMINT, ask, heading, name, sealmint, show

ANY_PORT = "127.0.0.1:0"
PRACTICE_STATEMENT = """開發用憑證實務作業基準（示範）

本文件供示範之用，不具任何效力。示範憑證機構由 sealmint init 建立，其金鑰存放於開發用 SoftHSM。
This is a demonstration. Its certification authority was made by sealmint init; its keys lie in a SoftHSM.
"""


def publish(home: Path) -> None:
    """Publish a practice statement and a piece of news, once."""
    heading("Published by hand: a practice statement and a piece of news (CPS 2.6.1), audited")
    if ask("publish", "list", "--home", str(home))["publications"]:
        print("  published by an earlier demonstration")
        return
    text = home / "practice-statement.txt"
    text.write_text(PRACTICE_STATEMENT, encoding="utf-8")
    titles = ("--title-zh", "開發用憑證實務作業基準", "--title-en", "Practice statement for development")
    document = ("--kind", "cps", "--version", "1.0", *titles, "--file", name(text))
    sealmint("publish", "document", "--home", name(home), *document)
    news = ("--title-zh", "儲存庫開始服務", "--title-en", "The repository is open")
    words = (
        "--text-zh",
        "憑證查詢及狀態查詢已可使用。",
        "--text-en",
        "Certificates and their status can be looked up.",
    )
    sealmint("publish", "news", "--home", name(home), *news, *words)


@contextmanager
def public_host(
    home: Path, public_home: Path, ocsp_at: str = ANY_PORT, http_at: str = ANY_PORT
) -> Iterator[Served]:
    """Serve a public home, kept up by the feed of the CA's home, while the block runs."""
    heading("A public host without keys: it asks to be admitted, and is told whom to believe")
    if not (public_home / "sealmint.toml").exists():
        request, admission = home / "public-host.pem", home / "public-host.json"
        sealmint("feed", "request", "--home", name(public_home), "--name", "demo", "--out", name(request))
        sealmint("feed", "admit", "--home", name(home), "--request", name(request), "--out", name(admission))
        sealmint("feed", "join", "--home", name(public_home), "--admission", name(admission))
    heading("The feed: signed on the CA host, verified on the public host")
    with ExitStack() as running:
        log = running.enter_context((public_home / "demo.log").open("ab"))
        feed = running.enter_context(_kept(log, "feed", "serve", "--home", name(home), "--listen", ANY_PORT))
        source = str(feed["feed"])
        sealmint("feed", "pull", "--home", name(public_home), "--from", source)
        running.enter_context(
            _kept(log, "feed", "pull", "--home", name(public_home), "--from", source, "--follow")
        )
        heading("The public host answers from its copy")
        arguments = ("serve", "--home", name(public_home), "--ocsp", ocsp_at, "--http", http_at)
        told = running.enter_context(_kept(log, *arguments))
        print(f"  OCSP {told['ocsp']}\n  repository {told['http']}", flush=True)
        yield Served(told["ocsp"], told["http"].rstrip("/"), told["process"])


@contextmanager
def _kept(log: Any, *arguments: str) -> Iterator[dict[str, Any]]:
    """Show a command that serves and keep it running; yield what it says when it is ready."""
    show("sealmint", *arguments)
    process = subprocess.Popen([*SEALMINT, *arguments, "--json"], stdout=subprocess.PIPE, stderr=log)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            sys.exit(f"sealmint {' '.join(arguments[:2])} did not start: see {log.name}")
        yield {**json.loads(line), "process": process}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_SECONDS)


def demonstrate(home: Path, served: Served, shown: list[Demonstrated]) -> None:
    """Ask the public host, revoke on the CA host, ask again; then search the repository."""
    _, revoked, untouched = shown
    heading("OpenSSL asks the public host")
    ocsp(home, served, untouched, "good")
    ocsp(home, served, revoked, "revoked")
    heading("A revocation on the CA host arrives")
    sealmint("cert", "revoke", untouched.serial, "--home", name(home), "--ground", "key-compromise")
    ocsp(home, served, untouched, "revoked")
    sealmint("crl", "publish", "--home", name(home))
    verify(home, _crl_with(home, served, untouched), untouched, "certificate revoked")
    heading("The repository: accepted certificates are found, others are not; the status of both is told")
    _search(home, served, untouched)


def _crl_with(home: Path, served: Served, one: Demonstrated) -> Path:
    """Fetch the CRL of the public host until it lists a certificate."""

    def listed() -> bool:
        crl = fetch_crl(home, served, one)
        return one.serial in run(
            "openssl", "crl", "-in", name(crl), "-inform", "DER", "-noout", "-text", quiet=True
        )

    until(listed, lambda: f"the public host's CRL does not list {one.serial}")
    return home / "demo.crl"


def _search(home: Path, served: Served, accepted: Demonstrated) -> None:
    found = _get(served, f"/api/v1/certificates/{accepted.serial}")
    print(f"  {found['name']}: {found['serial']}, {found['status']['state']}")
    unaccepted = _unaccepted(home)
    try:
        _get(served, f"/api/v1/certificates/{unaccepted}")
        sys.exit(f"{unaccepted} is published, though nobody has accepted it")
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise
    print(
        f"  {unaccepted}: not published; its status: {_get(served, f'/api/v1/status/{unaccepted}')['state']}"
    )


def _unaccepted(home: Path) -> str:
    for path in sorted(home.glob("demo-certificates-*/*.der"), reverse=True):
        document = ask("cert", "show", path.stem, "--home", str(home))["certificates"][0]
        if not document.get("accepted"):
            return path.stem
    sys.exit("every certificate has been accepted; start with another home")


def _get(served: Served, path: str) -> dict[str, Any]:
    show("curl", served.http + path)
    with urllib.request.urlopen(served.http + path, timeout=PATIENCE_SECONDS) as response:
        document: dict[str, Any] = json.load(response)
        return document
