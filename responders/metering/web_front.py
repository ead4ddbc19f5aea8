"""OCSP at the web front of a metered host: none is counted there, so none is given to those who would have to pay.

Hypercorn reads no PROXY protocol header, so the web front does not know its clients' addresses behind a proxy; and the
fast listener is there for OCSP.
"""

from __future__ import annotations

from engine.config import MeteringSection
from responders.ocsp_http import HttpAnswer, HttpAnswering, OcspHttp


def web_ocsp(http: OcspHttp, settings: MeteringSection) -> HttpAnswering:
    """Return what answers OCSP at the web front: nobody is authorized where all must have an account."""
    return UnauthorizedHttp(http) if settings.enabled and not settings.anonymous else http


class UnauthorizedHttp:
    """Answers every OCSP request with `unauthorized` (RFC 6960 section 2.3).

    Args:
        http: refuses what is no OCSP.
    """

    def __init__(self, http: OcspHttp) -> None:
        self._http = http

    def at_once(self, method: bytes, target: bytes, body: bytes, if_none_match: bytes | None) -> HttpAnswer:
        """Answer `unauthorized`."""
        return self._http.unauthorized(method, target, body)

    async def answer(
        self, method: bytes, target: bytes, body: bytes, if_none_match: bytes | None
    ) -> HttpAnswer:
        """Answer `unauthorized`."""
        return self._http.unauthorized(method, target, body)

    def refusal(self, status: int) -> HttpAnswer:
        """As `OcspHttp.refusal`."""
        return self._http.refusal(status)
