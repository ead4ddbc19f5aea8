"""The gate before every page: who is not let in sees the page to sign in, its style, and nothing else."""

from __future__ import annotations

from typing import Any

from quart import Response, g, redirect, request
from quart_trio import QuartTrio
from werkzeug.wrappers import Response as WerkzeugResponse

from responders.operator.admission import Admission, Visitor
from responders.web_server import PEER_CERTIFICATE

COOKIE = "sealmint-operator"
ACT_HEADER = "X-Sealmint-Act"
"""With the visitor's act token in it; a form of another origin cannot send a header of its own."""

OPEN_ENDPOINTS = frozenset({"login", "sign_in", "open_static", "open_icon"})
"""What is there for everybody."""

METRICS_PATH = "/metrics"

_BEARER = "Bearer "


def add_gate(app: QuartTrio, admission: Admission) -> None:
    """Have every request pass the gate, those for what is not there too.

    Args:
        app: the application.
        admission: knows who is let in.
    """

    @app.before_request
    async def gate() -> Response | WerkzeugResponse | None:
        g.visitor = await _visitor(admission)
        if g.visitor is not None or request.endpoint in OPEN_ENDPOINTS:
            return None
        if request.endpoint in {"page", "entrance"}:
            language = request.view_args.get("language") if request.view_args else None
            return redirect(f"/login?language={language}" if language else "/login", 303)
        return Response(b"sign in first\n", 401, {"WWW-Authenticate": "Bearer"}, content_type="text/plain")


async def _visitor(admission: Admission) -> Visitor | None:
    """Find out who asks: by his certificate, his session, or, for the metrics only, the token itself."""
    state: dict[str, Any] = request.scope.get("state") or {}
    certificate: bytes | None = state.get(PEER_CERTIFICATE)
    if certificate is not None:
        return admission.by_certificate(certificate)
    identifier = request.cookies.get(COOKIE)
    if identifier is not None and (visitor := admission.by_session(identifier)) is not None:
        return visitor
    authorization = request.headers.get("Authorization", "")
    if request.path == METRICS_PATH and authorization.startswith(_BEARER):
        return await admission.by_bearer(authorization.removeprefix(_BEARER).strip())
    return None


def is_own_origin() -> bool:
    """Whether a page of this very origin sent the request (RFC 6454); a browser says so with every POST."""
    return request.headers.get("Origin") == f"{request.scheme}://{request.host}"
