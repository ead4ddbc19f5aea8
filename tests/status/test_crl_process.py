"""The CRL publisher's process and `sealmint crl`, with a real token; OpenSSL, pyhanko and pkilint judge the files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from engine.algorithms import SignatureAlgorithm
from engine.store.database import open_store
from engine.x509.certificate import assemble
from tests.cli.prepared_home import ROOT, SAFETY_NET, PreparedHome, copy_of, environment, kill, wait_until
from tests.judges import openssl_crl, pyhanko
from tests.judges.chain import Chain, write_chain
from tests.judges.pkilint_judge import crl_findings
from tests.judges.verdict import Verdict, Word
from tests.status.crl_authority import change_status, number_of
from tests.store_fixture import store_url

CKR_DEVICE_REMOVED = 0x32
CRLS = Path("crl/repository/MOEACA/CRL2")
AT_FIRST, CHANGED = Path("crl-at-first"), Path("crl-changed")
"""Where the judged files of two earlier moments are kept: as first issued, and with the deltas of a change."""
COMPLETE, FIRST = "complete.crl", "CRL_0001.crl"
PARTITIONS = 3


@pytest.fixture(scope="module")
def issued(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """A copy of the prepared home whose run is done; tests copy it again."""
    home = copy_of(prepared, tmp_path_factory.mktemp("issued") / "home")
    home.sealmint("run", "start", 1)
    return home


@pytest.fixture
def home(issued: PreparedHome, tmp_path: Path) -> PreparedHome:
    return copy_of(issued, tmp_path / "copy")


def configure_crls(home: PreparedHome, *lines: str) -> None:
    home.configure("[token]\n", "\n".join(["[crl]", *lines, "", "[token]", ""]))


def change(home: PreparedHome, reason: int | None, *items: int) -> None:
    store = open_store(store_url(home.path / "store.sqlite"))
    change_status(store, items, reason, datetime.now(UTC))
    store.close()


def items_of_first_partition(home: PreparedHome) -> list[int]:
    return [
        item
        for (item,) in home.query(
            "SELECT item_id FROM certificate_status WHERE partition_id = 1 ORDER BY item_id"
        )
    ]


@contextmanager
def publisher(home: PreparedHome) -> Iterator[subprocess.Popen[bytes]]:
    """The process, with a pipe on its standard input; its log goes to a file."""
    with (home.directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.status.crl_publisher", "--home", home.path],
            stdin=subprocess.PIPE,
            stderr=log,
            env=environment(),
            cwd=ROOT,
        )
    try:
        yield process
    finally:
        kill(process.pid)
        process.communicate()


def log_of(home: PreparedHome) -> list[dict[str, object]]:
    lines = (home.directory / "log").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def published(home: PreparedHome) -> int:
    return home.number("SELECT count(*) FROM crl_issue WHERE published_at IS NOT NULL")


def stop(process: subprocess.Popen[bytes]) -> int:
    """End its standard input, and wait for its end."""
    assert process.stdin is not None
    process.stdin.close()
    return process.wait(SAFETY_NET)


def read(home: PreparedHome, name: str) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl((home.path / CRLS / name).read_bytes())


def assert_signatures_accounted_for(home: PreparedHome, since: int) -> None:
    """Whatever the token signed after so many signatures has its digest among the reserved CRLs."""
    reserved = {digest.hex() for (digest,) in home.query("SELECT tbs_digest FROM crl_issue")}
    signed = [line.digest for line in home.hsm.signatures()[since:]]
    assert signed
    assert set(signed) <= reserved


@pytest.mark.cps("4.4.10")
@pytest.mark.cps("4.4.4")
def test_the_process_publishes_every_scope_and_then_what_changes(home: PreparedHome) -> None:
    configure_crls(home, "on_change_minutes = 0")
    before = len(home.hsm.signatures())
    with publisher(home) as process:
        assert wait_until(lambda: published(home) == 1 + PARTITIONS, process)
        item = items_of_first_partition(home)[0]
        change(home, 1, item)
        assert wait_until(lambda: published(home) == 1 + PARTITIONS + 2, process)
        assert stop(process) == 0
    assert len(read(home, COMPLETE)) == len(read(home, FIRST)) == 1
    assert len(read(home, "CRL_0002.crl")) == 0
    assert number_of(read(home, FIRST)) == number_of(read(home, "CRL_0002.crl")) + 1
    assert_signatures_accounted_for(home, before)
    lines = [line for line in log_of(home) if line["event"] == "crl-published"]
    assert len(lines) == 1 + PARTITIONS + 2
    assert {line["process"] for line in lines} == {"crl-publisher"}


def test_a_token_that_is_away_is_waited_for(home: PreparedHome) -> None:
    home.hsm.fail_one_in("C_OpenSession", CKR_DEVICE_REMOVED, 1)
    with publisher(home) as process:
        assert wait_until(lambda: any(line["event"] == "waiting" for line in log_of(home)), process)
        assert published(home) == 0
        assert home.number("SELECT count(*) FROM crl_issue") == 0, "no number is used up on it"
        home.hsm.reset()
        assert wait_until(lambda: published(home) == 1 + PARTITIONS, process)
        assert stop(process) == 0


def test_a_token_that_goes_away_later_is_waited_for(home: PreparedHome) -> None:
    configure_crls(home, "on_change_minutes = 0")
    with publisher(home) as process:
        assert wait_until(lambda: published(home) == 1 + PARTITIONS, process)
        away = home.hsm.fail_one_in("C_Sign", CKR_DEVICE_REMOVED, 1)
        change(home, 1, items_of_first_partition(home)[0])
        assert wait_until(lambda: any(line["event"] == "waiting" for line in log_of(home)), process)
        home.hsm.disarm(away)
        assert wait_until(lambda: published(home) == 1 + PARTITIONS + 2, process)
        assert stop(process) == 0
    assert len(read(home, FIRST)) == 1


def test_killed_while_the_token_signs(home: PreparedHome) -> None:
    home.sealmint("crl", "publish")
    before = (home.path / CRLS / COMPLETE).read_bytes()
    signed = len(home.hsm.signatures())
    change(home, 1, items_of_first_partition(home)[0])
    home.hsm.hang_next("C_Sign")
    configure_crls(home, "on_change_minutes = 0")
    with publisher(home) as process:
        assert wait_until(lambda: home.hsm.hanging() > 0, process)
        assert kill(process.pid)
        assert process.wait(SAFETY_NET) == -9
    home.hsm.reset()
    (abandoned,) = home.query("SELECT number, tbs_digest FROM crl_issue WHERE published_at IS NULL")
    assert (home.path / CRLS / COMPLETE).read_bytes() == before
    with publisher(home) as process:
        assert wait_until(lambda: published(home) == 1 + PARTITIONS + 2, process)
        assert stop(process) == 0
    assert home.query("SELECT number, tbs_digest FROM crl_issue WHERE published_at IS NULL") == [abandoned]
    numbers = home.query("SELECT scope_id, number FROM crl_issue")
    assert len(set(numbers)) == len(numbers)
    assert len(read(home, COMPLETE)) == len(read(home, FIRST)) == 1
    assert_signatures_accounted_for(home, signed)
    assert not list(home.path.glob("crl/**/.*.partial"))


# ---- the command ----


def test_the_command_publishes_and_shows(home: PreparedHome) -> None:
    item = items_of_first_partition(home)[0]
    (complete,) = home.sealmint("crl", "publish", "--scope", "complete").json["published"]
    assert complete["scope"] == "complete"
    assert complete["scheduled"]
    assert Path(complete["file"]) == home.path / CRLS / COMPLETE
    change(home, 1, item)
    scopes = {scope["scope"]: scope for scope in home.look("crl", "status").json["scopes"]}
    assert set(scopes) == {"complete", "1", "2", "3"}
    assert scopes["complete"]["number"] == complete["number"]
    assert (scopes["complete"]["entries"], scopes["complete"]["pending"]) == (0, 1)
    assert (scopes["1"]["number"], scopes["1"]["pending"]) == (None, 1)
    assert scopes["2"]["pending"] == 0
    (first,) = home.sealmint("crl", "publish", "--scope", "1").json["published"]
    assert (first["scope"], first["entries"]) == ("1", 1)
    assert len(read(home, FIRST)) == 1


def test_a_scope_that_is_not_there_is_named_with_those_that_are(home: PreparedHome) -> None:
    error = home.look("crl", "publish", "--scope", "9", code=3).error
    assert error["value"] == "9"
    assert error["rule"] == "one of: complete, 1, 2, 3"


def test_nothing_is_published_of_a_home_without_certificates(prepared: PreparedHome, tmp_path: Path) -> None:
    home = copy_of(prepared, tmp_path / "copy")
    assert home.look("crl", "publish").json == {"published": [], "failed": []}
    assert home.look("crl", "status").json == {"scopes": []}


# ---- judges ----


@pytest.fixture(scope="module")
def judged(issued: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    """Full CRLs that know of deltas, then changes in deltas to them, then full CRLs again, each with its delta."""
    home = copy_of(issued, tmp_path_factory.mktemp("judged") / "home")
    configure_crls(home, "delta = true", "on_change_minutes = 0")
    compromised, resumed, held, replaced, _ = items_of_first_partition(home)[:5]
    change(home, 1, compromised)
    change(home, 6, resumed, held)
    home.sealmint("crl", "publish")
    shutil.copytree(home.path / CRLS, home.path / AT_FIRST)
    full = published(home)
    change(home, None, resumed)
    change(home, 4, replaced)
    with publisher(home) as process:
        assert wait_until(lambda: published(home) == full + 2, process)
        assert stop(process) == 0
    shutil.copytree(home.path / CRLS, home.path / CHANGED)
    home.sealmint("crl", "publish")
    return home


@pytest.fixture(scope="module")
def chains(judged: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> list[Chain]:
    """The certificates compromised, resumed, held, replaced and untouched."""
    directory = tmp_path_factory.mktemp("chains")
    ca, root = (
        x509.load_der_x509_certificate((judged.path / "certificates" / f"{role}.der").read_bytes())
        for role in ("ca", "root")
    )
    chains = []
    for item in items_of_first_partition(judged)[:5]:
        ((tbs, signature),) = judged.query(
            "SELECT tbs, signature FROM reservation JOIN signature USING (item_id) WHERE item_id = ?", item
        )
        der = assemble(tbs, SignatureAlgorithm.RSA_PKCS1_SHA256, signature)
        chains.append(write_chain(directory, str(item), x509.load_der_x509_certificate(der), ca, root))
    return chains


def revoked(reason: str) -> Verdict:
    return Verdict(Word.REVOKED, reason)


AT_FIRST_TRUTH = [
    revoked("keyCompromise"),
    revoked("certificateHold"),
    revoked("certificateHold"),
    Verdict(Word.GOOD),
    Verdict(Word.GOOD),
]
CHANGED_TRUTH = [
    revoked("keyCompromise"),
    Verdict(Word.GOOD),
    revoked("certificateHold"),
    revoked("superseded"),
    Verdict(Word.GOOD),
]


def delta_name(name: str) -> str:
    return name.replace(".crl", "-delta.crl")


MOMENTS = pytest.mark.parametrize(
    ("directory", "truth"), [(AT_FIRST, AT_FIRST_TRUTH), (CHANGED, CHANGED_TRUTH), (CRLS, CHANGED_TRUTH)]
)


@pytest.mark.judge("openssl")
@pytest.mark.cps("4.4.11")
@pytest.mark.parametrize("name", [FIRST, COMPLETE])
@MOMENTS
def test_openssl_by_a_full_crl_and_its_delta(
    name: str, directory: Path, truth: list[Verdict], judged: PreparedHome, chains: list[Chain]
) -> None:
    full, delta = (judged.path / directory / one for one in (name, delta_name(name)))
    assert openssl_crl.is_signed_by(full, chains[0])
    by_both = [openssl_crl.ask(one, [full, delta], deltas=True).word for one in chains]
    assert by_both == [verdict.word for verdict in truth]
    by_full = [openssl_crl.ask(one, [full]).word for one in chains]
    before = AT_FIRST_TRUTH if directory != CRLS else truth
    assert by_full == [verdict.word for verdict in before], "who heeds no deltas knows the last full CRL"


@pytest.mark.judge("openssl")
def test_openssl_heeds_no_crl_of_another_partition(judged: PreparedHome, chains: list[Chain]) -> None:
    verdict = openssl_crl.ask(chains[-1], [judged.path / CRLS / "CRL_0002.crl"])
    assert verdict.word is Word.REFUSED


@pytest.mark.judge("pyhanko-certvalidator")
@pytest.mark.parametrize("name", [FIRST, COMPLETE])
@MOMENTS
def test_pyhanko_by_a_full_crl_and_its_delta(
    name: str, directory: Path, truth: list[Verdict], judged: PreparedHome, chains: list[Chain]
) -> None:
    """It refuses a CRL whose freshestCRL leads nowhere, so a delta without entries is issued with the first."""
    crls = [(judged.path / directory / one).read_bytes() for one in (name, delta_name(name))]
    assert [pyhanko.ask_crl(one, crls) for one in chains] == truth
    assert pyhanko.ask_crl(chains[0], crls[:1]).word is Word.REFUSED


@pytest.mark.judge("pyhanko-certvalidator")
def test_pyhanko_heeds_no_crl_of_another_partition(judged: PreparedHome, chains: list[Chain]) -> None:
    verdict = pyhanko.ask_crl(chains[-1], [(judged.path / CRLS / "CRL_0002.crl").read_bytes()])
    assert verdict.word is Word.REFUSED


@pytest.mark.judge("pkilint")
@pytest.mark.cps("7.2")
def test_pkilint_finds_nothing(judged: PreparedHome) -> None:
    files = sorted((judged.path / CRLS).iterdir())
    assert len(files) == 2 * (1 + PARTITIONS)
    assert {file.name: crl_findings(file.read_bytes()) for file in files} == {file.name: [] for file in files}


def test_the_partition_crl_names_the_very_uri_of_the_certificates(
    judged: PreparedHome, chains: list[Chain]
) -> None:
    points = chains[0].certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    partition, complete = (point.full_name[0].value for point in points if point.full_name)
    scope = read(judged, FIRST).extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert scope.critical
    assert scope.value.full_name is not None
    assert [name.value for name in scope.value.full_name] == [partition]
    assert complete.endswith("/" + COMPLETE)
