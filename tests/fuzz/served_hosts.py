"""A CA's home and a public host's, with everything of theirs that speaks HTTP served by the real commands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.repository.published_certificate import PublishedCertificate
from engine.x509.ocsp_response import IssuerNames
from tests.cli.prepared_home import ROOT, PreparedHome, command, environment
from tests.feed_pull.two_homes import PublicHome, admitted
from tests.fuzz.known_things import Known, issued_certificates, known_things
from tests.fuzz.processes import ServedProcess, family_of
from tests.usage.spools import A, append, line

SPOOL = f"2026-06.{A}.jsonl"
"""A file of the public host's spool."""

METERING = '\n[metering]\nenabled = true\n\n[responders]\nproxies = ["127.0.0.1/32"]\n'
"""Behind a proxy, which names its clients."""


@dataclass
class TwoHosts:
    """The two homes, and what is known of the certificates.

    Attributes:
        authority: the CA's home: everything is issued, half of it accepted.
        public: the public host's.
        known: the certificates.
        token: of an account of a relying party.
        logs: what the commands say on standard error.
    """

    authority: PreparedHome
    public: PublicHome
    known: Known
    token: str
    logs: list[Path] = field(default_factory=list)

    @property
    def issuer(self) -> IssuerNames:
        return IssuerNames.from_certificate((self.public.path / "certificates" / "ca.der").read_bytes())

    @property
    def served_paths(self) -> list[str]:
        """Of CRLs, by where their files are."""
        directory = self.public.path / "crl"
        return sorted(f"/{path.relative_to(directory)}" for path in directory.rglob("*.crl"))

    @contextmanager
    def running(self, *arguments: object) -> Iterator[Running]:
        """Run a command until the block ends; begins when it says where it serves."""
        log = self.public.path.parent / f"command-{len(self.logs)}.log"
        self.logs.append(log)
        with (
            log.open("wb") as said,
            subprocess.Popen(
                command(*arguments, "--json"),
                env=environment(),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
            ) as process,
        ):
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                assert line, log.read_text()
                yield Running(json.loads(line), family_of(process.pid))
            finally:
                process.terminate()

    def meter(self) -> None:
        """Let the public host meter what is served from now on."""
        with (self.public.path / "sealmint.toml").open("a") as file:
            file.write(METERING)


@dataclass(frozen=True)
class Running:
    """A command that serves.

    Attributes:
        told: what it said when it was ready.
        processes: it and its children.
    """

    told: dict[str, Any]
    processes: list[ServedProcess]

    def address(self, name: str) -> tuple[str, int]:
        host, _, port = str(self.told[name]).rstrip("/").rpartition("//")[2].rpartition(":")
        return host, int(port)

    def named(self, name: str) -> list[ServedProcess]:
        """Those whose module's name begins so."""
        return [one for one in self.processes if one.name.startswith(name)]


def two_hosts(home: PreparedHome, directory: Path) -> TwoHosts:
    """Issue a home's certificates, let every other card's be accepted, and admit a public host.

    Args:
        home: with run 1 planned.
        directory: for the public host's home.
    """
    home.sealmint("run", "start", 1)
    certificates = issued_certificates(home)
    names = sorted({one.name for one in certificates})
    act_on(home, ("cert", "accept"), [one for one in certificates if one.name in names[::2]])
    act_on(home, ("cert", "suspend", "--ground", "token-lost"), certificates[::7])
    act_on(home, ("cert", "revoke", "--ground", "key-compromise"), certificates[3::11])
    home.sealmint("ocsp", "presign")
    home.sealmint("crl", "publish")
    document = directory / "policy.txt"
    document.write_text("隱私權政策\n" * 100, encoding="utf-8")
    title = ("--title-zh", "隱私權政策", "--title-en", "Privacy policy")
    home.look(
        "publish", "document", "--kind", "privacy-policy", "--file", document, "--version", "1.0", *title
    )
    token = home.look("usage", "account", "open", "bank", "--monthly-quota", "1000000").json["token"]
    public = admitted(home, directory)
    append(public.path / "usage" / "spool", SPOOL, line("2026-06-01 10:00", "bank", 3))
    return TwoHosts(home, public, known_things(home), token)


def act_on(home: PreparedHome, act: tuple[str, ...], certificates: Sequence[PublishedCertificate]) -> None:
    """Accept, suspend or revoke certificates."""
    file = home.directory / "act.csv"
    file.write_text("\n".join(["serial", *(one.serial.hex() for one in certificates), ""]))
    home.look(*act, "--file", file)
