"""What each judge makes of OCSP answers, right and wrong: as the README's table has it, so that a change is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import OCSPNonce, ocsp

from tests.judges import gnutls, java, openssl_ocsp, pkilint_judge, pyhanko
from tests.judges.chain import Chain, write_chain
from tests.judges.nss import NssDatabase
from tests.judges.ocsp_cases import OCSP_CASES
from tests.judges.toy_authority import ToyAuthority
from tests.judges.toy_server import ToyServer
from tests.judges.verdict import Verdict
from tests.judges.verdict_table import BAD_CLAIMS, on_bad_answer, on_good_answer, table

TABLE = table("OCSP")
every_case = pytest.mark.parametrize("name", OCSP_CASES)


@dataclass(frozen=True)
class Asked:
    """One case as it is asked: an address, a card of two certificates, and the answer for those who are given one."""

    address: str
    card: list[Chain]
    nonce: bool
    response: bytes

    @property
    def chain(self) -> Chain:
        return self.card[0]


Stand = Mapping[str, list[Asked]]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, toy: ToyAuthority, server: ToyServer) -> Stand:
    """Every case on the server with certificates of its own; bad ones twice, once for each claim."""
    directory = tmp_path_factory.mktemp("ocsp")
    asked: dict[str, list[Asked]] = {name: [] for name in OCSP_CASES}
    for number, (name, case) in enumerate(OCSP_CASES.items()):
        for claim in BAD_CLAIMS if case.bad else ("good",):
            path = f"/ocsp/{number}-{claim}"
            card = [toy.subscriber(server.address + path, "http://none/p", "http://none/c") for _ in range(2)]
            chains = [
                write_chain(
                    directory, f"{number}-{claim}-{place}", one, toy.ca.certificate, toy.root.certificate
                )
                for place, one in enumerate(card)
            ]
            responder = server.responders[path] = case.responder(toy, card, claim)
            response = responder(_request(chains[0], case.nonce))
            asked[name].append(Asked(server.address + path, chains, case.nonce, response))
    return asked


def _request(chain: Chain, nonce: bool) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(chain.certificate, chain.issuer, SHA1())
    if nonce:
        builder = builder.add_extension(OCSPNonce(bytes(range(16))), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def cell(stand: Stand, name: str, ask: Callable[[Asked], Verdict]) -> str:
    """What a judge makes of a case, in the table's words."""
    verdicts = [ask(asked) for asked in stand[name]]
    return on_bad_answer(verdicts) if OCSP_CASES[name].bad else on_good_answer(verdicts[0])


@pytest.mark.judge("openssl")
@every_case
def test_openssl(stand: Stand, name: str) -> None:
    def ask(asked: Asked) -> Verdict:
        verdicts = {
            verdict
            for hash_name in ("sha1", "sha256")
            for verdict in openssl_ocsp.ask(asked.address, asked.card, hash_name=hash_name, nonce=asked.nonce)
        }
        (verdict,) = verdicts  # the same for both certificates and both hashes
        return verdict

    assert cell(stand, name, ask) == TABLE[name, "OpenSSL"]


@pytest.mark.judge("gnutls")
@every_case
def test_gnutls(stand: Stand, name: str) -> None:
    def ask(asked: Asked) -> Verdict:
        return gnutls.ask(asked.address, asked.chain, nonce=asked.nonce)

    assert cell(stand, name, ask) == TABLE[name, "GnuTLS"]


@pytest.fixture(scope="module")
def nss_database(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> NssDatabase:
    return NssDatabase(tmp_path_factory.mktemp("nss") / "database", stand["good"][0].chain)


@pytest.mark.judge("nss")
@every_case
def test_nss(stand: Stand, nss_database: NssDatabase, name: str) -> None:
    assert cell(stand, name, lambda asked: nss_database.ask(asked.chain)) == TABLE[name, "NSS"]


@pytest.fixture(scope="module")
def java_verdicts(stand: Stand) -> Mapping[str, Verdict]:
    """Java's verdicts on everything, by address."""
    all_asked = [asked for several in stand.values() for asked in several]
    questions = [java.by_ocsp(asked.address, asked.chain, nonce=asked.nonce) for asked in all_asked]
    return dict(zip((asked.address for asked in all_asked), java.ask(questions), strict=True))


@pytest.mark.judge("java")
@every_case
def test_java(stand: Stand, java_verdicts: Mapping[str, Verdict], name: str) -> None:
    assert cell(stand, name, lambda asked: java_verdicts[asked.address]) == TABLE[name, "Java"]


@pytest.mark.judge("pyhanko")
@every_case
def test_pyhanko(stand: Stand, name: str) -> None:
    seen = cell(stand, name, lambda asked: pyhanko.ask(asked.chain, [asked.response]))
    assert seen == TABLE[name, "pyhanko"]


@pytest.mark.judge("pkilint")
@every_case
def test_pkilint(stand: Stand, name: str) -> None:
    findings = [pkilint_judge.ocsp_findings(asked.response) for asked in stand[name]]
    assert {"found" if found else "nothing" for found in findings} == {TABLE[name, "pkilint"]}


def test_the_table_has_every_case() -> None:
    assert {name for name, _ in TABLE} == set(OCSP_CASES)


def test_every_bad_answer_is_refused_by_at_least_one_judge() -> None:
    for name, case in OCSP_CASES.items():
        assert not case.bad or "refused" in {seen for (row, _), seen in TABLE.items() if row == name}
