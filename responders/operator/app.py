"""The application of the operator's page."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

import orjson
from quart import Response, g, redirect, request
from quart_trio import QuartTrio
from werkzeug.wrappers import Response as WerkzeugResponse

from engine.errors import InputRejected, Overloaded, RunStateConflict, SealmintError
from responders.operator.admission import SESSION_SECONDS, Admission
from responders.operator.collector import Collector
from responders.operator.event_stream import EventStreams
from responders.operator.gate import ACT_HEADER, COOKIE, add_gate, is_own_origin
from responders.operator.metrics_page import add_metrics_page
from responders.operator.pages import CLOSED_FILES, OPEN_FILES, PROTECTION, Pages, static_file
from responders.operator.run_steering import RunSteering
from responders.repository_site.wording import Language, preferred
from responders.web_connection import WebConnection

BODY_OCTETS = 4_096
"""Of a request. A guess: a token has some dozens."""

STATIC_SECONDS = 31_536_000
"""A year: the address of a file changes with its content."""

ICON = "image/svg+xml"


@dataclass(frozen=True, slots=True)
class Operator:
    """What the application is made of.

    Attributes:
        admission: who is let in.
        pages: the pages.
        streams: the streams of events.
        steering: pauses and resumes; None on a public host, which has no runs.
        collector: makes the metrics.
        is_secure: whether it is served by TLS, so that the cookie never travels without.
    """

    admission: Admission
    pages: Pages
    streams: EventStreams
    steering: RunSteering | None
    collector: Collector
    is_secure: bool


def make_app(operator: Operator) -> QuartTrio:
    """Make the application."""
    app = QuartTrio(__name__, static_folder=None)
    app.asgi_http_class = WebConnection
    app.config["MAX_CONTENT_LENGTH"] = BODY_OCTETS
    add_gate(app, operator.admission)
    _add_signing_in(app, operator)
    _add_page(app, operator)
    _add_acts(app, operator)
    add_metrics_page(app, operator.collector)

    @app.errorhandler(SealmintError)
    async def refused(error: SealmintError) -> Response:
        return _json({"error": error.message, "detail": str(error)}, _status_of(error))

    @app.after_request
    async def protect(response: Response) -> Response:
        for name, value in PROTECTION.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    return app


def _add_signing_in(app: QuartTrio, operator: Operator) -> None:
    @app.get("/login", provide_automatic_options=False)
    async def login() -> Response | WerkzeugResponse:
        language = _language(request.args.get("language"))
        if g.visitor is not None:
            return redirect(f"/{language.value}/", 303)
        return operator.pages.page("login", language, fault=None)

    @app.post("/login", provide_automatic_options=False)
    async def sign_in() -> Response | WerkzeugResponse:
        form = await request.form
        language = _language(form.get("language"))
        if not is_own_origin():
            return operator.pages.page("login", language, HTTPStatus.FORBIDDEN, fault="origin")
        try:
            identifier = await operator.admission.begin(form.get("token", "").strip())
        except Overloaded:
            return operator.pages.page("login", language, HTTPStatus.TOO_MANY_REQUESTS, fault="busy")
        if identifier is None:
            return operator.pages.page("login", language, HTTPStatus.FORBIDDEN, fault="wrong")
        response = redirect(f"/{language.value}/", 303)
        response.set_cookie(
            COOKIE,
            identifier,
            max_age=SESSION_SECONDS,
            secure=operator.is_secure,
            httponly=True,
            samesite="Strict",
        )
        return response

    @app.post("/logout", provide_automatic_options=False)
    async def sign_out() -> Response | WerkzeugResponse:
        if not is_own_origin():
            return Response(b"", HTTPStatus.FORBIDDEN)
        operator.admission.end(request.cookies.get(COOKIE, ""))
        response = redirect("/login", 303)
        response.delete_cookie(COOKIE, secure=operator.is_secure, httponly=True, samesite="Strict")
        return response

    async def open_static(name: str) -> Response:
        return _static(name, OPEN_FILES[name])

    async def icon() -> Response:
        return _static("icon.svg", ICON)

    names = ",".join(f'"{name}"' for name in OPEN_FILES)
    app.add_url_rule(
        f"/static/<any({names}):name>", "open_static", open_static, provide_automatic_options=False
    )
    app.add_url_rule("/static/icon.svg", "open_icon", icon, provide_automatic_options=False)


def _add_page(app: QuartTrio, operator: Operator) -> None:
    @app.get("/", provide_automatic_options=False)
    async def entrance() -> WerkzeugResponse:
        return redirect(f"/{preferred(request.accept_languages).value}/", 303)

    @app.get("/<any(zh,en):language>/", provide_automatic_options=False)
    async def page(language: str) -> Response:
        return operator.pages.page(
            "page", Language(language), visitor=g.visitor, by_session=COOKIE in request.cookies
        )

    @app.get("/static/<name>", provide_automatic_options=False)
    async def closed_static(name: str) -> Response:
        media_type = CLOSED_FILES.get(name)
        return Response(b"", HTTPStatus.NOT_FOUND) if media_type is None else _static(name, media_type)

    @app.get("/events", provide_automatic_options=False)
    async def events() -> Response:
        identifier = request.cookies.get(COOKIE)
        visitor = g.visitor

        def may_watch() -> bool:
            own = None if identifier is None else operator.admission.by_session(identifier)
            return visitor.name.startswith("certificate ") or own is not None

        return operator.streams.response(may_watch)


def _add_acts(app: QuartTrio, operator: Operator) -> None:
    @app.post("/runs/<int:run>/<any(pause,resume):act>", provide_automatic_options=False)
    async def act_on_run(run: int, act: str) -> Response:
        if not is_own_origin() or request.headers.get(ACT_HEADER) != g.visitor.act_token:
            return _json({"error": "this was not asked for by the page"}, HTTPStatus.FORBIDDEN)
        if operator.steering is None:
            raise InputRejected("a public host has no runs", place=f"run {run}")
        if act == "pause":
            working = await operator.steering.pause(run, g.visitor.name)
            return _json({"run": run, "said": "pausing" if working else "paused"})
        await operator.steering.resume(run, g.visitor.name)
        return _json({"run": run, "said": "resumed"})


def _language(name: str | None) -> Language:
    known = {language.value: language for language in Language}
    return known.get(name or "") or preferred(request.accept_languages)


def _static(name: str, media_type: str) -> Response:
    headers = {"Cache-Control": f"private, max-age={STATIC_SECONDS}"}
    return Response(static_file(name), 200, headers, content_type=media_type)


def _json(document: object, status: int = HTTPStatus.OK) -> Response:
    return Response(orjson.dumps(document), status, content_type="application/json")


def _status_of(error: SealmintError) -> HTTPStatus:
    if isinstance(error, RunStateConflict):
        return HTTPStatus.CONFLICT
    return HTTPStatus.NOT_FOUND if isinstance(error, InputRejected) else HTTPStatus.SERVICE_UNAVAILABLE
