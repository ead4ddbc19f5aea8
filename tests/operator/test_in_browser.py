"""The page in Debian's Chromium: it fits, can be read, asks no other host, and is used without a mouse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from engine.home import Home
from responders.operator.pages import texts
from responders.repository_site.wording import Language
from tests.chromium import SAFETY_NET, TOO_FAINT, chromium, watched_page
from tests.cli.prepared_home import PreparedHome
from tests.operator.served_home import ServedOperator, operator_of

pytestmark = pytest.mark.judge("chromium")

EN = texts(Language.EN)

TOO_WIDE = """() => [...document.querySelectorAll("table, canvas, .badge, button")]
  .filter(one => one.checkVisibility() && one.scrollWidth > one.parentElement.clientWidth + 1)
  .map(one => one.id || one.textContent)"""
"""What sticks out of the place it has."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@contextmanager
def window(
    browser: Browser,
    served: ServedOperator,
    language: str = "en",
    width: int = 1280,
    scheme: Literal["light", "dark"] = "light",
) -> Iterator[Page]:
    """A page whose visitor has signed in; it may say nothing on its console and ask no other host."""
    with watched_page(browser, served.url, width, scheme) as (page, seen):
        page.goto(f"/login?language={language}")
        page.get_by_label(texts(Language(language))["login"]["label"], exact=True).fill(served.token)
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/{language}/")
        drawn(page)
        yield page
    assert seen.said == []
    assert seen.asked == {urlsplit(served.url).netloc}


def drawn(page: Page) -> None:
    page.wait_for_selector("html[data-drawn]", state="attached")


@pytest.mark.parametrize(
    ("width", "scheme", "language"),
    [(390, "light", "zh"), (390, "dark", "en"), (1280, "light", "en"), (1280, "dark", "zh")],
)
def test_the_page_fits_and_can_be_read(
    browser: Browser, busy: ServedOperator, width: int, scheme: Literal["light", "dark"], language: str
) -> None:
    with window(browser, busy, language, width, scheme) as page:
        expect(page.locator("#waits-chart canvas")).to_be_visible(timeout=SAFETY_NET)
        expect(page.locator("#ocsp-rate-chart canvas")).to_be_visible(timeout=SAFETY_NET)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(TOO_WIDE) == []
        looked, faint = page.evaluate(TOO_FAINT)
        assert looked > 100
        assert faint == []
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", ground))) < 382) == (scheme == "dark")


def test_nothing_overflows_at_the_width_of_reflow(browser: Browser, busy: ServedOperator) -> None:
    """WCAG 2.2, 1.4.10: 320 CSS pixels, which is 1280 at 400 %."""
    with window(browser, busy, width=320) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_the_switch_goes_before_the_system(browser: Browser, busy: ServedOperator) -> None:
    with window(browser, busy) as page:
        page.get_by_label(EN["site"]["scheme"]).select_option("dark")
        looked, faint = page.evaluate(TOO_FAINT)
        assert (looked > 100, faint) == (True, [])
        page.reload()
        drawn(page)
        expect(page.locator("html")).to_have_attribute("data-scheme", "dark")
        assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


@pytest.mark.parametrize("width", [390, 1280])
def test_everything_that_is_used_has_a_name(browser: Browser, busy: ServedOperator, width: int) -> None:
    with window(browser, busy, width=width) as page:
        tree = page.locator("body").aria_snapshot()
        for role in ("banner", "main"):
            assert re.search(rf"^- {role}:", tree, re.MULTILINE), role
        assert f'- navigation "{EN["site"]["sections"]}":' in tree
        for section in ("runs", "lanes", "sessions", "ocsp", "crls", "audit", "token", "processes"):
            assert f'- region "{EN[section]["title"]}":' in tree, section
        unnamed = re.findall(
            r"^\s*- (?:link|button|combobox|textbox|table|navigation|region|progressbar|meter|img)(?::| \[|$).*",
            tree,
            re.M,
        )
        assert unnamed == []
        table = page.get_by_role("table", name=EN["lanes"]["title"])
        expect(table.get_by_role("rowheader")).to_have_count(5)
        expect(table.get_by_role("columnheader")).to_have_count(9)


def test_other_hosts_are_out_of_reach(browser: Browser, busy: ServedOperator) -> None:
    context = browser.new_context(base_url=busy.url)
    page = context.new_page()
    answer = page.goto("/login")
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert set(re.findall(r"(?:script|style|img|connect)-src ([^;]+)", policy)) == {"'self'"}
    failed = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'let through', error => error.name)")
    assert failed == "TypeError"
    context.close()


def test_a_wrong_token_is_announced(browser: Browser, busy: ServedOperator) -> None:
    context = browser.new_context(base_url=busy.url)
    page = context.new_page()
    page.goto("/login?language=en")
    page.get_by_label(EN["login"]["label"], exact=True).fill("wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text(EN["login"]["wrong"], timeout=SAFETY_NET)
    context.close()


def test_a_run_is_started_paused_and_resumed_without_a_mouse(browser: Browser, home: PreparedHome) -> None:
    home.hsm.latency("C_Sign", 200_000)
    words = EN["runs"]

    def press(page: Page, button: str, yes: str) -> None:
        page.get_by_role("button", name=button).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible(timeout=SAFETY_NET)
        page.get_by_role("dialog").get_by_role("button", name=yes).focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_hidden(timeout=SAFETY_NET)

    with operator_of(home.path) as served, window(browser, served) as page:
        run = page.get_by_role("table", name=words["title"]).get_by_role("row").nth(1)
        press(page, "Start run 1", words["cancel"])
        expect(run).to_contain_text(words["planned"], timeout=SAFETY_NET)
        press(page, "Start run 1", words["start"])
        expect(run).to_contain_text(words["running"], timeout=SAFETY_NET)
        press(page, "Pause run 1", words["pause"])
        expect(page.locator("#said")).to_have_text(
            words["did_pausing"].replace("{}", "1"), timeout=SAFETY_NET
        )
        expect(run).to_contain_text(words["paused"], timeout=SAFETY_NET)
        home.hsm.latency("C_Sign", 0)
        press(page, "Resume run 1", words["resume"])
        expect(run).to_contain_text(words["completed"], timeout=SAFETY_NET)
        expect(run).to_contain_text("120 of 120 issued", timeout=SAFETY_NET)


@pytest.mark.parametrize("width", [390, 1280])
def test_a_public_host_shows_what_it_has(browser: Browser, tmp_path: Path, width: int) -> None:
    public = Home(tmp_path / "public")
    public.create(public=True)
    public.configuration.write_text('role = "public"\n')
    with operator_of(public.path) as served, window(browser, served, width=width) as page:
        expect(page.get_by_role("heading", level=1)).to_contain_text(EN["site"]["public"])
        expect(page.get_by_text(EN["ocsp"]["none"])).to_be_visible(timeout=SAFETY_NET)
        expect(page.get_by_role("table", name=EN["processes"]["title"])).to_contain_text("operator")
        sections = page.get_by_role("navigation").get_by_role("link").all_inner_texts()
        assert sections == [EN[name]["title"] for name in ("ocsp", "crls", "processes")]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
