"""The site as pages: `/zh/...` in Traditional Chinese, `/en/...` in English, from the same answers as the API."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from posixpath import dirname
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from quart import Blueprint, Response, redirect, request
from werkzeug.wrappers import Response as WerkzeugResponse

from engine.errors import SealmintError
from engine.publication_kinds import COMMENT_DAYS, DOCUMENTS, NOTICE_DAYS, PublicationKind, Standing
from responders.repository_site import certificates
from responders.repository_site.answers import API, PublicationAnswer
from responders.repository_site.authorities import authority_list
from responders.repository_site.crls import crl_list
from responders.repository_site.publications import publication, publication_list, related
from responders.repository_site.questions import NAME_CHARACTERS, QuestionRefused, serial_from, typed
from responders.repository_site.responses import LISTING_SECONDS, STYLE_SECONDS, text_response
from responders.repository_site.service import service
from responders.repository_site.site import RepositorySite
from responders.repository_site.wording import Language, Writing, preferred, texts

SHOWN_AT_HOME = 5
"""News and notices on the first page. A guess."""

_STATIC = Path(__file__).parent / "static"
_MEDIA_TYPES = {"site.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml"}
_HTML = "text/html; charset=utf-8"
_EVERY_METHOD = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"]
_NEWS, _NOTICES = (PublicationKind.NEWS,), (PublicationKind.NOTICE,)


class Pages:
    """Makes pages of one language.

    Args:
        site: the sources.
        language: the language.
    """

    def __init__(self, site: RepositorySite, language: Language) -> None:
        self.site = site
        self.language = language
        self._environment = Environment(
            loader=PackageLoader("responders.repository_site"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= Writing(language).filters()
        self._environment.globals |= {
            "t": texts(language),
            "language": language,
            "api": API,
            "style": f"/site/site.css?v={_digest('site.css')}",
            "name_characters": NAME_CHARACTERS,
        }

    def page(
        self, name: str, rest: str, *, status: int = 200, seconds: int | None = None, **values: Any
    ) -> Response:
        """Render a template.

        Args:
            name: the template, without its ending.
            rest: the path behind the language: the same page in the other one.
            status: of HTTP.
            seconds: how long a cache may keep it; None: not at all.
            values: what the template shows.
        """
        template = self._environment.get_template(f"{name}.html")
        query = request.query_string.decode("latin-1") if status == 200 else ""
        text = template.render(section=rest.partition("/")[0], rest=rest, query=query, **values)
        response = text_response(text, _HTML, status, seconds)
        response.headers["Content-Language"] = self.language.tag
        return response

    def not_found(self) -> Response:
        """Render the page for what is not there."""
        return self.page("error", "", status=404, kind="not_found")

    async def home(self) -> Response:
        """What is new, and where everything is."""
        documents, notices, news = [
            (await self.site.read(publication_list, self.site, kinds)).publications
            for kinds in (DOCUMENTS, _NOTICES, _NEWS)
        ]
        return self.page(
            "home",
            "",
            seconds=LISTING_SECONDS,
            documents=[one for one in documents if one.standing is Standing.IN_FORCE],
            notices=[one for one in notices if one.standing is Standing.IN_FORCE][:SHOWN_AT_HOME],
            news=news[:SHOWN_AT_HOME],
        )

    async def certificates(self) -> Response:
        """The search form; with `q` what was found for it."""
        text = request.args.get("q", "")
        shown = partial(self.page, "certificates", "certificates", text=text)
        if not text.strip():
            return shown(found=None, refused=None)
        try:
            asked = typed(text, request.args.get("after", ""))
        except QuestionRefused as error:
            return shown(found=None, refused=error, status=400)
        return shown(found=await certificates.found(self.site, asked.question), refused=None)

    async def certificate(self, serial: str) -> Response:
        """One published certificate."""
        try:
            row = await certificates.published(self.site, serial_from(serial))
        except QuestionRefused:
            row = None
        if row is None:
            return self.not_found()
        one = certificates.details(self.site, row)
        return self.page("certificate", f"certificates/{one.serial}", one=one, now=self.site.clock.now())

    async def status(self) -> Response:
        """The form for the status of any serial number; with `serial` the status."""
        text = request.args.get("serial", "")
        shown = partial(self.page, "status", "status", text=text)
        if not text.strip():
            return shown(status_of=None, asked=False, refused=None)
        try:
            serial = serial_from(text)
        except QuestionRefused as error:
            return shown(status_of=None, asked=False, refused=error, status=400)
        found = certificates.status(self.site, serial)
        if found is None:
            return shown(status_of=None, asked=True, refused=None, status=503)
        return shown(status_of=found, asked=True, refused=None)

    async def crls(self) -> Response:
        """The published CRLs."""
        crls = (await self.site.read(crl_list, self.site)).crls
        return self.page("crls", "crls", seconds=LISTING_SECONDS, crls=crls)

    async def authorities(self) -> Response:
        """The certificates of the CA and its root."""
        return self.page(
            "authorities", "authorities", seconds=LISTING_SECONDS, chain=authority_list(self.site)
        )

    async def documents(self) -> Response:
        """Documents in force and older ones."""
        return await self._listing("documents", DOCUMENTS)

    async def news(self) -> Response:
        """News."""
        return await self._listing("news", _NEWS)

    async def notices(self) -> Response:
        """Notices, with the periods they keep."""
        return await self._listing("notices", _NOTICES, notice_days=NOTICE_DAYS, comment_days=COMMENT_DAYS)

    async def _listing(self, name: str, kinds: tuple[PublicationKind, ...], **more: Any) -> Response:
        listed = (await self.site.read(publication_list, self.site, kinds)).publications
        return self.page(name, name, seconds=LISTING_SECONDS, publications=listed, **more)

    async def publication(self, number: str) -> Response:
        """One publication."""
        found = await self.site.read(self._publication, number)
        if found is None:
            return self.not_found()
        one, others = found
        gone = one.standing is Standing.WITHDRAWN
        return self.page(
            "publication",
            f"publications/{one.id}",
            status=410 if gone else 200,
            seconds=LISTING_SECONDS,
            one=one,
            others=others,
        )

    def _publication(self, number: str) -> tuple[PublicationAnswer, list[PublicationAnswer]] | None:
        is_number = number.isascii() and number.isdigit() and len(number) < 10
        one = publication(self.site, int(number)) if is_number else None
        return None if one is None else (one, related(self.site, one))

    async def ocsp(self) -> Response:
        """That OCSP is charged for, and what else is free (CPS 2.5.2, 4.4.12)."""
        documents = (await self.site.read(publication_list, self.site, (PublicationKind.FEES,))).publications
        fees = [one for one in documents if one.standing is Standing.IN_FORCE]
        return self.page("ocsp", "ocsp", seconds=LISTING_SECONDS, fees=fees, address=self.site.ocsp)

    async def service(self) -> Response:
        """How current this host is."""
        return self.page("service", "service", host=await service(self.site))


def _digest(name: str) -> str:
    return hashlib.sha256((_STATIC / name).read_bytes()).hexdigest()[:16]


def pages_of(site: RepositorySite, language: Language) -> Blueprint:
    """Make the blueprint of the pages in a language."""
    pages = Pages(site, language)
    routes: dict[str, Callable[..., Awaitable[Response]]] = {
        "/": pages.home,
        "/certificates": pages.certificates,
        "/certificates/<serial>": pages.certificate,
        "/status": pages.status,
        "/crls": pages.crls,
        "/authorities": pages.authorities,
        "/documents": pages.documents,
        "/news": pages.news,
        "/notices": pages.notices,
        "/publications/<number>": pages.publication,
        "/ocsp": pages.ocsp,
        "/service": pages.service,
    }
    blueprint = Blueprint(f"repository_{language.value}", __name__, url_prefix=f"/{language.value}")
    for path, view in routes.items():
        blueprint.add_url_rule(path, view.__name__, view, methods=["GET"], provide_automatic_options=False)

    @blueprint.route("/<path:rest>", methods=_EVERY_METHOD, provide_automatic_options=False)
    async def nothing(rest: str) -> Response:
        if request.method in ("GET", "HEAD"):
            return pages.not_found()
        response = pages.page("error", "", status=HTTPStatus.METHOD_NOT_ALLOWED, kind="method")
        response.headers["Allow"] = "GET, HEAD"
        return response

    @blueprint.errorhandler(SealmintError)
    async def unavailable(error: SealmintError) -> Response:
        response = pages.page("error", "", status=HTTPStatus.SERVICE_UNAVAILABLE, kind="unavailable")
        response.headers["Retry-After"] = "5"  # as the API says
        return response

    return blueprint


def entrances(site: RepositorySite) -> Blueprint:
    """Make the blueprint of what is the same in both languages: `/`, the historic addresses, style and icon."""
    blueprint = Blueprint("repository_entrances", __name__)
    get = partial(blueprint.get, provide_automatic_options=False)
    directory = dirname(urlsplit(site.ca_issuers).path)

    async def to_page(rest: str) -> WerkzeugResponse:
        language = preferred(request.accept_languages)
        response = redirect(f"/{language.value}/{rest}", 302)
        response.headers["Vary"] = "Accept-Language"
        response.headers["Cache-Control"] = "no-store"
        return response

    historic = {"/": "", "/repository": "", "/repository/": ""}
    historic |= {directory: "authorities", f"{directory}/": "authorities"} if directory.strip("/") else {}
    for place, (path, rest) in enumerate(historic.items()):
        get(path, endpoint=f"historic_{place}")(partial(to_page, rest))
    for language in Language:
        get(f"/{language.value}", endpoint=language.value)(partial(_with_slash, language))

    @get("/site/<name>")
    async def static(name: str) -> Response:
        media_type = _MEDIA_TYPES.get(name)
        if media_type is None:
            return Response(b"", 404)
        return text_response((_STATIC / name).read_text("utf-8"), media_type, seconds=STYLE_SECONDS)

    return blueprint


async def _with_slash(language: Language) -> WerkzeugResponse:
    return redirect(f"/{language.value}/", 308)
