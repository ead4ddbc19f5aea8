"""The pages: the same in both languages, the same as the JSON, and safe to look at."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from quart.typing import TestClientProtocol as Client

from engine.clock import SetClock
from engine.status.status_store import StatusReader
from responders.repository_site.responses import PROTECTION
from tests.judges.toy_authority import NOW
from tests.repository.issued_certificates import CHAIN_STORE
from tests.repository.sample_site import CPS, NEWS, NOTICE, OCSP_PATH, WITHDRAWN, SampleSite, url
from tests.responders.ocsp_requests import plain
from tests.responders.synthetic_status import GOOD, HELD, NEVER_ISSUED, REVOKED
from tests.responders.synthetic_status import WITHDRAWN as UNACCEPTED

PAGES = (
    "",
    "certificates",
    "certificates?q=台灣水泥",
    f"certificates?q={CHAIN_STORE}",
    "certificates?q=查無此名",
    f"certificates/{GOOD.hex().upper()}",
    f"certificates/{REVOKED.hex().upper()}",
    "status",
    f"status?serial={HELD.hex()}",
    "crls",
    "authorities",
    "documents",
    "notices",
    "news",
    f"publications/{CPS}",
    f"publications/{NOTICE}",
    f"publications/{NEWS}",
    "ocsp",
    "service",
)
LANGUAGES = {"zh": "zh-Hant-TW", "en": "en"}


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


async def page(client: Client, path: str, status: int = 200) -> str:
    response = await client.get(url(path))
    assert response.status_code == status, path
    return await response.get_data(as_text=True)


async def told(client: Client, path: str) -> Any:
    return json.loads(await (await client.get(url(f"/api/v1{path}"))).get_data(as_text=False))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_there_in_both_languages(client: Client, language: str, path: str) -> None:
    response = await client.get(url(f"/{language}/{path}"))
    text = await response.get_data(as_text=True)
    assert response.status_code == 200
    assert response.headers["Content-Language"] == LANGUAGES[language]
    assert {name: response.headers[name] for name in PROTECTION} == PROTECTION
    outline = Outline(text)
    assert outline.all("html") == [{"lang": LANGUAGES[language]}]
    assert len(outline.all("h1")) == len(outline.all("main")) == len(outline.all("title")) == 1
    assert outline.all("a")[0] == {"class": "skip", "href": "#main"}
    ids = [attributes["id"] for _, attributes in outline.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    others = [one["href"] for one in outline.all("a") if one.get("hreflang")]
    assert others == [url(f"/{'en' if language == 'zh' else 'zh'}/{path}")]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", PAGES)
async def test_pages_run_nothing_and_load_nothing_from_elsewhere(
    client: Client, language: str, path: str
) -> None:
    outline = Outline(await page(client, f"/{language}/{path}"))
    assert {"script", "iframe", "object", "embed", "style", "base"}.isdisjoint(
        tag for tag, _ in outline.elements
    )
    for _, attributes in outline.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes)
        for name in ("href", "src", "action"):
            target = attributes.get(name) or "/"
            assert re.match(r"[/#?]", target), target
            assert not target.startswith("//")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_link_of_every_page_leads_somewhere(client: Client, language: str) -> None:
    seen: set[str] = set()
    waiting = [f"/{language}/{path}" for path in PAGES]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        response = await client.get(url(path))
        assert response.status_code in (200, 302), path
        if response.content_type == "text/html; charset=utf-8" and response.status_code == 200:
            found = Outline(await response.get_data(as_text=True))
            links = [one["href"] or "" for tag in ("a", "link") for one in found.all(tag)]
            waiting += [link.split("#")[0] for link in links if link.startswith("/")]
    assert len(seen) > 40


@pytest.mark.parametrize("language", LANGUAGES)
async def test_pages_show_what_the_json_says(client: Client, language: str) -> None:
    found = await told(client, f"/certificates?name={CHAIN_STORE}")
    text = await page(client, f"/{language}/certificates?q={CHAIN_STORE}")
    serials = re.findall(rf'href="/{language}/certificates/([0-9A-F]{{32}})"', text)
    assert serials == [one["serial"] for one in found["certificates"]]
    assert f"after={found['next']}" in text
    one = await told(client, f"/certificates/{REVOKED.hex()}")
    text = unescape(await page(client, f"/{language}/certificates/{REVOKED.hex()}"))
    assert one["status"]["state"] == "revoked"
    shown = (
        "serial",
        "name",
        "unit_name",
        "number",
        "sha256",
        "subject",
        "issuer",
        "public_key",
        "der",
        "pem",
    )
    assert [name for name in shown if one[name] not in text] == []
    assert one["status"]["reason"] in text
    crls = (await told(client, "/crls"))["crls"]
    text = await page(client, f"/{language}/crls")
    assert re.findall(r'href="([^"]*\.crl)"', text) == [crl["path"] for crl in crls]
    for crl in crls:
        assert str(crl["number"]) in text
        assert text.count(f'datetime="{crl["next_update"]}"') >= 1
    for name in ("documents", "notices", "news"):
        listed = (await told(client, f"/{name}"))["publications"]
        text = unescape(await page(client, f"/{language}/{name}"))
        numbers = re.findall(rf'href="/{language}/publications/(\d+)"', text)
        assert sorted(map(int, numbers)) == sorted(entry["id"] for entry in listed)
        assert all(entry[f"title_{language}"] in text for entry in listed)


@pytest.mark.cps("4.3.1")
@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_unaccepted_certificate_is_on_no_page_and_its_status_is(
    client: Client, language: str
) -> None:
    digits = UNACCEPTED.hex().upper()
    missing = await page(client, f"/{language}/certificates/{NEVER_ISSUED.hex()}", 404)
    assert await page(client, f"/{language}/certificates/{digits}", 404) == missing
    none = await page(client, f"/{language}/certificates?q={NEVER_ISSUED.hex()}")
    found = await page(client, f"/{language}/certificates?q={digits}")
    assert found.replace(digits, "") == none.replace(NEVER_ISSUED.hex(), "")
    status = await page(client, f"/{language}/status?serial={digits}")
    assert 'class="badge good"' in status


@pytest.mark.cps("2.5.2")
@pytest.mark.cps("4.4.12")
async def test_that_ocsp_is_paid_for_is_explained(client: Client) -> None:
    text = await page(client, "/zh/ocsp")
    assert "免收查詢費用" in text
    assert "收費服務" in text
    assert "OCSP 查詢服務收費標準" in text
    assert "charged for" in await page(client, "/en/ocsp")


@pytest.mark.cps("8.1.2.1")
@pytest.mark.cps("8.1.2.3")
async def test_notices_say_how_long_they_stand_and_until_when_comments_are_taken(client: Client) -> None:
    text = await page(client, "/en/notices")
    assert re.search(r"Large.*?30 days.*?15 days.*?Small.*?15 days.*?7 days", text, re.DOTALL)
    assert "Open for comments" in text
    assert "Planned to be in force from" in text
    assert "In force since" in text


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("certificates?q=" + "甲" * 129, "q"),
        ("certificates?q=甲\u202e乙", "q"),
        ("certificates?q=甲乙&after=x", "q"),
        ("certificates?q=甲乙&after=99999999999999999999", "q"),
        ("status?serial=12", "serial"),
        ("status?serial=" + "0" * 5000, "serial"),
    ],
)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_bad_question_is_explained_beside_its_field(
    client: Client, language: str, path: str, field: str
) -> None:
    outline = Outline(await page(client, f"/{language}/{path}", 400))
    (entry,) = [one for one in outline.all("input") if one["name"] == field]
    assert entry["aria-invalid"] == "true"
    (alert,) = [one for _, one in outline.elements if one.get("role") == "alert"]
    assert (alert["id"] or "-") in (entry["aria-describedby"] or "")


async def test_what_is_typed_is_shown_as_text(client: Client) -> None:
    hostile = '"><script>alert(1)</script>{{7331*3}}'
    text = await page(client, f"/zh/certificates?q={hostile}")
    assert "<script" not in text
    assert "21993" not in text
    assert Outline(text).all("input")[0]["value"] == hostile


@pytest.mark.parametrize("language", LANGUAGES)
async def test_what_is_not_there_has_a_page(client: Client, language: str) -> None:
    for path in ("nothing", "certificates/zz", "publications/999", "publications/²", "a/b/c"):
        assert LANGUAGES[language] in await page(client, f"/{language}/{path}", 404)
    withdrawn = await page(client, f"/{language}/publications/{WITHDRAWN}", 410)
    assert "撤下的內容" not in withdrawn
    assert "withdrawn content" not in withdrawn
    response = await client.post(f"/{language}/certificates")
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("accepted", "language"),
    [(None, "zh"), ("zh-TW,zh;q=0.9,en;q=0.8", "zh"), ("en-GB,en;q=0.9", "en"), ("fr", "zh"), ("*", "zh")],
)
async def test_the_entrance_leads_to_the_readers_language(
    client: Client, accepted: str | None, language: str
) -> None:
    headers = {} if accepted is None else {"Accept-Language": accepted}
    for path, rest in (("/", ""), ("/repository/", ""), ("/repository/Certs/", "authorities")):
        response = await client.get(path, headers=headers)
        assert (response.status_code, response.headers["Vary"]) == (302, "Accept-Language")
        assert response.headers["Location"] == f"/{language}/{rest}"
    assert (await client.get(f"/{language}")).headers["Location"] == f"/{language}/"


async def test_a_page_that_is_known_is_not_sent_again(client: Client) -> None:
    for path in ("/zh/crls", "/zh/documents", "/api/v1/crls", "/site/site.css"):
        first = await client.get(path)
        again = await client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, await again.get_data(as_text=False)) == (304, b"")
        assert first.headers["Cache-Control"].startswith("public, max-age=")
    for path in ("/zh/status?serial=" + GOOD.hex(), "/zh/certificates?q=11913502", "/zh/service"):
        assert (await client.get(path)).headers["Cache-Control"] == "no-store"


async def test_ocsp_and_the_historic_addresses_are_answered_as_before(
    client: Client, sample: SampleSite
) -> None:
    question = plain(GOOD, sample.status.issuer)
    for path in ("/", OCSP_PATH):
        response = await client.post(path, data=question)
        assert (response.status_code, response.content_type) == (200, "application/ocsp-response")
    for path in ("/repository/Certs/IssuedToThisCA.p7b", "/repository/MOEACA/CRL2/complete.crl", "/healthz"):
        response = await client.get(path)
        assert response.status_code == 200
        assert "Content-Security-Policy" not in response.headers


async def test_a_host_to_which_nothing_came_yet_has_all_its_pages(tmp_path: Path) -> None:
    site = SampleSite(tmp_path, SetClock(NOW))
    site.status.build()
    with StatusReader(site.status.directory) as reader:
        client = site.application(reader).test_client()
        for path in ("", "certificates?q=甲乙", "crls", "documents", "notices", "news", "ocsp", "service"):
            assert "<h1>" in await page(client, f"/zh/{path}")
        assert (await told(client, "/service"))["certificates"] is None


async def test_a_damaged_copy_is_an_answer_of_its_own(tmp_path: Path) -> None:
    site = SampleSite(tmp_path, SetClock(NOW))
    site.status.build()
    (site.repository / "certificates.sqlite").write_bytes(b"damaged" * 1000)
    (site.repository / "publications.json").write_text("[")
    with StatusReader(site.status.directory) as reader:
        client = site.application(reader).test_client()
        for path in ("/zh/", "/zh/certificates?q=甲乙", "/en/documents", "/api/v1/certificates?name=甲乙"):
            response = await client.get(url(path))
            assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
            assert str(tmp_path) not in await response.get_data(as_text=True)


HOSTILE = st.text(st.characters(codec="utf-8"), max_size=40) | st.from_regex(r"[0-9A-Fa-f:% ]{0,40}")
TARGETS = st.sampled_from(
    [
        "/zh/certificates?q={}",
        "/zh/certificates?q=甲乙&after={}",
        "/zh/certificates/{}",
        "/en/status?serial={}",
        "/en/publications/{}",
        "/en/{}",
        "/api/v1/certificates?name={}",
        "/api/v1/certificates?number={}",
        "/api/v1/certificates?name=甲乙&limit={}",
        "/api/v1/certificates?{}=甲乙",
        "/api/v1/certificates/{}",
        "/api/v1/status/{}",
        "/api/v1/publications/{}",
        "/api/v1/publications/{}/content",
        "/api/v1/authorities/{}",
        "/site/{}",
        "/repository/{}",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(target=TARGETS, text=HOSTILE)
async def test_no_question_is_too_odd(client: Client, target: str, text: str) -> None:
    response = await client.get(url(target).replace("%7B%7D", url(text).replace("%", "%25")))
    assert response.status_code < 500
