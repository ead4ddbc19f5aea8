"""`sealmint feed serve` with a real token, asked over real TLS: by those who were admitted, and by others."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from engine.clock import SystemClock
from engine.feed.admission import ADMITTED, SERVER_CERTIFICATE
from engine.feed.listings import Head, ListedCrl, listing_from
from engine.feed.piece import PieceKind, Statement
from tests.cli.prepared_home import ROOT, SAFETY_NET, PreparedHome, command, copy_of, environment, kill
from tests.feed_source.source_home import checked, question
from tests.issuance.signature_account import account_of
from tests.processes import open_files

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Reader:
    """A client certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)


def make_reader(name: str, issuer: Reader | None = None) -> Reader:
    """A certificate that signs itself, or that another issued; either may issue others."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = SystemClock().now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(issuer.key if issuer else key, SHA256())
    )
    return Reader(certificate, key)


class Served:
    """A feed that is being served."""

    def __init__(self, home: PreparedHome, process: subprocess.Popen[bytes], url: str) -> None:
        self.home = home
        self.process = process
        self.url = url
        self.signer = (home.path / "certificates" / "operations.der").read_bytes()

    @contextmanager
    def client(self, reader: Reader | None) -> Iterator[httpx.Client]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # the very certificate is pinned
        context.load_verify_locations(self.home.path / "feed" / SERVER_CERTIFICATE)
        if reader is not None:
            file = self.home.directory / "reader.pem"
            key = reader.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            file.write_bytes(reader.pem + key)
            context.load_cert_chain(file)
        with httpx.Client(base_url=self.url, verify=context, timeout=SAFETY_NET, trust_env=False) as client:
            yield client

    def ask(self, client: httpx.Client, kind: PieceKind, **parts: Any) -> tuple[Statement, bytes]:
        asked = question(kind, **parts)
        response = client.get(
            f"/feed/v1/{kind.value}", params=asked.model_dump(mode="json", exclude={"kind"})
        )
        assert response.status_code == 200, response.text
        return checked(response.content, asked, self.signer)

    def ask_until_answered(self, reader: Reader, kind: PieceKind) -> tuple[Statement, bytes]:
        """Ask again as long as it is 503, or a process is being replaced."""
        while True:
            with self.client(reader) as client:
                try:
                    response = client.get("/feed/v1/head", params={"challenge": "0" * 32})
                except httpx.TransportError:
                    continue
                if response.status_code == 503:
                    assert response.headers["Retry-After"]
                    continue
                return self.ask(client, kind)

    def admit(self, name: str, reader: Reader) -> None:
        directory = self.home.path / "feed" / ADMITTED
        directory.mkdir(exist_ok=True)
        (directory / f"{name}.pem").write_bytes(reader.pem)

    def dismiss(self, name: str) -> None:
        (self.home.path / "feed" / ADMITTED / f"{name}.pem").unlink()

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = (self.home.directory / "said").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def pids(self, name: str) -> list[int]:
        """All processes that were started under a name."""
        return [line["pid"] for line in self.log if line["event"] == "started" and line.get("of") == name]

    def wait_for_front(self, number: int) -> None:
        """Wait until the so-manieth front was started."""
        while len(self.pids("feed-front")) < number:
            time.sleep(0.01)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SAFETY_NET)


@pytest.fixture
def reader() -> Reader:
    return make_reader("reader")


@pytest.fixture
def served(published: PreparedHome, tmp_path: Path, reader: Reader) -> Iterator[Served]:
    """A copy of the home, whose feed is served; one reader is admitted."""
    home = copy_of(published, tmp_path / "copy")
    Served(home, None, "").admit("reader", reader)  # type: ignore[arg-type]  # it does not run yet
    arguments = command("feed", "serve", "--home", home.path, "--listen", "127.0.0.1:0", "--json")
    with (
        (home.directory / "said").open("wb") as said,
        subprocess.Popen(
            arguments, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=said
        ) as process,
    ):
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            assert told["pid"] == process.pid
            yield Served(home, process, told["feed"])
        finally:
            process.kill()


@pytest.mark.cps("2.6.3")
@pytest.mark.cps("6.7")
def test_every_piece_comes_signed_and_every_signature_is_accounted_for(
    served: Served, reader: Reader
) -> None:
    with served.client(reader) as client:
        head = Head.model_validate_json(served.ask(client, PieceKind.HEAD)[1])
        for kind in PieceKind:
            if kind not in (PieceKind.CRL, PieceKind.PUBLICATION):
                statement, _ = served.ask(client, kind)
                assert statement.sequence == head.sequence
        listed = listing_from(served.ask(client, PieceKind.CRLS)[1], ListedCrl)
        for one in listed:
            assert len(served.ask(client, PieceKind.CRL, digest=one.sha256)[1]) == one.octets
        statuses = [
            client.get(f"/feed/v1/{path}challenge={'0' * 32}").status_code
            for path in ("status?after=999999&", f"crl?digest={'0' * 64}&", "head?wait=61&")
        ]
        assert statuses == [409, 404, 400]
        version = client.get("/").extensions["network_stream"].get_extra_info("ssl_object").version()
        assert version == "TLSv1.3"
    assert served.stop() == 0
    account = account_of(served.home.path)
    assert account.unaccounted == []
    assert account.others["feed"] == len(PieceKind) - 2 + 2 + len(listed)
    assert account.others["feed, not yet recorded"] == 0


def test_only_who_was_admitted_comes_in(served: Served, reader: Reader) -> None:
    for other in (None, make_reader("reader"), make_reader("below", issuer=reader)):
        with served.client(other) as client, pytest.raises(httpx.TransportError):
            client.get("/feed/v1/head", params={"challenge": "0" * 32})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        httpx.Client(base_url=served.url, verify=context, trust_env=False) as client,
        pytest.raises(httpx.ConnectError),
    ):
        client.get("/")
    with served.client(reader) as client:
        served.ask(client, PieceKind.HEAD)


def test_who_is_dismissed_loses_his_connection_and_who_is_admitted_comes_in(
    served: Served, reader: Reader
) -> None:
    second = make_reader("second")
    served.admit("second", second)
    served.wait_for_front(2)
    served.ask_until_answered(second, PieceKind.HEAD)
    with served.client(reader) as client:
        _, known = served.ask(client, PieceKind.HEAD)
        served.dismiss("reader")
        served.wait_for_front(3)
        served.ask_until_answered(second, PieceKind.HEAD)
        with pytest.raises(httpx.TransportError):
            served.ask(client, PieceKind.HEAD)
    assert known


@pytest.mark.cps("4.5.1")
def test_a_publisher_that_is_killed_is_replaced(served: Served, reader: Reader) -> None:
    served.ask_until_answered(reader, PieceKind.STATUS_SNAPSHOT)
    (first,) = served.pids("feed-publisher")
    kill(first)
    served.ask_until_answered(reader, PieceKind.STATUS_SNAPSHOT)
    assert len(served.pids("feed-publisher")) == 2
    assert len(served.pids("feed-front")) == 1
    assert served.stop() == 0
    account = account_of(served.home.path)
    assert account.unaccounted == []
    assert account.others["feed, not yet recorded"] == 0


@pytest.mark.cps("2.6.3")
def test_the_front_holds_no_secret_of_the_ca(served: Served, reader: Reader) -> None:
    served.ask_until_answered(reader, PieceKind.STATUS_SNAPSHOT)
    process = Path("/proc") / str(served.pids("feed-front")[0])
    try:
        files = set(open_files(served.pids("feed-front")[0]).values())
        told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        mapped = (process / "maps").read_text()
    except PermissionError:
        pytest.skip("who is not root may not look into a process that forbids cores")
    ours = str(served.home.path)
    assert [file for file in files if file.startswith(ours)] == []
    pin = (served.home.path / "secrets" / "token-pin").read_bytes().strip()
    assert pin
    assert pin not in told
    assert b"token" not in told
    assert not any(name in mapped for name in ("softhsm", "hsm_shim", ours))
