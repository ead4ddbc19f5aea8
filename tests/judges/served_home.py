"""A home with a few companies' certificates, some of them suspended, resumed, revoked, as the responders serve it.

Its profiles are the shipped ones but for the host in their URLs, which lead to loopback; paths and everything else in
the certificates are as always.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509

from engine.x509.profiles import SHIPPED
from tests.cli.prepared_home import (
    ROOT,
    SAFETY_NET,
    Answer,
    command,
    environment,
    run_command,
    run_here,
    sample_rows,
)
from tests.judges.chain import Chain, write_chain

STATES = ("accepted", "suspended", "resumed", "revoked", "untouched")
"""What becomes of the signature certificate of each company; the encryption certificates stay as they are."""

_POLICY = """
name = "judged"
legal_basis = "MOEACA CPS 4.2.1.2"
crl_partition_size = 4

[eligibility]
kinds = ["company"]
states = ["核准設立"]

[[cards]]
rank = "primary"
"""
_HOST = "http://moeaca.nat.gov.tw/"


@dataclass
class ServedHome:
    """The home, and its certificates.

    Args:
        path: the home.
        ocsp: host and port that the certificates name for OCSP.
        http: host and port that they name for CRLs and CA certificates.
        cards: by state: the signature certificate, which has it, and the encryption certificate of the same card.
    """

    path: Path
    ocsp: str
    http: str
    cards: dict[str, list[Chain]] = field(default_factory=dict)

    def sealmint(self, *arguments: object, run: Callable[..., Answer] = run_command) -> Any:
        """Run a command on the home with --json to its end; what it answered."""
        answer = run(*arguments, "--home", self.path, "--json")
        assert answer.code == 0, (arguments, answer.out, answer.err)
        return answer.json

    def act(self, verb: str, state: str, ground: str) -> None:
        """Do an act on the signature certificate that is to have a state; in this process, which is quicker."""
        self.sealmint("cert", verb, self.serial(state), "--ground", ground, run=run_here)

    def certificate(self, state: str) -> Chain:
        return self.cards[state][0]

    def serial(self, state: str) -> str:
        return f"{self.certificate(state).certificate.serial_number:032x}"


def issue(directory: Path, home: ServedHome) -> None:
    """Make the home and issue to one company for each state.

    Args:
        directory: for what it is made from.
        home: not there yet.
    """
    assert run_command("init", "--home", home.path, "--json").code == 0
    profiles, register, policy, cards = (
        directory / name for name in ("profiles.toml", "extract.jsonl", "policy.toml", "cards")
    )
    shipped = SHIPPED.read_text("utf-8").replace(f'\nocsp = "{_HOST}', f'\nocsp = "http://{home.ocsp}/')
    profiles.write_text(shipped.replace(_HOST, f"http://{home.http}/"), "utf-8")
    with (home.path / "sealmint.toml").open("a") as file:
        file.write(f'\n[x509]\nprofiles = "{profiles}"\n\n[crl]\ndelta = true\n')
    register.write_text("".join(sample_rows(0, len(STATES))), "utf-8")
    policy.write_text(_POLICY, "utf-8")
    home.sealmint("card-centre", "simulate", "--register", register, "--out", cards, "--synthetic")
    planned = home.sealmint("run", "plan", "--register", register, "--card-keys", cards, "--policy", policy)
    home.sealmint("run", "start", planned["run"], "--workers", 1)
    home.sealmint("cert", "export", "--run", planned["run"], "--out", directory / "issued", run=run_here)
    home.cards = _cards(directory, home.path / "certificates")


def _cards(directory: Path, authorities: Path) -> dict[str, list[Chain]]:
    """The certificates as they were exported, by the companies' names in order."""
    issuer, root = (
        x509.load_der_x509_certificate((authorities / name).read_bytes()) for name in ("ca.der", "root.der")
    )
    issued = [
        x509.load_der_x509_certificate(path.read_bytes()) for path in (directory / "issued").glob("*.der")
    ]
    issued.sort(
        key=lambda certificate: (certificate.subject.public_bytes(), not _is_for_signatures(certificate))
    )
    pairs = zip(issued[::2], issued[1::2], strict=True)
    return {
        state: [
            write_chain(directory, f"{state}-{usage}", certificate, issuer, root)
            for usage, certificate in zip(("signature", "encryption"), pair, strict=True)
        ]
        for state, pair in zip(STATES, pairs, strict=True)
    }


def _is_for_signatures(certificate: x509.Certificate) -> bool:
    return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature


def change_statuses(home: ServedHome) -> None:
    """Bring every certificate into its state."""
    home.act("accept", "accepted", "content-confirmed")
    home.act("suspend", "suspended", "token-lost")
    home.act("suspend", "resumed", "own-judgement")
    home.act("resume", "resumed", "subscriber-request")
    home.act("revoke", "revoked", "key-compromise")


@dataclass(frozen=True)
class Running:
    """The responders, and where they listen."""

    process: subprocess.Popen[bytes]
    ocsp: str
    """The beginning of the fast listener's URLs; the next is the web application's."""
    http: str


@contextmanager
def responders(home: ServedHome) -> Iterator[Running]:
    """Run `sealmint serve` on ports of its choice until the block ends."""
    anywhere = "127.0.0.1:0"
    arguments = (
        "serve",
        "--home",
        home.path,
        "--ocsp",
        anywhere,
        "--http",
        anywhere,
        "--processes",
        1,
        "--json",
    )
    with subprocess.Popen(
        command(*arguments), env=environment(), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline() or b"{}")  # when all that answers is ready
            assert told, "it ended before it answered"
            yield Running(process, told["ocsp"], told["http"])
        finally:
            process.terminate()
            process.wait(SAFETY_NET)
