"""Debian's Chromium, and what every page of ours is watched for in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

SAFETY_NET = 120_000
"""Milliseconds until a wait that hangs is given up. Decides nothing but that."""

TOO_FAINT = """() => {
  const parts = colour => colour.match(/[\\d.]+/g).map(Number);
  const over = (top, under) => {
    const alpha = top[3] ?? 1;
    return [0, 1, 2].map(place => top[place] * alpha + under[place] * (1 - alpha));
  };
  const ground = element => {
    if (!element) return parts(getComputedStyle(document.body).backgroundColor).slice(0, 3);
    const own = parts(getComputedStyle(element).backgroundColor);
    return (own[3] ?? 1) === 1 ? own.slice(0, 3) : over(own, ground(element.parentElement));
  };
  const luminance = colour => {
    const [red, green, blue] = colour.map(value => {
      value /= 255;
      return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const faint = [];
  let looked = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility()) continue;
    const style = getComputedStyle(element), under = ground(element);
    const light = [luminance(over(parts(style.color), under)), luminance(under)].sort((a, b) => b - a);
    const ratio = (light[0] + 0.05) / (light[1] + 0.05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && parseInt(style.fontWeight) >= 700);
    looked += 1;
    if (ratio < (large ? 3 : 4.5)) faint.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return [looked, faint];
}"""
"""Texts whose contrast with what lies under them is below WCAG 2.2, 1.4.3 (AA); and how many texts there are."""


@dataclass
class Seen:
    """What a page did besides being looked at."""

    said: list[str] = field(default_factory=list)
    """On its console, with the address it had then."""
    asked: set[str] = field(default_factory=set)
    """The hosts and ports of its requests."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser while the block runs."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        yield opened
        opened.close()


@contextmanager
def watched_page(
    browser: Browser, address: str, width: int, scheme: Literal["light", "dark"]
) -> Iterator[tuple[Page, Seen]]:
    """An empty page in a window of a width and scheme, closed when the block ends."""
    height = 844 if width < 1000 else 800
    context = browser.new_context(
        base_url=address, viewport={"width": width, "height": height}, color_scheme=scheme
    )
    context.set_default_timeout(SAFETY_NET)
    page = context.new_page()
    seen = Seen()
    page.on("console", lambda message: seen.said.append(f"{page.url}: {message.text}"))
    page.on("pageerror", lambda error: seen.said.append(f"{page.url}: {error}"))
    page.on("request", lambda request: seen.asked.add(urlsplit(request.url).netloc))
    yield page, seen
    context.close()
