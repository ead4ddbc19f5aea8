"""The report in Debian's Chromium: it fits, asks nobody, and has a picture of everything that was counted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser

from bench.load.objectives import judge, load_service_level
from bench.load.record import Record
from bench.load.report import write_report
from bench.load.result import figures, series_of, verdict_of
from tests.chromium import TOO_FAINT, chromium

pytestmark = pytest.mark.judge("chromium")

SECONDS = 12
LANES = ("urgent", "live", "issuance")


def result() -> dict[str, Any]:
    """A load that went badly, so that the report has all it can have."""
    record = Record()
    for second in range(SECONDS):
        for kind, latency in (("post", 0.002), ("nonce", 0.030)):
            cell = record.cell(second, kind)
            cell.offered, cell.sent, cell.good = 12, 11, 9
            cell.errors["try-later"] += 1
            cell.wrong["stale-good"] += second == 7
            cell.missed["queue full"] += 1
            for step in range(9):
                cell.latency.add(latency * (1 + step))
    record.lateness.add(0.004)
    record.add_example("stale-good", "40" * 16 + ": Said(state='good', since=None)")
    judgements = judge(load_service_level("mixed"), record, SECONDS)
    machine = {
        "processor": "one",
        "cpus": 2,
        "memory_mb": 1,
        "system": "s",
        "python": "3",
        "load_before": [0.1],
    }
    return {
        "verdict": verdict_of(judgements),
        "scenario": {"name": "bad day", "about": "Everything at once.", "connections": 8},
        "objectives": [one._asdict() for one in judgements],
        "service_level": "mixed day",
        "warm_up_seconds": 5,
        "finished_at": "2026-03-02T09:00:00+00:00",
        "ocsp": "http://127.0.0.1:2560/",
        "http": "http://127.0.0.1:8080/",
        "processes": 2,
        "seconds": float(SECONDS),
        "seed": 1,
        "machine": machine,
        "total": figures(record.total(), SECONDS),
        "kinds": {kind: figures(record.total(kind), SECONDS) for kind in record.kinds},
        "load": {"lateness_p99_ms": 4.0, "lateness_max_ms": 4.0, "cpu_seconds": 1.0},
        "examples": record.examples,
        "changes": {"verb": "revoke", "acknowledged": 3, "failed": 0},
        "issuance": None,
        "series": series_of(record, SECONDS),
        "server": [_sample(second) for second in range(SECONDS)],
    }


def _sample(second: int) -> dict[str, Any]:
    lane = {"waiting": second % 4, "in_flight": 1, "done": 30 * second, "refused": 0}
    return {
        "second": second + 0.1,
        "lanes": {name: lane | {"wait_p99_ms": 2.0, "sign_p99_ms": 1.0} for name in LANES},
        "sessions": {"busy": second % 3, "idle": 3 - second % 3},
        "processes": {"live-signer": {"cpu_seconds": 0.3 * second, "memory_bytes": 1}},
    }


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, result())
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_fits_and_can_be_read(
    browser: Browser, report: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    context.set_default_timeout(120_000)  # a safety net, no verdict
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(report.as_uri())
    assert (asked, said) == ([report.as_uri()], [])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    looked, faint = page.evaluate(TOO_FAINT)
    assert looked > 50
    assert faint == []
    shown = page.locator("figure svg:visible")
    assert shown.count() == page.locator("figure").count() == 8
    for place in range(shown.count()):
        box = shown.nth(place).bounding_box()
        assert box is not None
        assert box["width"] > 0.85 * min(width, 1152)
        assert box["x"] + box["width"] <= width
    ink = page.evaluate("getComputedStyle(document.querySelector('figure svg:not([hidden]) text')).fill")
    assert ink == page.evaluate("getComputedStyle(document.body).color")
    context.close()


def test_every_failure_is_named_and_no_stand_in_colour_is_left(report: Path) -> None:
    text = report.read_text("utf-8")
    for name in (
        "try-later",
        "wrong: stale-good",
        "missed: queue full",
        "urgent",
        "issuance",
        "busy",
        "missed",
    ):
        assert name in text
    for stand_in in ("#010203", "#040506", "#0a000"):
        assert stand_in not in text
