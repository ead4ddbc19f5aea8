"""Bringing a home to rest after a round, and judging what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from engine.checker.check import Asked, check_home
from tests.chaos.templates import MORE_COMPANIES
from tests.cli.prepared_home import CERTIFICATES, COMPANIES, PreparedHome, wait_until
from tests.issuance.signature_account import account_of, assert_accounted_for
from tests.responders.test_serve_command import ask, serving

_ATTEMPTS = 5
"""Starts until a run must be done once nothing kills or fails any more. One is enough; failed items take another."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a round left.

    Attributes:
        lost: certificates that are missing.
        doubled: reservations, or signatures stored, beyond one for each item.
        unaccounted: signatures of the token that nothing announced.
        signed_again: TBSs that were signed once more; harmless, for the certificate is the same.
    """

    lost: int
    doubled: int
    unaccounted: int
    signed_again: int

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.unaccounted)


def settle(home: PreparedHome, run: int) -> None:
    """Work a run off without faults; retry what failed for good under them."""
    for _ in range(_ATTEMPTS):
        status = home.look("run", "status", run).json
        if status["state"] != "completed":
            process = home.start("run", "start", run)
        elif status["failed"]:
            process = home.start("run", "retry", run)
        else:
            return
        process.wait()
    raise AssertionError(f"run {run} does not come to its end: {home.look('run', 'status', run).out}")


def settle_status(home: PreparedHome) -> None:
    """Publish every CRL and sign every answer, and see that they are there."""
    published = home.sealmint("crl", "publish").json
    assert published["published"], published
    assert not published["failed"], published
    answered = "SELECT count(*) FROM ocsp_answer WHERE card_id NOT IN (%s)"
    owed = "SELECT card_id FROM card_status_revision WHERE answered < revision"
    assert home.number(answered % owed) == COMPANIES


@contextmanager
def served(home: PreparedHome) -> Iterator[Asked]:
    """Start processes that answer, without a key; yield where the checker asks them."""
    with serving(home, "--processes", "1", "--without-signers") as (process, said):
        assert wait_until(lambda: ask(said["http"], "/readyz")[0] == 200, process)
        yield Asked(said["ocsp"], said["http"])


def judge(home: PreparedHome, *, is_served: bool = False) -> Verdict:
    """Count; then hold every certificate, every signature and the audit chain to account.

    Args:
        home: at rest.
        is_served: whether what it serves is held against the record too: an answer for every certificate, every CRL.

    Raises:
        AssertionError: something other than the three counts is wrong.
    """
    runs = home.number("SELECT count(*) FROM run WHERE state = 'completed'")
    expected = CERTIFICATES + (runs - 1) * 2 * MORE_COMPANIES
    stored = home.number("SELECT count(*) FROM signature")
    reserved = home.number("SELECT count(*) FROM reservation")
    account = account_of(home.path)
    verdict = Verdict(
        lost=max(0, expected - stored),
        doubled=max(0, stored - expected) + max(0, reserved - expected),
        unaccounted=len(account.unaccounted),
        signed_again=account.signed_again,
    )
    if verdict.is_good:
        assert_accounted_for(home.path, issued=expected)
        assert home.look("audit", "verify").json["whole"]
        log = home.path / "hsm" / "log"
        with served(home) if is_served else nullcontext(Asked()) as asked:
            report = check_home(home.path, signature_log=log, asked=asked)
        assert report.ok, report.findings
    return verdict
