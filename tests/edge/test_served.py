"""The edge in front of the running responders: copies, a change of status, nonces, lists, and what is counted."""

from __future__ import annotations

import hashlib
import json
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from tests.cli.prepared_home import wait_until
from tests.edge.running_edge import Answer, Edge, ask, running_edge
from tests.judges.chain import Chain
from tests.judges.served_home import ServedHome, issue, responders

pytestmark = pytest.mark.judge("nginx")

PATH = "/cgi-bin/OCSP2/ocsp_server.exe"
NOWHERE = "127.0.0.1:1"
MAX_AGE = 2
TOKEN = "k3yOfOneRelyingParty"

SETTINGS = f"""
[responders]
max_age = {MAX_AGE}

[metering]
enabled = true
anonymous = true
flush_seconds = 1
"""
GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED


@dataclass(frozen=True)
class Scene:
    home: ServedHome
    edge: Edge
    origin: str
    """The listener's own URL."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("served")
    home = ServedHome(directory / "home", NOWHERE, NOWHERE)
    issue(directory, home)
    with (home.path / "sealmint.toml").open("a") as file:
        file.write(SETTINGS)
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    account: dict[str, object] = {
        "name": "paying",
        "token_sha256": digest,
        "address_ranges": [],
        "monthly_quota": None,
    }
    (home.path / "usage").mkdir(exist_ok=True)
    (home.path / "usage" / "accounts.json").write_text(json.dumps([account]))
    home.sealmint("crl", "publish")
    with (
        responders(home) as running,
        running_edge(
            directory / "edge", *(urlsplit(url).netloc for url in (running.ocsp, running.http))
        ) as edge,
    ):
        made = Scene(home, edge, running.ocsp)
        assert wait_until(lambda: all(is_kept(made, state) for state in home.cards), running.process)
        yield made


def question(chain: Chain, nonce: bytes | None = None) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(chain.certificate, chain.issuer, SHA1())
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def status_in(answer: Answer) -> ocsp.OCSPCertStatus | None:
    """What an answer says; None where it says to try later."""
    response = ocsp.load_der_ocsp_response(answer.body)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return None
    return next(iter(response.responses)).certificate_status


def is_kept(scene: Scene, state: str) -> bool:
    """Whether the listener has an answer signed ahead."""
    answer = ask(scene.origin, "POST", PATH, question(scene.home.certificate(state)))
    return "public" in answer.headers["cache-control"]


def target_of(request: bytes) -> str:
    return f"{PATH}/{quote(b64encode(request), safe='')}"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_copy_is_the_listeners_own_answer(scene: Scene, method: str) -> None:
    request = question(scene.home.certificate("accepted"))
    asked = (method, target_of(request), None) if method == "GET" else (method, PATH, request)
    own = ask(scene.origin, *asked)
    answers: list[Answer] = []

    def is_hit() -> bool:
        answers.append(scene.edge.ask(*asked))
        return answers[-1].cache == "hit"

    assert wait_until(is_hit)
    assert {answer.body for answer in answers} == {own.body}
    for name in ("etag", "expires", "last-modified", "content-type"):
        assert answers[-1].headers[name] == own.headers[name]


@pytest.mark.parametrize(("method", "state"), [("GET", "revoked"), ("POST", "suspended")])
def test_no_old_good_leaves_the_edge_after_max_age(scene: Scene, method: str, state: str) -> None:
    """Counted from when the listener itself does not say good any more; and a second, for nginx counts whole ones."""
    request = question(scene.home.certificate(state))
    asked = (method, target_of(request), None) if method == "GET" else (method, PATH, request)
    assert status_in(scene.edge.ask(*asked)) is GOOD
    if state == "revoked":
        scene.home.act("revoke", state, "key-compromise")
    else:
        scene.home.act("suspend", state, "token-lost")
    assert wait_until(lambda: status_in(ask(scene.origin, *asked)) is not GOOD)
    withdrawn = time.time()
    last_good = 0.0

    def says_revoked() -> bool:
        nonlocal last_good
        when = time.time()
        status = status_in(scene.edge.ask(*asked))
        if status is GOOD:
            last_good = when
        return status is REVOKED

    assert wait_until(says_revoked)
    assert last_good < withdrawn + MAX_AGE + 1


def test_an_answer_with_a_nonce_is_never_a_copy(scene: Scene) -> None:
    chain = scene.home.certificate("untouched")
    for nonce in (b"n" * 16, b"m" * 16, b"n" * 16):
        answer = scene.edge.post(question(chain, nonce), PATH)
        assert answer.cache == "fwd=uri-miss"
        assert "no-store" in answer.headers["cache-control"]
        response = ocsp.load_der_ocsp_response(answer.body)
        if (
            response.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
        ):  # the live signer may still be starting
            assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


def test_a_refused_request_is_never_a_copy(scene: Scene) -> None:
    for _ in range(2):
        answer = scene.edge.post(b"0\x03\x02\x01\x00", PATH)
        assert (answer.body, answer.cache) == (b"0\x03\n\x01\x01", "fwd=uri-miss")


def test_a_list_is_kept_no_longer_than_it_says(scene: Scene) -> None:
    target = "/repository/MOEACA/CRL2/complete.crl"
    answers: list[Answer] = []

    def is_hit() -> bool:
        answers.append(scene.edge.get(target))
        return answers[-1].cache == "hit"

    assert wait_until(is_hit)
    crl = x509.load_der_x509_crl(answers[-1].body)
    assert crl.next_update_utc is not None
    assert answers[-1].headers["expires"] == crl.next_update_utc.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert answers[-1].headers["cache-control"].startswith(f"max-age={MAX_AGE}, public")
    assert scene.edge.get(target, If_None_Match=answers[-1].headers["etag"]).status == 304
    published = scene.home.sealmint("crl", "publish")
    assert published
    assert wait_until(
        lambda: (
            x509.load_der_x509_crl(scene.edge.get(target).body).extensions.get_extension_for_class(
                x509.CRLNumber
            )
            != crl.extensions.get_extension_for_class(x509.CRLNumber)
        )
    )


def test_the_certificate_of_the_ca_is_a_copy(scene: Scene) -> None:
    target = "/repository/Certs/IssuedToThisCA.p7b"
    first, second = (scene.edge.get(target) for _ in range(2))
    assert (first.status, first.cache, second.cache) == (200, "fwd=uri-miss", "hit")


def test_the_host_itself_may_be_asked_how_it_is_from_here_only(scene: Scene) -> None:
    assert scene.edge.get("/healthz").body == b"alive\n"
    for target in ("/healthz", "/readyz", "//readyz"):
        assert scene.edge.ask("GET", target, source="127.0.0.9").status == 403


def test_each_request_with_a_token_is_counted_and_copies_are_not(scene: Scene) -> None:
    request = question(scene.home.certificate("accepted"))
    for _ in range(5):
        assert status_in(scene.edge.post(request, PATH)) is GOOD
        assert status_in(scene.edge.post(request, f"/t/{TOKEN}{PATH}")) is GOOD
        assert status_in(scene.edge.get(f"/t/{TOKEN}{target_of(request)}")) is GOOD

    def counted() -> int:
        spool = scene.home.path / "usage" / "spool"
        lines = [json.loads(line) for path in spool.glob("*.jsonl") for line in path.read_text().splitlines()]
        return sum(line["answers"] for line in lines if line["account"] == "paying")

    assert wait_until(lambda: counted() >= 10)
    assert counted() == 10
