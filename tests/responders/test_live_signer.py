"""The live signer as a process, with a real token and a real status store; killed, held up, refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.x509 import ocsp

from engine.config import OcspSection, load_configuration
from engine.x509.ocsp_response import IssuerNames, ResponseStatus, error_response
from responders.live_signing.client import TRY_LATER, LiveSigner, open_live_signer
from tests.cli.prepared_home import ROOT, SAFETY_NET, PreparedHome, copy_of, environment, kill, wait_until
from tests.issuance.signature_account import account_of
from tests.judges.program import tell
from tests.responders.ocsp_requests import certificate_id, nonce, request, single
from tests.responders.test_live_signing import free_port
from tests.responders.tls_files import make_ends

UNAUTHORIZED = error_response(ResponseStatus.UNAUTHORIZED)
CKR_DEVICE_ERROR = 0x30

SETTINGS = """
[ocsp]
stale_seconds = 1000000  # no follower runs here
live_timeout = 240
live_sessions = 2
"""


@pytest.fixture(scope="module")
def issued(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """A home whose run is done and whose answers are signed; tests copy it."""
    made = copy_of(prepared, tmp_path_factory.mktemp("issued") / "copy")
    with (made.path / "sealmint.toml").open("a") as file:
        file.write(SETTINGS)
    made.sealmint("run", "start", 1, "--workers", 1)
    made.sealmint("ocsp", "presign", "--signers", 1)
    return made


@pytest.fixture
def live_home(issued: PreparedHome, tmp_path: Path) -> PreparedHome:
    return copy_of(issued, tmp_path / "copy")


@contextmanager
def live_signer(home: PreparedHome) -> Iterator[subprocess.Popen[bytes]]:
    """Run the process; what it says goes to a file beside the home."""
    command = [sys.executable, "-P", "-m", "responders.live_signer", "--home", str(home.path)]
    with (
        (home.directory / "said").open("ab") as said,
        subprocess.Popen(command, env=environment(), cwd=ROOT, stdin=subprocess.PIPE, stderr=said) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def said(home: PreparedHome) -> list[dict[str, object]]:
    """What the processes said, line by line."""
    return [json.loads(line) for line in (home.directory / "said").read_text().splitlines()]


def listening(home: PreparedHome, process: subprocess.Popen[bytes], times: int = 1) -> None:
    """Wait until a process listens, for the so-manieth time on this home."""
    assert wait_until(lambda: [line["event"] for line in said(home)].count("listening") == times, process), (
        said(home)
    )


def ended(process: subprocess.Popen[bytes]) -> int:
    return process.wait(SAFETY_NET)


def settings_of(home: PreparedHome) -> OcspSection:
    return load_configuration(home.path).ocsp


def issuer_of(home: PreparedHome) -> IssuerNames:
    return IssuerNames.from_certificate((home.path / "certificates" / "ca.der").read_bytes())


def serials_of(home: PreparedHome) -> list[bytes]:
    return [serial for (serial,) in home.query("SELECT serial FROM reservation ORDER BY item_id")]


def question(home: PreparedHome, *serials: bytes, value: bytes = b"n" * 32, hash_name: str = "sha1") -> bytes:
    asked = [single(certificate_id(issuer_of(home), serial, hash_name)) for serial in serials]
    return request(*asked, extensions=[nonce(value)])


async def ask(settings: OcspSection, *requests: bytes) -> list[bytes]:
    """Ask all at once over one connection; the answers in order."""
    answers: dict[int, bytes] = {}

    async def one(signer: LiveSigner, place: int, octets: bytes) -> None:
        answers[place] = await signer.ask(octets)

    async with open_live_signer(settings) as signer:
        assert signer is not None
        async with trio.open_nursery() as nursery:
            for place, octets in enumerate(requests):
                nursery.start_soon(one, signer, place, octets)
    return [answers[place] for place in range(len(requests))]


def assert_verified(home: PreparedHome, directory: Path, octets: bytes, response: bytes) -> None:
    """OpenSSL finds the signature, its chain and the nonce in order."""
    for name, content in (("request", octets), ("response", response)):
        (directory / name).write_bytes(content)
    told = tell(
        *("openssl", "ocsp", "-reqin", directory / "request", "-respin", directory / "response"),
        *("-CAfile", home.path / "certificates" / "chain.pem"),
    )
    assert "Response verify OK" in told.text, told.text
    assert "once" not in told.text, told.text


def nonce_in(response: bytes) -> bytes:
    extensions = ocsp.load_der_ocsp_response(response).extensions
    return extensions.get_extension_for_class(x509.OCSPNonce).value.nonce


@pytest.mark.judge("openssl")
@pytest.mark.judge("cryptography")
@pytest.mark.parametrize("transport", ["unix", "tls"])
def test_answers_are_signed_by_the_token(live_home: PreparedHome, tmp_path: Path, transport: str) -> None:
    settings = settings_of(live_home)
    if transport == "tls":
        signer_end, responder_end = make_ends(tmp_path / "tls")
        there = {"live_signer": f"tls://127.0.0.1:{free_port()}"}
        lines = (f'{key} = "{value}"\n' for key, value in (there | signer_end.settings).items())
        live_home.configure("[ocsp]\n", "[ocsp]\n" + "".join(lines))
        settings = settings.model_copy(update=there | responder_end.settings)
    serials = serials_of(live_home)
    unissued = b"\x41" * 16
    requests = [
        question(live_home, serials[0]),
        question(live_home, *serials[:5], hash_name="sha256"),
        question(live_home, serials[3], unissued, hash_name="sha512", value=b"1"),
        question(live_home, unissued, value=b"m" * 128),
        request(single(certificate_id())),
    ]
    with live_signer(live_home) as process:
        listening(live_home, process)
        answers = trio.run(ask, settings, *requests)
        process.terminate()
        assert ended(process) == 0
    for octets, response in zip(requests[:4], answers[:4], strict=True):
        assert_verified(live_home, tmp_path, octets, response)
    found = [
        [one.certificate_status.name for one in ocsp.load_der_ocsp_response(one).responses]
        for one in answers[:4]
    ]
    assert found == [["GOOD"], ["GOOD"] * 5, ["GOOD", "UNKNOWN"], ["UNKNOWN"]]
    assert answers[4] == UNAUTHORIZED
    account = account_of(live_home.path)
    assert account.unaccounted == []
    assert account.others["live OCSP"] == 4


def test_it_signs_with_the_ocsp_key_only(live_home: PreparedHome, tmp_path: Path) -> None:
    with live_signer(live_home) as process:
        listening(live_home, process)
        (response,) = trio.run(ask, settings_of(live_home), question(live_home, serials_of(live_home)[0]))
        pid = process.pid
        process.terminate()
        ended(process)
    signed = [one for one in live_home.hsm.signatures() if one.process == pid]
    assert len(signed) == 1
    responder = ocsp.load_der_ocsp_response(response).certificates[0]
    usage = responder.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.oid.ExtendedKeyUsageOID.OCSP_SIGNING]


@pytest.mark.cps("4.5.1")
def test_every_signature_is_accounted_for_when_it_is_killed(live_home: PreparedHome) -> None:
    settings = settings_of(live_home)
    serial = serials_of(live_home)[0]
    many = [question(live_home, serial, value=b"%d" % number) for number in range(60)]
    before = live_home.log_lines
    with live_signer(live_home) as process:
        listening(live_home, process)

        async def ask_and_kill() -> list[bytes]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.to_thread.run_sync, kill_after, 20)
                return await ask(settings, *many)

        def kill_after(signatures: int) -> None:
            wait_until(lambda: live_home.log_lines >= before + signatures, process)
            kill(process.pid)

        answers = trio.run(ask_and_kill)
        assert ended(process) == -signal.SIGKILL
    assert all(answer == TRY_LATER or nonce_in(answer) for answer in answers)
    account = account_of(live_home.path)
    assert account.unaccounted == []
    assert account.others["live OCSP"] == 0
    assert account.others["live OCSP, not yet recorded"] >= 20
    with live_signer(live_home) as process:
        listening(live_home, process, times=2)
        assert nonce_in(trio.run(ask, settings, many[0])[0]) == b"0"
        process.stdin.close()  # type: ignore[union-attr]  # it is a pipe
        assert ended(process) == 0
    account = account_of(live_home.path)
    assert account.unaccounted == []
    assert account.others["live OCSP, not yet recorded"] == 0


def test_while_the_token_is_away_it_is_try_later(live_home: PreparedHome) -> None:
    settings = settings_of(live_home)
    octets = question(live_home, serials_of(live_home)[0])
    with live_signer(live_home) as process:
        listening(live_home, process)
        arms = [
            live_home.hsm.fail_next("C_Sign", CKR_DEVICE_ERROR, 1_000),
            live_home.hsm.fail_next("C_OpenSession", CKR_DEVICE_ERROR, 1_000),
        ]
        assert trio.run(ask, settings, octets) == [TRY_LATER]
        for arm in arms:
            live_home.hsm.disarm(arm)
        live_home.hsm.restart()  # all sessions and the log-in are gone: it logs in anew

        async def until_signed() -> None:
            while await ask(settings, octets) == [TRY_LATER]:
                await trio.lowlevel.checkpoint()

        trio.run(until_signed)
        assert process.poll() is None


@pytest.mark.parametrize("function", ["C_GetTokenInfo", "C_OpenSession"])
def test_a_token_that_is_away_at_the_start_is_tried_again_by_another_process(
    live_home: PreparedHome, function: str
) -> None:
    arm = live_home.hsm.fail_next(function, CKR_DEVICE_ERROR, 1_000)
    with live_signer(live_home) as process:
        assert ended(process) == 75
    live_home.hsm.disarm(arm)
    with live_signer(live_home) as process:
        listening(live_home, process)


def test_with_stuck_sessions_it_ends_to_be_replaced(live_home: PreparedHome) -> None:
    live_home.configure("call_timeout = 240\n", "call_timeout = 0.2\nmax_stuck = 1\n")
    live_home.hsm.hang_next("C_Sign")
    with live_signer(live_home) as process:
        listening(live_home, process)
        assert trio.run(ask, settings_of(live_home), question(live_home, serials_of(live_home)[0])) == [
            TRY_LATER
        ]
        assert ended(process) == 75
    assert account_of(live_home.path).unaccounted == []


def test_another_responder_in_charge_ends_it_to_be_replaced(live_home: PreparedHome, tmp_path: Path) -> None:
    settings = settings_of(live_home)
    octets = question(live_home, serials_of(live_home)[0])
    with live_signer(live_home) as process:
        listening(live_home, process)
        (before,) = trio.run(ask, settings, octets)
        live_home.sealmint("ocsp", "renew-responder", "--now")
        assert ended(process) == 75
    with live_signer(live_home) as process:
        listening(live_home, process, times=2)
        (after,) = trio.run(ask, settings, octets)
    assert_verified(live_home, tmp_path, octets, after)
    first, second = (ocsp.load_der_ocsp_response(one).certificates[0] for one in (before, after))
    assert first.public_key() != second.public_key()


def test_there_is_one_to_a_home(live_home: PreparedHome) -> None:
    with live_signer(live_home) as first:
        listening(live_home, first)
        with live_signer(live_home) as second:
            assert ended(second) == 5
        assert first.poll() is None


def test_without_a_status_store_it_waits_for_one(live_home: PreparedHome) -> None:
    store = live_home.path / "status-store"
    store.rename(live_home.path / "away")
    with live_signer(live_home) as process:
        assert wait_until(
            lambda: any(line["event"] == "waiting-for-status-store" for line in said(live_home)), process
        )
        (live_home.path / "away").rename(store)
        listening(live_home, process)


def test_it_leaves_no_core_file_and_shows_no_pin(live_home: PreparedHome) -> None:
    with live_signer(live_home) as process:
        listening(live_home, process)
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        (line,) = (line for line in limits.splitlines() if line.startswith("Max core file size"))
        assert line.split()[4:6] == ["0", "0"]
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert (live_home.path / "secrets" / "token-pin").read_bytes().strip() not in command
