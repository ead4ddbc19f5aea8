"""A home with synthetic certificates, its answers signed ahead, served on loopback by the product's own processes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.sealmint_command import SEALMINT, sealmint
from bench.synthetic_certificates import add_certificates
from engine.cli.opening import open_context
from engine.x509.ocsp_response import IssuerNames
from tests.hsm_shim import HsmShim, build

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
SHIM = Path(__file__).parent.parent / "build" / "libhsm_shim.so"


@dataclass(frozen=True, slots=True)
class ServedHome:
    """A home that is being served.

    Attributes:
        path: the home.
        address: host and port of the OCSP listeners.
        supervisor: the process number of `sealmint serve`.
        issuer: as CertIDs name it.
        serials: of its certificates.
        hsm: steers its token.
    """

    path: Path
    address: tuple[str, int]
    supervisor: int
    issuer: IssuerNames
    serials: list[bytes]
    hsm: HsmShim


@dataclass(frozen=True, slots=True)
class PreparedHome:
    """A home behind the pretend HSM, its answers signed ahead; nobody serves it yet.

    Attributes:
        path: the home.
        issuer: as CertIDs name it.
        serials: of its certificates.
        hsm: steers its token.
    """

    path: Path
    issuer: IssuerNames
    serials: list[bytes]
    hsm: HsmShim


@contextmanager
def served_home(
    directory: Path, certificates: int, *, settings: str = "", processes: int = 2
) -> Iterator[ServedHome]:
    """Make a home behind the pretend HSM (without latency at first), sign its answers, and serve it.

    Args:
        directory: where; must exist.
        certificates: how many, two to a card.
        settings: TOML sections for the home's configuration.
        processes: listener processes.
    """
    with served(prepare_home(directory, certificates, settings=settings), processes=processes) as home:
        yield home


def prepare_home(directory: Path, certificates: int, *, settings: str = "") -> PreparedHome:
    """Make a home behind the pretend HSM, which has no latency yet, and sign its answers.

    Args:
        directory: where; must exist.
        certificates: how many, two to a card.
        settings: TOML sections for the home's configuration.
    """
    home = directory / "home"
    build(SHIM)
    sealmint("init", "--home", home)
    hsm = HsmShim(home / "hsm", _softhsm_of(home))
    _use_shim(home, hsm, settings)
    with open_context(home) as context:
        serials = add_certificates(context, certificates // 2)
        issuer = IssuerNames.from_certificate(context.authority.ca.certificate)
    sealmint("ocsp", "presign", "--home", home)
    return PreparedHome(home, issuer, serials, hsm)


@contextmanager
def served(home: PreparedHome, *, processes: int = 2) -> Iterator[ServedHome]:
    """Serve a home while the block runs, on ports of the kernel's choice.

    Args:
        home: the home.
        processes: listener processes.
    """
    any_port = ("--ocsp", "127.0.0.1:0", "--http", "127.0.0.1:0")
    command = [
        *SEALMINT,
        "serve",
        "--home",
        str(home.path),
        *any_port,
        "--processes",
        str(processes),
        "--json",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        host, _, port = told["ocsp"].removeprefix("http://").rstrip("/").partition(":")
        address = (host, int(port))
        yield ServedHome(home.path, address, server.pid, home.issuer, home.serials, home.hsm)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)


def _softhsm_of(home: Path) -> Path:
    for line in (home / "sealmint.toml").read_text().splitlines():
        if line.startswith("module = "):
            return Path(line.split('"')[1])
    return SOFTHSM


def _use_shim(home: Path, hsm: HsmShim, settings: str) -> None:
    """Put the pretend HSM between the home and its token."""
    path = home / "sealmint.toml"
    text = path.read_text()
    module = next(line for line in text.splitlines() if line.startswith("module = "))
    text = text.replace(module, f'module = "{SHIM.resolve()}"')
    for name, value in hsm.environment.items():
        text += f'{name} = "{value}"\n'
    path.write_text(f"{text}\n{settings}")


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of the values lies; of an empty list, not a number."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")
