"""The site in Debian's Chromium: nothing overflows, nothing is asked of other hosts, and it is used without a mouse."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from responders.repository_site.wording import Language, texts
from tests.chromium import TOO_FAINT, chromium, watched_page
from tests.repository.issued_certificates import CHAIN_STORE
from tests.repository.sample_site import CPS, NOTICE
from tests.responders.synthetic_status import GOOD, HELD

pytestmark = pytest.mark.judge("chromium")

ROOT = Path(__file__).parents[2]
PAGES = (
    "",
    "certificates",
    f"certificates?q={CHAIN_STORE}",
    "certificates?q=亞洲水泥",
    f"certificates/{GOOD.hex()}",
    f"status?serial={HELD.hex()}",
    "crls",
    "authorities",
    "documents",
    "notices",
    "news",
    f"publications/{CPS}",
    f"publications/{NOTICE}",
    "ocsp",
    "service",
)
REFUSED = ("status?serial=12", "nothing")
"""Pages with an error status, which the browser reports on its console."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the sample site is served, by a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.repository.served_site", str(tmp_path_factory.mktemp("served"))],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}"
        process.communicate()
    assert process.returncode == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@contextmanager
def window(
    browser: Browser, address: str, width: int, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Page]:
    """A page that may say nothing on its console and ask no other host."""
    with watched_page(browser, address, width, scheme) as (page, seen):
        yield page
    assert [line for line in seen.said if not any(path in line for path in REFUSED)] == []
    assert seen.asked == {urlsplit(address).netloc}


@pytest.mark.parametrize(
    ("width", "scheme", "language"),
    [(390, "light", "zh"), (390, "dark", "en"), (1280, "light", "en"), (1280, "dark", "zh")],
)
def test_every_page_fits_and_can_be_read(
    browser: Browser, address: str, width: int, scheme: Literal["light", "dark"], language: str
) -> None:
    with window(browser, address, width, scheme) as page:
        for path in PAGES + REFUSED:
            page.goto(f"/{language}/{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            looked, faint = page.evaluate(TOO_FAINT)
            assert looked > 15, path
            assert faint == [], path
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (sum(map(int, re.findall(r"\d+", ground))) < 382) == (scheme == "dark")


def test_nothing_overflows_at_the_width_of_reflow(browser: Browser, address: str) -> None:
    """WCAG 2.2, 1.4.10: 320 CSS pixels, which is 1280 at 400 %."""
    with window(browser, address, 320) as page:
        for path in PAGES + REFUSED:
            page.goto(f"/en/{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= 320, path


@pytest.mark.parametrize("width", [390, 1280])
def test_everything_that_is_used_has_a_name(browser: Browser, address: str, width: int) -> None:
    with window(browser, address, width) as page:
        for path in PAGES + REFUSED:
            page.goto(f"/zh/{path}")
            tree = page.locator("body").aria_snapshot()
            for role in ("banner", "main", "contentinfo"):
                assert re.search(rf"^- {role}:", tree, re.MULTILINE), (path, role)
            assert re.search(r'- navigation "主要選單":', tree), path
            unnamed = re.findall(
                r"^\s*- (?:link|button|searchbox|textbox|table|navigation|region|search)(?::| \[|$).*",
                tree,
                re.M,
            )
            assert unnamed == [], path


@pytest.mark.parametrize("width", [390, 1280])
def test_a_table_is_a_table_in_cards_too(browser: Browser, address: str, width: int) -> None:
    with window(browser, address, width) as page:
        page.goto(f"/zh/certificates?q={CHAIN_STORE}")
        table = page.get_by_role("table", name="查詢結果")
        expect(table.get_by_role("row")).to_have_count(21)
        expect(table.get_by_role("columnheader")).to_have_count(7)
        expect(table.get_by_role("rowheader")).to_have_count(20)
        expect(table.get_by_role("row").nth(1).get_by_role("cell")).to_have_count(6)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("language", list(Language))
def test_a_certificate_is_found_without_a_mouse(
    browser: Browser, address: str, width: int, language: Language
) -> None:
    words = texts(language)
    with window(browser, address, width) as page:
        page.goto(f"/{language.value}/")
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name=words["site"]["skip"])
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport(ratio=1)
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        page.keyboard.press("Tab")
        field = page.get_by_role("searchbox", name=words["certificates"]["label"])
        expect(field).to_be_focused()
        assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)") >= 2
        page.keyboard.type("台灣水泥")
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(r"q="))
        heading = words["certificates"]["results_for"].replace("{}", "台灣水泥")
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        expect(page.get_by_role("searchbox")).to_have_value("台灣水泥")
        link = page.get_by_role("rowheader").get_by_role("link").first
        link.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("臺灣水泥股份有限公司")


def test_the_order_of_tab_is_that_of_the_page(browser: Browser, address: str) -> None:
    with window(browser, address, 1280) as page:
        page.goto("/zh/documents")
        wanted = page.locator("a, button, input").evaluate_all(
            "all => all.map(one => one.textContent.trim())"
        )
        reached = []
        for _ in wanted:
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.textContent.trim()"))
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", reached
        assert reached == wanted


def test_a_mistake_is_announced_where_it_was_made(browser: Browser, address: str) -> None:
    with window(browser, address, 390) as page:
        page.goto("/zh/status")
        page.get_by_role("searchbox").fill("12")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("32 位十六進位")
        expect(page.get_by_role("searchbox")).to_have_accessible_description(re.compile("32 位十六進位"))


def test_the_other_language_shows_the_same_page(browser: Browser, address: str) -> None:
    with window(browser, address, 1280) as page:
        page.goto("/zh/certificates?q=台灣水泥")
        page.get_by_role("link", name="English").click()
        expect(page).to_have_url(re.compile(r"/en/certificates\?q="))
        expect(page.get_by_role("heading", name="Results for “台灣水泥”")).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == "en"
