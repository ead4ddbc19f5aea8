"""The web application behind hypercorn, asked over loopback with the standard library's client."""

from __future__ import annotations

import base64
import http.client
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509 import ocsp

from engine.clock import SetClock
from engine.status.crl_files import file_of
from engine.status.status_store import StatusReader
from engine.x509.ocsp_response import ResponseStatus, error_response
from engine.x509.profiles import load_profiles
from responders.app import PIECE_OCTETS, Pages, crl_paths, make_app
from responders.authority_documents import authority_documents
from responders.http_times import http_date, whole_seconds
from responders.ocsp_answer import OcspResponder
from responders.ocsp_http import OcspHttp
from responders.opening import path_of
from responders.readiness import Readiness
from responders.web_process import hypercorn_settings
from responders.web_server import serve_web
from tests.judges.toy_authority import NOW, ToyAuthority
from tests.judges.toy_crl import crl
from tests.responders.ocsp_requests import plain
from tests.responders.synthetic_status import GOOD, REVOKED, START, SyntheticStatus, configuration, der_of

PROFILES = load_profiles()
PARTITION_URI, COMPLETE_URI = PROFILES.crl_uris(7)
PROFILE = PROFILES.certificates()[0]
OCSP_PATH, CA_ISSUERS_PATH = path_of(PROFILE.ocsp or ""), path_of(PROFILE.ca_issuers or "")


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    """With names spelled as `spelled` does."""
    body: bytes


def spelled(name: str) -> str:
    return {"etag": "ETag"}.get(name.lower(), name.title())


class Site:
    """The application on a port, with a clock that is moved."""

    def __init__(self, directory: Path, status: SyntheticStatus) -> None:
        self.toy = status.toy
        self.issuer = status.issuer
        self.crls = directory / "crl"
        self.clock = SetClock(NOW)
        self.reader = StatusReader(status.directory)
        settings = configuration(live_signer=None)
        settings = settings.model_copy(
            update={"crl": settings.crl.model_copy(update={"directory": str(self.crls)})}
        )
        responder = OcspResponder(self.reader, settings, self.clock, None)
        self.app = make_app(
            Pages(
                ocsp=OcspHttp(responder, whole_seconds(self.clock), max_age=300, path=OCSP_PATH.encode()),
                documents=authority_documents(
                    CA_ISSUERS_PATH, der_of(status.toy.ca), der_of(status.toy.root)
                ),
                crls=self.crls,
                crl_paths=crl_paths(PROFILES),
                readiness=Readiness(settings, self.reader, self.clock),
                max_age=300,
                clock=self.clock,
            )
        )
        self.listening = socket.create_server(("127.0.0.1", 0))

    def publish(self, uri: str, octets: bytes) -> None:
        path = file_of(self.crls, uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial_file = path.with_name("." + path.name)
        partial_file.write_bytes(octets)
        partial_file.rename(path)

    async def ask(
        self, target: str, method: str = "GET", body: bytes | None = None, /, **headers: str
    ) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await trio.to_thread.run_sync(partial(self._ask, target, method, body, named))

    def _ask(self, target: str, method: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection(*self.listening.getsockname())
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            fields = [(spelled(name), value) for name, value in response.getheaders()]
            assert len(fields) == len(dict(fields)), fields
            return Answer(response.status, dict(fields), response.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> SyntheticStatus:
    made = SyntheticStatus(tmp_path_factory.mktemp("status"), ToyAuthority())
    made.build()
    return made


@pytest.fixture
async def site(tmp_path: Path, status: SyntheticStatus) -> AsyncIterator[Site]:
    made = Site(tmp_path, status)
    with made.listening, made.reader:
        settings = hypercorn_settings(os.dup(made.listening.fileno()))
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_web, made.app, settings, trio.sleep_forever))
            yield made
            nursery.cancel_scope.cancel()


def in_url(serial: bytes, site: Site) -> str:
    return "/" + quote(base64.b64encode(plain(serial, site.issuer)), safe="")


async def test_ocsp_is_answered_by_get_and_post_alike(site: Site) -> None:
    by_get = await site.ask(in_url(GOOD, site))
    by_path = await site.ask(OCSP_PATH + in_url(GOOD, site))
    by_post = await site.ask("/", "POST", plain(GOOD, site.issuer))
    assert by_get == by_path == by_post
    assert by_get.status == 200
    assert ocsp.load_der_ocsp_response(by_get.body).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL
    assert by_get.headers["Content-Type"] == "application/ocsp-response"
    assert by_get.headers["Content-Length"] == str(len(by_get.body))
    assert by_get.headers["Cache-Control"] == "max-age=300, public, no-transform, must-revalidate"
    assert by_get.headers["Date"] == http_date(START).decode()


async def test_slashes_of_base64_are_not_merged_by_the_router(site: Site) -> None:
    """The serial of REVOKED is one of many; here the spelling counts."""
    spelled = base64.b64encode(plain(REVOKED, site.issuer)).decode()
    expected = (await site.ask("/", "POST", plain(REVOKED, site.issuer))).body
    for target in ("/" + spelled, "//" + spelled, OCSP_PATH + "//" + spelled.rstrip("=")):
        assert (await site.ask(target)).body == expected


async def test_ocsp_conditions_and_refusals(site: Site) -> None:
    first = await site.ask(in_url(GOOD, site))
    again = await site.ask(in_url(GOOD, site), If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Content-Type" not in again.headers
    for method in ("PUT", "OPTIONS", "HEAD", "DELETE"):
        refused = await site.ask("/", method)
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, POST")
    malformed = await site.ask("/", "POST", b"nonsense")
    assert (malformed.status, malformed.body) == (200, error_response(ResponseStatus.MALFORMED_REQUEST))
    assert (await site.ask("/favicon.ico")).status == 404
    assert (await site.ask("/", "POST", bytes(100_000))).status == 413


async def test_a_crl_is_served_with_true_dates(site: Site) -> None:
    octets = crl(site.toy.ca, {1: x509.ReasonFlags.key_compromise})
    site.publish(PARTITION_URI, octets)
    answer = await site.ask(path_of(PARTITION_URI))
    assert (answer.status, answer.body) == (200, octets)
    parsed = x509.load_der_x509_crl(octets)
    assert parsed.next_update_utc is not None
    assert answer.headers["Content-Type"] == "application/pkix-crl"
    assert answer.headers["Last-Modified"] == http_date(int(parsed.last_update_utc.timestamp())).decode()
    assert answer.headers["Expires"] == http_date(int(parsed.next_update_utc.timestamp())).decode()
    assert answer.headers["Cache-Control"] == "max-age=300, public, no-transform, must-revalidate"
    site.clock.move(timedelta(hours=2) - timedelta(seconds=7))
    nearly = await site.ask(path_of(PARTITION_URI))
    assert nearly.headers["Cache-Control"].startswith("max-age=7, ")
    assert (await site.ask(path_of(COMPLETE_URI))).status == 404


async def test_who_has_the_crl_is_told_so(site: Site) -> None:
    path = path_of(COMPLETE_URI)
    site.publish(COMPLETE_URI, crl(site.toy.ca, {}))
    first = await site.ask(path)
    tag, date = first.headers["ETag"], first.headers["Last-Modified"]
    for condition in ({"If_None_Match": tag}, {"If_Modified_Since": date}):
        known = await site.ask(path, "GET", None, **condition)
        assert (known.status, known.body) == (304, b"")
        assert known.headers["ETag"] == tag
    for condition in (
        {"If_None_Match": '"other"'},
        {"If_None_Match": '"other"', "If_Modified_Since": date},
        {"If_Modified_Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
        {"If_Modified_Since": "yesterday"},
    ):
        assert (await site.ask(path, "GET", None, **condition)).status == 200
    site.publish(COMPLETE_URI, crl(site.toy.ca, {5: x509.ReasonFlags.superseded}))
    assert (await site.ask(path, If_None_Match=tag)).status == 200


async def test_head_tells_the_length_and_sends_nothing(site: Site) -> None:
    octets = crl(site.toy.ca, {})
    site.publish(COMPLETE_URI, octets)
    answer = await site.ask(path_of(COMPLETE_URI), "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(octets))


async def test_a_crl_of_many_pieces_arrives_whole(site: Site) -> None:
    entries = dict.fromkeys(range(1, 6000), x509.ReasonFlags.superseded)
    octets = crl(site.toy.ca, entries)
    assert len(octets) > 2 * PIECE_OCTETS
    site.publish(COMPLETE_URI, octets)
    assert (await site.ask(path_of(COMPLETE_URI))).body == octets


@pytest.mark.parametrize("name", ["..%2F..%2Fsealmint.toml", "../x.crl", ".CRL_0007.crl", "%00", ""])
async def test_nothing_else_of_the_directory_is_served(site: Site, name: str) -> None:
    site.publish(PARTITION_URI, crl(site.toy.ca, {}))
    (site.crls.parent / "sealmint.toml").write_text("[token]")
    directory = path_of(PARTITION_URI).rpartition("/")[0]
    assert (await site.ask(f"{directory}/{name}")).status == 404


async def test_ca_certificates_lie_where_certificates_say(site: Site) -> None:
    """RFC 5280 section 4.2.2.1: a certs-only message; and single certificates beside it."""
    bundle = await site.ask(CA_ISSUERS_PATH)
    assert bundle.headers["Content-Type"] == "application/pkcs7-mime; smime-type=certs-only"
    assert pkcs7.load_der_pkcs7_certificates(bundle.body) == [site.toy.ca.certificate]
    directory = CA_ISSUERS_PATH.rpartition("/")[0]
    for name, holder in (("ca.cer", site.toy.ca), ("root.cer", site.toy.root)):
        answer = await site.ask(f"{directory}/{name}")
        assert (answer.body, answer.headers["Content-Type"]) == (der_of(holder), "application/pkix-cert")
        assert (await site.ask(f"{directory}/{name}", If_None_Match=answer.headers["ETag"])).status == 304
    chain = await site.ask(f"{directory}/chain.pem")
    assert x509.load_pem_x509_certificates(chain.body) == [
        site.toy.ca.certificate,
        site.toy.root.certificate,
    ]


async def test_readiness_names_what_is_wrong(site: Site) -> None:
    site.publish(PARTITION_URI, crl(site.toy.ca, {}))
    assert (await site.ask("/healthz")).status == 200
    ready = await site.ask("/readyz")
    assert (ready.status, ready.headers["Cache-Control"]) == (200, "no-store")
    site.clock.move(timedelta(seconds=61))
    stale = await site.ask("/readyz")
    assert (stale.status, stale.body.count(b"\n")) == (503, 1)
    assert b"status store" in stale.body
    site.clock.move(timedelta(hours=3))
    lapsed = await site.ask("/readyz")
    assert lapsed.status == 503
    assert path_of(PARTITION_URI).encode() in lapsed.body
    assert (await site.ask("/healthz")).status == 200
