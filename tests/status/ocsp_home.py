"""A home behind the pretend HSM whose certificates are issued, and its processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509

from engine.clock import SystemClock
from engine.store.database import Store, open_store
from engine.store.schema import (
    CertificateState,
    to_microseconds,
)
from engine.store.standings import NewStanding, change_standings, standings_of_cards
from engine.store.status_changes import ChangeKind, append_changes
from tests.cli.prepared_home import COMPANIES, ROOT, SAFETY_NET, PreparedHome, environment, kill
from tests.issuance.signature_account import Account, account_of
from tests.judges.program import tell
from tests.status.ocsp_authority import REASONS
from tests.store.plans import complete_unit, lease, reserve_unit
from tests.store_fixture import store_url

UNITS = 15
_RUN = "module.run_service('service', module.serve, getattr(module, 'add_arguments', lambda parser: None))"


def issue(home: PreparedHome) -> None:
    """Issue all certificates of run 1: two to each of its cards, as far as status looks at them."""
    with opened(home) as store:
        for _ in range(UNITS):
            held = lease(store, 1)
            reserve_unit(store, held)
            complete_unit(store, held)
            with store.write() as connection:
                append_changes(connection, ChangeKind.ISSUED, [held.unit_id], SystemClock().now())


@contextmanager
def opened(home: PreparedHome) -> Iterator[Store]:
    """The home's record."""
    store = open_store(store_url(home.path / "store.sqlite"), must_exist=True)
    try:
        yield store
    finally:
        store.close()


class RunningService:
    """A service process, with what it says.

    Args:
        process: the process.
        log: the file to which its standard error goes.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> list[dict[str, Any]]:
        """Its log; what the module says between is left out."""
        lines = self._log.read_bytes().splitlines()
        return [json.loads(line) for line in lines if line.startswith(b"{") and line.endswith(b"}")]

    def has_said(self, event: str) -> bool:
        return any(line["event"] == event for line in self.said)

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Look now and then until something is so; False when the process ended before it was."""
        bound = time.monotonic() + SAFETY_NET
        while not condition():
            if self.process.poll() is not None:
                return condition()
            assert time.monotonic() < bound, f"waited in vain; it said {self.said}"
            time.sleep(0.01)
        return True

    def kill(self) -> None:
        """Send SIGKILL, and wait until it is gone."""
        kill(self.process.pid)
        self.process.wait()

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        self.process.terminate()
        return self.process.wait()


@dataclass
class OcspHome:
    """The home, and what is done with it."""

    home: PreparedHome

    @property
    def path(self) -> Path:
        return self.home.path

    @property
    def status_store(self) -> Path:
        return self.path / "status-store"

    # ---- processes ----

    @contextmanager
    def service(
        self, module: str, *arguments: object, settings: dict[str, float] | None = None
    ) -> Iterator[RunningService]:
        """Start `engine.status.MODULE`, held by a pipe; it is killed when the block ends.

        Args:
            module: one of the service processes.
            arguments: beside the home.
            settings: constants to change, by their modules below engine.status: what a test cannot wait for.
        """
        log = self.path / f"{module}.log"
        run = ["-m", f"engine.status.{module}"]
        if settings is not None:
            changes = []
            for name, value in settings.items():
                changes.append(f"import engine.status.{name.partition('.')[0]}")
                changes.append(f"engine.status.{name} = {value}")
            text = [f"import engine.status.{module} as module", *changes, _RUN]
            run = ["-c", "\n".join(text)]
        command = [sys.executable, "-P", *run, "--home", str(self.path)]
        with (
            log.open("wb") as said,
            subprocess.Popen(
                [*command, *map(str, arguments)],
                cwd=ROOT,
                env=environment(**self.home.told),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
            ) as process,
        ):
            try:
                yield RunningService(process, log)
            finally:
                process.kill()

    def pre_sign(self, *arguments: object) -> int:
        """Run the pre-signer until nothing is left; return its exit code."""
        with self.service("pre_signer", "--once", *arguments) as signer:
            return signer.process.wait()

    # ---- the record ----

    def act(self, card_id: int, place: int, state: CertificateState) -> None:
        """Change what a certificate is worth."""
        now = SystemClock().now()
        since = None if state is CertificateState.GOOD else to_microseconds(now)
        with opened(self.home) as store, store.write() as connection:
            (found,) = standings_of_cards(connection, [card_id])
            new = NewStanding(found.certificates[place], state, since, REASONS[state], None)
            change_standings(connection, [new], now)

    def serials(self, card_id: int) -> list[bytes]:
        with opened(self.home) as store, store.read() as connection:
            (found,) = standings_of_cards(connection, [card_id])
        return [one.serial for one in found.certificates]

    def answered(self) -> int:
        """How many cards have an answer that is none older than their status."""
        return self.home.number(
            "SELECT count(*) FROM ocsp_answer WHERE card_id NOT IN"
            " (SELECT card_id FROM card_status_revision WHERE answered < revision)"
        )

    def is_all_answered(self) -> bool:
        return self.answered() == COMPANIES

    def batches(self) -> list[tuple[bool, int, bool]]:
        """Of each batch: whether it was urgent, its answers, whether it was completed."""
        rows = self.home.query(
            "SELECT urgent, length(digests) / 32, completed_at FROM ocsp_batch ORDER BY id"
        )
        return [(bool(urgent), answers, completed_at is not None) for urgent, answers, completed_at in rows]

    def accounted(self) -> Account:
        """Account for every signature; there must be none without its reason."""
        account = account_of(self.path)
        assert not account.unaccounted
        return account

    # ---- judging ----

    def certificate(self, role: str) -> x509.Certificate:
        return x509.load_der_x509_certificate((self.path / "certificates" / f"{role}.der").read_bytes())

    def ask_openssl(self, response: bytes, serials: list[bytes], hash_name: str) -> str:
        """Let OpenSSL verify a response to a question about these serials; return what it says."""
        file = self.path / "response.der"
        file.write_bytes(response)
        certificates = self.path / "certificates"
        issuer = certificates / "ca.pem"
        tell("openssl", "x509", "-inform", "DER", "-in", certificates / "ca.der", "-out", issuer)
        named = [part for serial in serials for part in ("-serial", f"0x{serial.hex()}")]
        return tell(
            *("openssl", "ocsp", "-respin", file, f"-{hash_name}", "-issuer", issuer, *named, "-no_nonce"),
            *("-CAfile", certificates / "root.pem", "-verify_other", certificates / "chain.pem"),
        ).text
