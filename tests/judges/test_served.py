"""Every judge agrees about what the running responders serve: every state, by OCSP and by CRL, through both fronts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.x509.ocsp import OCSPCertStatus

from tests.cli.prepared_home import wait_until
from tests.judges import gnutls, java, openssl_crl, openssl_ocsp, pkilint_judge, pyhanko
from tests.judges.nss import NssDatabase
from tests.judges.relay import relaying
from tests.judges.served import FRONTS, HASHES, Served
from tests.judges.served_home import STATES, ServedHome, change_statuses, issue, responders
from tests.judges.verdict import Verdict, Word

GOOD = Verdict(Word.GOOD)
TRUTH = {
    "accepted": GOOD,
    "suspended": Verdict(Word.REVOKED, "certificateHold"),
    "resumed": GOOD,
    "revoked": Verdict(Word.REVOKED, "keyCompromise"),
    "untouched": GOOD,
}
"""Of the signature certificates."""

every_state = pytest.mark.parametrize("state", STATES)
every_front = pytest.mark.parametrize("front", FRONTS)
with_and_without_nonce = pytest.mark.parametrize("nonce", [False, True], ids=["signed ahead", "live"])


def word_of(state: str) -> Verdict:
    """The truth for judges who do not tell reasons."""
    return Verdict(TRUTH[state].word)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The responders, running since before the changes of status; by now every answer is signed ahead again."""
    directory = tmp_path_factory.mktemp("served")
    with relaying() as ocsp, relaying() as http:
        home = ServedHome(directory / "home", ocsp.place, http.place)
        issue(directory, home)
        home.sealmint("crl", "publish")
        with responders(home) as running:
            http.lead_to(running.http)
            fronts = {"listener": running.ocsp, "quart": running.http}
            served, before = (Served(home, fronts, ocsp, directory / name) for name in ("fetched", "before"))
            assert wait_until(lambda: is_signed_ahead(served, dict.fromkeys(STATES, GOOD)), running.process)
            for state in STATES:
                for crl in before.crls(home.certificate(state)):
                    before.delta(crl)
            change_statuses(home)
            home.sealmint("crl", "publish")
            assert wait_until(lambda: is_signed_ahead(served, TRUTH), running.process)
            assert wait_until(lambda: answers_live(served), running.process)
            yield served


def answers_live(served: Served) -> bool:
    """Whether each front has found the live signer, which may have started after it."""
    card = served.home.cards["accepted"]
    return all(openssl_ocsp.ask(served.address(front), card, nonce=True) == [GOOD, GOOD] for front in FRONTS)


def is_signed_ahead(served: Served, truth: Mapping[str, Verdict]) -> bool:
    """Whether there are answers for all, signed ahead, that say so; the encryption certificates are all good."""
    statuses = {Word.GOOD: OCSPCertStatus.GOOD, Word.REVOKED: OCSPCertStatus.REVOKED}
    return all(
        served.is_signed_ahead(signature, statuses[truth[state].word])
        and served.is_signed_ahead(encryption, OCSPCertStatus.GOOD)
        for state, (signature, encryption) in served.home.cards.items()
    )


class TestOcsp:
    """By OCSP: answers signed ahead, and live ones to requests with a nonce."""

    @pytest.mark.judge("openssl")
    @every_front
    @with_and_without_nonce
    @pytest.mark.parametrize("hash_name", HASHES)
    @every_state
    def test_openssl(self, served: Served, front: str, nonce: bool, hash_name: str, state: str) -> None:
        card = served.home.cards[state]
        verdicts = openssl_ocsp.ask(served.address(front), card, hash_name=hash_name, nonce=nonce)
        assert verdicts == [TRUTH[state], GOOD]

    @pytest.mark.judge("openssl")
    @every_front
    @with_and_without_nonce
    def test_openssl_asks_about_several_cards(self, served: Served, front: str, nonce: bool) -> None:
        chains = [served.home.certificate(state) for state in STATES]
        verdicts = openssl_ocsp.ask(served.address(front), chains, nonce=nonce)
        assert verdicts == [TRUTH[state] for state in STATES]

    @pytest.mark.judge("gnutls")
    @every_front
    @with_and_without_nonce
    @every_state
    def test_gnutls(self, served: Served, front: str, nonce: bool, state: str) -> None:
        verdict = gnutls.ask(served.address(front), served.home.certificate(state), nonce=nonce)
        assert verdict == word_of(state)

    @pytest.mark.judge("nss")
    @every_front
    @every_state
    def test_nss(self, served: Served, nss_database: NssDatabase, front: str, state: str) -> None:
        served.ocsp_relay.lead_to(served.fronts[front])
        assert nss_database.ask(served.home.certificate(state)) == word_of(state)
        assert served.ocsp_relay.methods == {"GET"}  # else it would have asked again by POST

    @pytest.mark.judge("java")
    @every_front
    @with_and_without_nonce
    @every_state
    def test_java(
        self, java_verdicts: Mapping[tuple[str, str], Verdict], front: str, nonce: bool, state: str
    ) -> None:
        assert java_verdicts[f"{front} {nonce}", state] == TRUTH[state]

    @pytest.mark.judge("pyhanko")
    @every_front
    @pytest.mark.parametrize("hash_name", HASHES)
    @every_state
    def test_pyhanko(self, served: Served, front: str, hash_name: str, state: str) -> None:
        chain = served.home.certificate(state)
        response, _ = served.response(front, chain, hash_name)
        assert pyhanko.ask(chain, [response]) == TRUTH[state]

    @pytest.mark.judge("pkilint")
    @every_state
    def test_pkilint(self, served: Served, state: str) -> None:
        response, _ = served.response("listener", served.home.certificate(state))
        assert pkilint_judge.ocsp_findings(response) == []


class TestCrls:
    """By CRL: the partition's and the complete one, and each as it was before the changes with the delta to it."""

    @pytest.mark.judge("openssl")
    @every_state
    def test_openssl(self, served: Served, state: str) -> None:
        chain = served.home.certificate(state)
        for crl in served.crls(chain):
            assert openssl_crl.ask(chain, [crl]) == word_of(state)

    @pytest.mark.judge("openssl")
    @every_state
    def test_openssl_with_a_delta(self, served: Served, before: Served, state: str) -> None:
        chain = served.home.certificate(state)
        for crl in served.crls(chain):
            old = before.directory / crl.name
            assert openssl_crl.ask(chain, [old]) == GOOD
            assert openssl_crl.ask(chain, [old, served.delta(old)], deltas=True) == word_of(state)

    @pytest.mark.judge("openssl")
    def test_the_complete_crl_lists_exactly_what_is_not_good(self, served: Served) -> None:
        chain = served.home.certificate("revoked")
        _, complete = served.crls(chain)
        assert openssl_crl.is_signed_by(complete, chain)
        assert openssl_crl.entries(complete) == {
            served.home.certificate(state).certificate.serial_number: verdict.reason
            for state, verdict in TRUTH.items()
            if verdict != GOOD
        }

    @pytest.mark.judge("gnutls")
    @every_state
    def test_gnutls(self, served: Served, tmp_path: Path, state: str) -> None:
        chain = served.home.certificate(state)
        for crl in served.crls(chain):
            assert gnutls.ask_crl(chain, crl, tmp_path) == word_of(state)

    @pytest.mark.judge("nss")
    @every_state
    def test_nss_takes_the_complete_one(self, served: Served, nss_database: NssDatabase, state: str) -> None:
        chain = served.home.certificate(state)
        _, complete = served.crls(chain)
        assert nss_database.ask_crl(chain, complete) == word_of(state)

    @pytest.mark.judge("java")
    @every_state
    def test_java_by_distribution_point(
        self, java_verdicts: Mapping[tuple[str, str], Verdict], state: str
    ) -> None:
        assert java_verdicts["points", state] == TRUTH[state]

    @pytest.mark.judge("pyhanko")
    @every_state
    def test_pyhanko(self, served: Served, before: Served, state: str) -> None:
        chain = served.home.certificate(state)
        for crl in served.crls(chain):
            old = before.directory / crl.name
            delta, old_delta = (place.directory / served.delta(crl).name for place in (served, before))
            assert pyhanko.ask_crl(chain, [crl.read_bytes(), delta.read_bytes()]) == TRUTH[state]
            assert pyhanko.ask_crl(chain, [old.read_bytes(), old_delta.read_bytes()]) == GOOD
            assert pyhanko.ask_crl(chain, [old.read_bytes(), delta.read_bytes()]) == TRUTH[state]

    @pytest.mark.judge("pkilint")
    @every_state
    def test_pkilint(self, served: Served, state: str) -> None:
        for crl in served.crls(served.home.certificate(state)):
            assert pkilint_judge.crl_findings(crl.read_bytes()) == []
            assert pkilint_judge.crl_findings(served.delta(crl).read_bytes()) == []


@pytest.fixture(scope="module")
def before(served: Served) -> Served:
    """The CRLs as they were before the changes."""
    return replace(served, directory=served.directory.parent / "before")


@pytest.fixture(scope="module")
def nss_database(served: Served) -> NssDatabase:
    return NssDatabase(served.directory.parent / "nss", served.home.certificate("accepted"))


@pytest.fixture(scope="module")
def java_verdicts(served: Served) -> Mapping[tuple[str, str], Verdict]:
    """Java's verdicts on everything, asked in one run."""
    questions = {}
    for state in STATES:
        chain = served.home.certificate(state)
        questions["points", state] = java.by_distribution_points(chain)
        for front in FRONTS:
            for nonce in (False, True):
                asked = java.by_ocsp(served.address(front), chain, nonce=nonce)
                questions[f"{front} {nonce}", state] = asked
    return dict(zip(questions, java.ask(list(questions.values())), strict=True))
