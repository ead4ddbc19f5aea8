"""A run of 640 certificates and a responder host share a token that is restarted, and then away, in the middle of both.

Nobody does anything about it. What must hold: every certificate once, every signature accounted for, answers that were
signed ahead at all times, live ones again afterwards, and the listeners the same processes from first to last.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, Hash
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.cli.prepared_home import (
    CERTIFICATES,
    COMPANIES,
    SAFETY_NET,
    PreparedHome,
    plan,
    sample_rows,
    wait_until,
)
from tests.issuance.signature_account import assert_accounted_for
from tests.responders.test_serve_command import modules_of, serving

MORE_COMPANIES = 320
MORE = 2 * MORE_COMPANIES
AWAY_SECONDS = 3.0
LISTENER = "responders.listener_process"


class RelyingParty:
    """Asks a host for certificates of run 1, and judges what it says.

    Args:
        home: whose certificates.
        url: where OCSP is answered.
    """

    def __init__(self, home: PreparedHome, url: str) -> None:
        self._netloc = urlsplit(url).netloc
        issuer = x509.load_der_x509_certificate((home.path / "certificates" / "ca.der").read_bytes())
        # What a CertID calls an issuer (RFC 6960 section 4.1.1), its key by RFC 5280 section 4.2.1.2 (1).
        name_hash = Hash(SHA1())
        name_hash.update(issuer.subject.public_bytes())
        key_hash = x509.SubjectKeyIdentifier.from_public_key(issuer.public_key()).digest
        self._names = name_hash.finalize(), key_hash
        rows = home.query("SELECT serial FROM reservation ORDER BY serial LIMIT 4")
        self._serials = [int.from_bytes(serial, "big") for (serial,) in rows]
        self.ahead, self.live = Counter[str](), Counter[str]()

    def ask(self, *, nonce: bool) -> str:
        """Ask for one certificate; return `ahead` or `live` for a good answer, else the OCSPResponseStatus."""
        serial = self._serials[self.ahead.total() % len(self._serials)]
        builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*self._names, serial, SHA1())
        octets = os.urandom(32)
        if nonce:
            builder = builder.add_extension(x509.OCSPNonce(octets), critical=False)
        connection = http.client.HTTPConnection(self._netloc)
        try:
            headers = {"Content-Type": "application/ocsp-request"}
            connection.request("POST", "/", builder.build().public_bytes(Encoding.DER), headers)
            answer = connection.getresponse()
            response = ocsp.load_der_ocsp_response(answer.read())
        finally:
            connection.close()
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return response.response_status.name
        standings = {one.certificate_status for one in response.responses if one.serial_number == serial}
        assert standings == {ocsp.OCSPCertStatus.GOOD}
        if not nonce:
            return "ahead" if "max-age=" in answer.getheader("Cache-Control", "") else "live"
        assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == octets
        return "live"

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask both ways again and again while the block runs."""
        stop = threading.Event()

        def again_and_again() -> None:
            while not stop.is_set():
                self.ahead[self.ask(nonce=False)] += 1
                self.live[self.ask(nonce=True)] += 1

        thread = threading.Thread(target=again_and_again)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@pytest.fixture
def busy_home(home: PreparedHome) -> PreparedHome:
    """Run 1 is issued, and run 2 of 640 certificates planned."""
    assert home.sealmint("run", "start", 1, "--workers", 1).json["issued"] == CERTIFICATES
    home.extract.write_text("".join(sample_rows(COMPANIES, COMPANIES + MORE_COMPANIES)))
    home.cards = home.directory / "more-cards"
    files = ("--register", home.extract, "--out", home.cards)
    home.sealmint("card-centre", "simulate", *files, "--synthetic")
    assert plan(home).json["items"] == MORE
    return home


def listeners(supervisor: int) -> set[Path]:
    return {process for process, module in modules_of(supervisor).items() if module == LISTENER}


def issued(home: PreparedHome) -> int:
    return home.number("SELECT count(*) FROM signature") - CERTIFICATES


def strike(
    home: PreparedHome, party: RelyingParty, fault: Callable[[], None], host: subprocess.Popen[bytes]
) -> None:
    """Do something to the token, and wait until processes have logged in anew and live answers are back."""
    ahead, log_ins = party.ahead.total(), len(home.hsm.calls("C_Login"))
    fault()
    assert wait_until(lambda: len(home.hsm.calls("C_Login")) > log_ins, host)
    live = party.live["live"]
    assert wait_until(lambda: party.live["live"] > live + 1, host)
    assert party.ahead.total() > ahead


def test_a_restart_and_an_absence_cost_nothing(busy_home: PreparedHome) -> None:
    home = busy_home
    home.hsm.latency("C_Sign", 5_000)
    with serving(home, "--processes", "1") as (process, said):
        party = RelyingParty(home, said["ocsp"])
        assert wait_until(lambda: party.ask(nonce=False) == "ahead", process)
        assert wait_until(lambda: party.ask(nonce=True) == "live", process)
        party.ahead.clear()
        answering = listeners(process.pid)
        run = home.start("run", "start", 2, "--workers", 2, "--sessions", 2)
        with party.asking():
            assert wait_until(lambda: issued(home) > 200, run)
            strike(home, party, home.hsm.restart, process)
            assert wait_until(lambda: issued(home) > 350, run)
            strike(home, party, lambda: home.hsm.away(AWAY_SECONDS), process)
            assert run.wait(SAFETY_NET) == 0
        assert listeners(process.pid) == answering
        assert set(party.ahead) == {"ahead"}, "answers signed ahead never stop"
        assert set(party.live) <= {"live", "TRY_LATER"}
    assert home.state(2) == "completed"
    status = home.look("run", "status", 2).json
    assert (status["issued"], status["failed"], status["pending"]) == (MORE, 0, 0)
    account = assert_accounted_for(home.path, issued=CERTIFICATES + MORE)
    assert account.others["key test"] > 0
    assert home.query("SELECT count(*) FROM audit_record WHERE event = 'run.paused'") == [(0,)]
