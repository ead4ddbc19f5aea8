"""What each judge makes of CRLs, right and wrong: as the README's table has it, so that a change is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from tests.judges import gnutls, java, openssl_crl, pkilint_judge, pyhanko
from tests.judges.chain import Chain, write_chain
from tests.judges.crl_cases import CRL_CASES, OTHERS, CrlPlace
from tests.judges.nss import NssDatabase
from tests.judges.toy_authority import ToyAuthority
from tests.judges.toy_crl import crl, partition_scope
from tests.judges.toy_server import ToyServer
from tests.judges.verdict import Verdict, Word
from tests.judges.verdict_table import BAD_CLAIMS, on_bad_answer, on_good_answer, table

TABLE = table("CRLs")
every_case = pytest.mark.parametrize("name", CRL_CASES)


@dataclass(frozen=True)
class Asked:
    """One case as it is asked: a certificate of its own whose distribution points lead to the CRLs, and the CRLs."""

    chain: Chain
    crls: list[bytes]
    files: list[Path]


Stand = Mapping[str, list[Asked]]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, toy: ToyAuthority, server: ToyServer) -> Stand:
    """Every case on the server with a certificate of its own; bad ones twice, once for each claim."""
    directory = tmp_path_factory.mktemp("crl")
    asked: dict[str, list[Asked]] = {name: [] for name in CRL_CASES}
    for number, (name, case) in enumerate(CRL_CASES.items()):
        for claim in BAD_CLAIMS if case.bad else ("good",):
            begin = f"/crl/{number}-{claim}"
            partition, complete, delta = (f"{server.address}{begin}/{kind}.crl" for kind in ("p", "c", "d"))
            certificate = toy.subscriber(
                "http://none/ocsp", partition, complete, delta=delta if case.delta else None
            )
            crls = case.make(CrlPlace(toy, certificate.serial_number, partition, delta, claim))
            files = [directory / f"{number}-{claim}-{place}.crl" for place, _ in enumerate(crls)]
            for path, encoded in zip(files, crls, strict=True):
                path.write_bytes(encoded)
            # Java gives up when the first point cannot be fetched, so there is something, for somebody else.
            strange = crl(toy.ca, OTHERS, scope=partition_scope(partition + "?"))
            server.files[begin + "/p.crl"] = strange if case.complete else crls[0]
            server.files[begin + "/c.crl"] = crls[0] if case.complete else strange
            chain = write_chain(
                directory, f"{number}-{claim}", certificate, toy.ca.certificate, toy.root.certificate
            )
            asked[name].append(Asked(chain, crls, files))
    return asked


def cell(stand: Stand, name: str, ask: Callable[[Asked], Verdict]) -> str:
    """What a judge makes of a case, in the table's words."""
    verdicts = [ask(asked) for asked in stand[name]]
    if not CRL_CASES[name].bad:
        return on_good_answer(verdicts[0])
    has_base = len(stand[name][0].crls) > 1  # then the claim is the delta's, and the base says the opposite
    return on_bad_answer(verdicts, (Word.REVOKED, Word.GOOD) if has_base else (Word.GOOD, Word.GOOD))


@pytest.mark.judge("openssl")
@every_case
def test_openssl(stand: Stand, name: str) -> None:
    seen = cell(stand, name, lambda asked: openssl_crl.ask(asked.chain, asked.files, deltas=True))
    assert seen == TABLE[name, "OpenSSL"]


@pytest.mark.judge("gnutls")
@every_case
def test_gnutls(stand: Stand, tmp_path: Path, name: str) -> None:
    seen = cell(stand, name, lambda asked: gnutls.ask_crl(asked.chain, asked.files[0], tmp_path))
    assert seen == TABLE[name, "GnuTLS"]


@pytest.fixture(scope="module")
def nss_database(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> NssDatabase:
    return NssDatabase(tmp_path_factory.mktemp("nss") / "database", stand["complete: revoked"][0].chain)


@pytest.mark.judge("nss")
@every_case
def test_nss(stand: Stand, nss_database: NssDatabase, name: str) -> None:
    seen = cell(stand, name, lambda asked: nss_database.ask_crl(asked.chain, asked.files[0]))
    assert seen == TABLE[name, "NSS"]


@pytest.fixture(scope="module")
def java_verdicts(stand: Stand) -> Mapping[Path, tuple[Verdict, Verdict]]:
    """Java's verdicts by distribution point and by file on everything, by the first CRL's file."""
    all_asked = [asked for several in stand.values() for asked in several]
    by_points = [java.by_distribution_points(asked.chain) for asked in all_asked]
    by_files = [java.by_crl_files(asked.chain, asked.files) for asked in all_asked]
    verdicts = java.ask(by_points + by_files)
    pairs = zip(verdicts[: len(all_asked)], verdicts[len(all_asked) :], strict=True)
    return dict(zip((asked.files[0] for asked in all_asked), pairs, strict=True))


@pytest.mark.judge("java")
@every_case
def test_java(stand: Stand, java_verdicts: Mapping[Path, tuple[Verdict, Verdict]], name: str) -> None:
    by_points = cell(stand, name, lambda asked: java_verdicts[asked.files[0]][0])
    by_files = cell(stand, name, lambda asked: java_verdicts[asked.files[0]][1])
    assert by_points == by_files == TABLE[name, "Java"]


@pytest.mark.judge("pyhanko")
@every_case
def test_pyhanko(stand: Stand, name: str) -> None:
    seen = cell(stand, name, lambda asked: pyhanko.ask_crl(asked.chain, asked.crls))
    assert seen == TABLE[name, "pyhanko"]


@pytest.mark.judge("pkilint")
@every_case
def test_pkilint(stand: Stand, name: str) -> None:
    found = [pkilint_judge.crl_findings(encoded) for asked in stand[name] for encoded in asked.crls]
    assert {"found" if findings else "nothing" for findings in found} == {TABLE[name, "pkilint"]}


@pytest.mark.judge("openssl")
def test_openssl_lists_the_entries(stand: Stand) -> None:
    asked = stand["partition: suspended"][0]
    listed = openssl_crl.entries(asked.files[0])
    assert listed == dict.fromkeys(OTHERS, "superseded") | {
        asked.chain.certificate.serial_number: "certificateHold"
    }


@pytest.mark.judge("openssl")
@pytest.mark.parametrize(
    ("name", "signed"),
    [
        ("complete: revoked", True),
        ("complete: expired", True),  # it does not look at times
        ("partition: tampered signature", False),
        ("partition: a CA of the same name", False),
    ],
)
def test_openssl_checks_the_signature_of_a_crl(stand: Stand, name: str, signed: bool) -> None:
    asked = stand[name][0]
    assert openssl_crl.is_signed_by(asked.files[0], asked.chain) is signed


@pytest.mark.judge("openssl")
@pytest.mark.parametrize("revoked", [False, True])
def test_openssl_checks_the_whole_chain(
    stand: Stand, toy: ToyAuthority, tmp_path: Path, revoked: bool
) -> None:
    asked = stand["partition: not listed"][0]
    assert (
        openssl_crl.ask(asked.chain, asked.files, whole_chain=True).word is Word.REFUSED
    )  # no CRL of the root
    entries = {toy.ca.certificate.serial_number: x509.ReasonFlags.ca_compromise} if revoked else {}
    of_root = tmp_path / "root.crl"
    of_root.write_bytes(crl(toy.root, entries))
    verdict = openssl_crl.ask(asked.chain, [*asked.files, of_root], whole_chain=True)
    assert verdict.word is (Word.REFUSED if revoked else Word.GOOD)


def test_the_table_has_every_case() -> None:
    assert {name for name, _ in TABLE} == set(CRL_CASES)


def test_every_bad_crl_is_refused_or_ignored_by_at_least_one_judge() -> None:
    for name, case in CRL_CASES.items():
        seen = {seen for (row, _), seen in TABLE.items() if row == name}
        assert not case.bad or seen & {"refused", "ignored"}
