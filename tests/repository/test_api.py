"""The JSON of the repository: what is told, what is not, and how a bad question is answered."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import pkcs7
from quart.typing import TestClientProtocol as Client

from engine.status.status_store import StatusReader
from tests.repository.issued_certificates import CHAIN_STORE, accepted
from tests.repository.sample_site import (
    CPS,
    FEES,
    NEWS,
    NEXT_CPS,
    NOTICE,
    OLD_CPS,
    PAST_NOTICE,
    PDF,
    WITHDRAWN,
    SampleSite,
    url,
)
from tests.responders.synthetic_status import ENCRYPTION, GOOD, HELD, NEVER_ISSUED, REVOKED, START, der_of
from tests.responders.synthetic_status import LONG_EXPIRED as UNACCEPTED_EXPIRED
from tests.responders.synthetic_status import WITHDRAWN as UNACCEPTED


async def get(client: Client, path: str, status: int = 200) -> Any:
    response = await client.get(url(f"/api/v1{path}"))
    body = await response.get_data(as_text=False)
    assert response.status_code == status, (path, response.status_code, body)
    assert response.content_type == "application/json"
    return json.loads(body)


def hexadecimal(serial: bytes) -> str:
    return serial.hex().upper()


async def test_certificates_are_found_by_name_number_and_serial(client: Client) -> None:
    by_name = await get(client, "/certificates?name=台灣水泥")
    by_number = await get(client, "/certificates?number=11913502")
    (by_serial,) = (await get(client, f"/certificates?serial={GOOD.hex()}"))["certificates"]
    assert [one["serial"] for one in by_name["certificates"]] == [hexadecimal(GOOD), hexadecimal(ENCRYPTION)]
    assert by_name == by_number
    assert by_serial == by_name["certificates"][0]
    assert by_serial == {
        "serial": hexadecimal(GOOD),
        "kind": "company",
        "name": "臺灣水泥股份有限公司",
        "unit_name": None,
        "county": None,
        "number": "11913502",
        "usage": "signature",
        "rank": "primary",
        "not_before": "2026-11-23T02:03:04Z",
        "not_after": "2031-11-22T15:59:59Z",
        "status": {"serial": hexadecimal(GOOD), "state": "good", "since": None, "reason": None},
    }


async def test_pages_follow_each_other_without_gap_or_repeat(client: Client) -> None:
    found: list[str] = []
    after: int | None = 0
    while after is not None:
        page = await get(client, f"/certificates?name={CHAIN_STORE}&limit=10&after={after}")
        assert len(page["certificates"]) <= 10
        found += [one["name"] for one in page["certificates"]]
        after = page["next"]
    assert len(found) == len(set(found)) == 45
    assert found == sorted(found)


@pytest.mark.cps("2.6.1")
async def test_a_certificate_comes_as_it_was_issued(client: Client, sample: SampleSite) -> None:
    issued = {row.serial: row for row in accepted(sample.toy.ca)}[GOOD]
    told = await get(client, f"/certificates/{GOOD.hex()}")
    der = await (await client.get(told["der"])).get_data(as_text=False)
    text = await (await client.get(told["pem"])).get_data(as_text=False)
    certificate = x509.load_der_x509_certificate(der)
    assert certificate.serial_number == int.from_bytes(issued.serial, "big")
    certificate.verify_directly_issued_by(sample.toy.ca.certificate)
    assert x509.load_pem_x509_certificate(text) == certificate
    assert told["sha256"] == hashlib.sha256(der).hexdigest()
    assert told["subject"] == "C=TW, O=臺灣水泥股份有限公司, serialNumber=20261123000042"
    assert told["public_key"] == "RSA 2048"


@pytest.mark.cps("4.3.1")
@pytest.mark.parametrize("serial", [UNACCEPTED, UNACCEPTED_EXPIRED])
async def test_of_an_unaccepted_certificate_nothing_but_its_status_is_told(
    client: Client, serial: bytes
) -> None:
    digits = hexadecimal(serial)
    assert await get(client, f"/certificates?serial={digits}") == {"certificates": [], "next": None}
    unknown = await get(client, f"/certificates/{hexadecimal(NEVER_ISSUED)}", 404)
    for path in (f"/certificates/{digits}", f"/certificates/{digits}.cer", f"/certificates/{digits}.pem"):
        assert await get(client, path, 404) == unknown
    assert await get(client, f"/status/{digits}") == {
        "serial": digits,
        "state": "good",
        "since": None,
        "reason": None,
    }


@pytest.mark.cps("2.8.2")
async def test_the_status_of_every_serial_is_told(client: Client) -> None:
    def at(seconds: int) -> str:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    held = await get(client, f"/status/{HELD.hex()}")
    assert (held["state"], held["since"], held["reason"]) == ("suspended", at(START - 50), "certificateHold")
    revoked = await get(client, f"/status/{REVOKED.hex()}")
    assert (revoked["state"], revoked["since"]) == ("revoked", at(START - 5_000))
    assert revoked["reason"] == "keyCompromise"
    unknown = await get(client, f"/status/{NEVER_ISSUED.hex()}")
    assert (unknown["state"], unknown["since"], unknown["reason"]) == ("unknown", None, None)


async def test_a_host_that_is_behind_tells_no_status(sample: SampleSite, reader: StatusReader) -> None:
    settings = sample.configuration.ocsp.model_copy(update={"stale_seconds": 60})
    before, moved = sample.configuration, sample.configuration.model_copy(update={"ocsp": settings})
    try:
        sample.configuration = moved
        client = sample.application(reader).test_client()
        assert (await get(client, f"/status/{GOOD.hex()}"))["state"] == "good"
        sample.status.build(written_at=START - 61)
        refused = await client.get(f"/api/v1/status/{GOOD.hex()}")
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        (one,) = (await get(client, f"/certificates?serial={GOOD.hex()}"))["certificates"]
        assert one["status"] is None
        assert (await get(client, "/service"))["status"]["is_current"] is False
        page = await client.get(f"/zh/status?serial={GOOD.hex()}")
        assert page.status_code == 503
        assert "有效" not in await page.get_data(as_text=True)
    finally:
        sample.configuration = before
        sample.status.build()


async def test_crls_are_told_with_their_numbers_and_ages(client: Client) -> None:
    crls = (await get(client, "/crls"))["crls"]
    assert [(one["kind"], one["number"], one["is_current"]) for one in crls] == [
        ("complete", 2026112301, True),
        ("partition", 2026112302, True),
        ("partition", 2026112001, False),
        ("delta", 2026112303, True),
    ]
    for one in crls:
        octets = await (await client.get(one["path"])).get_data(as_text=False)
        parsed = x509.load_der_x509_crl(octets)
        assert parsed.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == one["number"]
        assert len(octets) == one["size"]


async def test_the_chain_in_every_form(client: Client, sample: SampleSite) -> None:
    told = await get(client, "/authorities")
    chain = [sample.toy.ca.certificate, sample.toy.root.certificate]
    for one, holder in zip(told["authorities"], (sample.toy.ca, sample.toy.root), strict=True):
        der = await (await client.get(one["der"])).get_data(as_text=False)
        text = await (await client.get(one["pem"])).get_data(as_text=False)
        assert der == der_of(holder)
        assert x509.load_pem_x509_certificate(text) == holder.certificate
        assert one["sha256"] == hashlib.sha256(der).hexdigest()
    bundle = await (await client.get(told["chain_p7b"])).get_data(as_text=False)
    assert set(pkcs7.load_der_pkcs7_certificates(bundle)) == set(chain)
    text = await (await client.get(told["chain_pem"])).get_data(as_text=False)
    assert x509.load_pem_x509_certificates(text) == chain


@pytest.mark.cps("8.1")
async def test_publications_stand_where_their_times_say(client: Client) -> None:
    documents = (await get(client, "/documents"))["publications"]
    assert [(one["id"], one["standing"]) for one in documents] == [
        (CPS, "in-force"),
        (NEXT_CPS, "upcoming"),
        (OLD_CPS, "past"),
        (FEES, "in-force"),
    ]
    notices = (await get(client, "/notices"))["publications"]
    assert [(one["id"], one["standing"], one["comments_open"]) for one in notices] == [
        (NOTICE, "in-force", True),
        (PAST_NOTICE, "past", False),
    ]
    assert [one["id"] for one in (await get(client, "/news"))["publications"]] == [NEWS]


async def test_a_document_is_downloaded_under_its_name(client: Client) -> None:
    told = (await get(client, f"/publications/{CPS}"))["file"]
    response = await client.get(told["path"])
    octets = await response.get_data(as_text=False)
    assert octets == PDF + told["name"].encode()
    assert hashlib.sha256(octets).hexdigest() == told["sha256"]
    assert len(octets) == told["size"]
    assert response.content_type == "application/pdf"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="')
    assert "filename*=UTF-8''%E5%B7%A5" in response.headers["Content-Disposition"]
    known = await client.get(told["path"], headers={"If-None-Match": response.headers["ETag"]})
    assert known.status_code == 304


async def test_of_what_was_withdrawn_only_the_title_stays(client: Client) -> None:
    told = await get(client, f"/publications/{WITHDRAWN}")
    assert (told["standing"], told["text_zh"], told["text_en"], told["file"]) == ("withdrawn", "", "", None)
    assert (await client.get(f"/api/v1/publications/{WITHDRAWN}/content")).status_code == 404


BAD = {
    "/certificates": "serial, number, name",
    "/certificates?name=甲&number=11913502": "serial, number, name",
    "/certificates?name=": "name",
    "/certificates?name=%20%20": "name",
    "/certificates?name=%00甲": "name",
    "/certificates?name=" + "甲" * 129: "name",
    "/certificates?name=甲&name=乙": "name",
    "/certificates?number=1191350": "number",
    "/certificates?number=１１９１３５０２": "number",
    "/certificates?serial=12": "serial",
    "/certificates?name=甲乙&limit=0": "limit",
    "/certificates?name=甲乙&limit=101": "limit",
    "/certificates?name=甲乙&after=-1": "after",
    "/certificates?name=甲乙&after=9223372036854775808": "after",
    "/certificates?nme=甲乙": "nme",
    "/certificates/zz": "serial",
    "/status/" + "0" * 31: "serial",
}


@pytest.mark.parametrize("path", BAD)
async def test_a_bad_question_is_told_its_field_and_rule(client: Client, path: str) -> None:
    told = await get(client, path, 400)
    assert told["field"] == BAD[path]
    assert told["rule"]


@pytest.mark.parametrize(
    "path", ["/nothing", "/publications/999", "/publications/x", "/authorities/x.cer", "/publications/１"]
)
async def test_what_is_not_there_is_told_so(client: Client, path: str) -> None:
    assert (await get(client, path, 404))["error"]


async def test_nothing_can_be_written(client: Client) -> None:
    for method in ("post", "put", "delete", "patch", "options"):
        response = await getattr(client, method)("/api/v1/crls")
        assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_too_many_searches_at_once_are_told_to_come_again(
    sample: SampleSite, reader: StatusReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("responders.repository_site.site.WAITING_TO_READ", 0)
    client = sample.application(reader).test_client()
    response = await client.get(url("/api/v1/certificates?name=甲乙"))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    page = await client.get(url("/zh/certificates?q=甲乙"))
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")


async def test_many_searches_are_answered_side_by_side(client: Client) -> None:
    answers: list[int] = []

    async def ask() -> None:
        answers.append(len((await get(client, "/certificates?name=台灣"))["certificates"]))

    async with trio.open_nursery() as nursery:
        for _ in range(12):
            nursery.start_soon(ask)
    assert answers == [2] * 12


async def test_the_description_has_the_api_and_nothing_else(client: Client) -> None:
    document = await get(client, "/openapi.json")
    assert set(document["paths"]) == {
        "/api/v1/certificates",
        "/api/v1/certificates/{serial}",
        "/api/v1/status/{serial}",
        "/api/v1/crls",
        "/api/v1/authorities",
        "/api/v1/authorities/{name}",
        "/api/v1/documents",
        "/api/v1/news",
        "/api/v1/notices",
        "/api/v1/publications/{number}",
        "/api/v1/publications/{number}/content",
        "/api/v1/service",
    }
    parameters = document["paths"]["/api/v1/certificates"]["get"]["parameters"]
    assert {one["name"] for one in parameters} == {"serial", "number", "name", "after", "limit"}
    for path in ("/docs", "/redocs", "/scalar"):
        assert (await client.get(path)).status_code == 404
