"""The pages: to sign in, and the one page of the operator, in two languages."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from quart import Response

from engine.pkcs11.lanes import Lane
from responders.repository_site.wording import Language

_DIRECTORY = Path(__file__).parent
STATIC = _DIRECTORY / "static"

OPEN_FILES = {"operator.css": "text/css; charset=utf-8", "scheme.js": "text/javascript; charset=utf-8"}
"""What the page to sign in needs, and its icon."""

_SCRIPTS = ("page.js", "sections.js", "elements.js", "writing.js", "charts.js", "acts.js")
CLOSED_FILES = {
    **dict.fromkeys(_SCRIPTS, OPEN_FILES["scheme.js"]),
    "uPlot.iife.min.js": OPEN_FILES["scheme.js"],
    "uPlot.min.css": OPEN_FILES["operator.css"],
}

_FOREIGN = frozenset({"uPlot.iife.min.js", "uPlot.min.css"})

PROTECTION = {
    # Scripts, styles and connections of this origin only; no frame, no form to anywhere else.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # without any, a form would be sent with the Origin null
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@cache
def texts(language: Language) -> dict[str, Any]:
    """Return all texts of a language."""
    return tomllib.loads((_DIRECTORY / "texts" / f"{language.value}.toml").read_text("utf-8"))


@cache
def static_file(name: str) -> bytes:
    """Return a file of the page's."""
    return (STATIC / "uplot" / name if name in _FOREIGN else STATIC / name).read_bytes()


@cache
def version(name: str) -> str:
    """Return what a file's address ends with, so that a browser never shows an old one."""
    return hashlib.sha256(static_file(name)).hexdigest()[:16]


class Pages:
    """Makes the pages.

    Args:
        host: what the page calls this host: the directory of its home.
        role: of the home.
    """

    def __init__(self, host: str, role: str) -> None:
        self._environment = Environment(
            loader=PackageLoader("responders.operator"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "host": host,
            "role": role,
            "version": version,
            "lanes": [lane.label for lane in Lane],
        }

    def page(self, name: str, language: Language, status: int = 200, **values: Any) -> Response:
        """Render a template.

        Args:
            name: the template, without its ending.
            language: of the page.
            status: of HTTP.
            values: what it shows.
        """
        template = self._environment.get_template(f"{name}.html")
        text = template.render(t=texts(language), language=language, **values)
        return Response(
            text, status, {"Content-Language": language.tag}, content_type="text/html; charset=utf-8"
        )
