"""The site as JSON: `/api/v1/...`, described by `/api/v1/openapi.json`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import Any

import trio
from pydantic import BaseModel, ValidationError
from quart import Blueprint, Response, request
from quart_schema import Info, OpenAPIProvider, QuartSchema, document_response, hide, validate_querystring
from quart_schema.validation import QuerystringValidationError
from quart_trio import QuartTrio
from werkzeug.routing import Rule

from engine.errors import Overloaded, SealmintError
from engine.publication_kinds import DOCUMENTS, PublicationKind
from responders.authority_documents import Document
from responders.repository_site import certificates
from responders.repository_site.answers import (
    API,
    AuthorityList,
    CertificateDetails,
    CertificatePage,
    CrlList,
    Fault,
    PublicationAnswer,
    PublicationList,
    Service,
    Status,
)
from responders.repository_site.authorities import authority_files, authority_list
from responders.repository_site.crls import crl_list
from responders.repository_site.publications import publication, publication_list
from responders.repository_site.questions import (
    CertificateQuestion,
    QuestionRefused,
    refusal_of,
    serial_from,
)
from responders.repository_site.responses import FILE_SECONDS, LISTING_SECONDS, file_response, text_response
from responders.repository_site.responses import document_response as file_of
from responders.repository_site.service import service
from responders.repository_site.site import RepositorySite

_JSON = "application/json"
_RETRY_SECONDS = "5"
"""A guess: by then a copy that is behind has mostly come up, and a crowd has gone."""

_NAME = "repository_api"
_FILES = frozenset({f"{_NAME}.content", f"{_NAME}.authority_file"})
_A_FILE = {"description": "The file.", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
_READ_ONLY: dict[str, Any] = {"provide_automatic_options": False}


class _OfThisApi(OpenAPIProvider):
    """Describes the routes of this file only."""

    def generate_rules(self) -> Iterable[Rule]:
        return (rule for rule in super().generate_rules() if rule.endpoint.startswith(f"{_NAME}."))

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """Describe a route; where it gives files, that it does: decorators take models only."""
        paths, components = super().build_paths(rule)
        if rule.endpoint in _FILES:
            for operations in paths.values():
                for operation in operations.values():
                    operation["responses"][int(HTTPStatus.OK)] = _A_FILE
        return paths, components


def add_api(app: QuartTrio, site: RepositorySite) -> Blueprint:
    """Add the routes of the API, and their description, to an application; return their blueprint."""
    QuartSchema(
        app,
        openapi_path=f"{API}/openapi.json",
        redoc_ui_path=None,  # the pages that show the description load scripts from elsewhere
        scalar_ui_path=None,
        swagger_ui_path=None,
        info=Info(title="Certificate repository", version="1", description=_DESCRIPTION),
        openapi_provider_class=_OfThisApi,
        conversion_preference="pydantic",
    )
    api = Blueprint(_NAME, __name__, url_prefix=API)
    _add_certificates(api, site)
    _add_listings(api, site)
    _add_files(api, site)
    return api


_DESCRIPTION = (
    "What the certification authority publishes. Only certificates that their subscribers have accepted are found; "
    "the status of every serial number is told. Times are UTC."
)


def answer(model: BaseModel, seconds: int | None = LISTING_SECONDS, status: int = 200) -> Response:
    """Make a response of an answer."""
    return text_response(model.model_dump_json(), _JSON, status, seconds)


def fault(status: HTTPStatus, error: str, field: str | None = None, rule: str | None = None) -> Response:
    """Make a response that says why there is no answer."""
    response = answer(Fault(error=error, field=field, rule=rule), None, status)
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = _RETRY_SECONDS
    return response


def _add_certificates(api: Blueprint, site: RepositorySite) -> None:
    @api.get("/certificates", **_READ_ONLY)
    @validate_querystring(CertificateQuestion)
    @document_response(CertificatePage)
    @document_response(Fault, 400)
    @document_response(Fault, 503)
    async def search_certificates(query_args: CertificateQuestion) -> Response:
        """Find published certificates by serial number, uniform number (統一編號) or name.

        By name: names that are just the text first, then those that begin with it, then those that contain it.
        """
        return answer(await certificates.found(site, query_args), None)

    @api.get("/certificates/<serial>", **_READ_ONLY)
    @document_response(CertificateDetails)
    @document_response(Fault, 400)
    @document_response(Fault, 404)
    @document_response(Fault, 503)
    async def certificate(serial: str) -> Response:
        """One published certificate; with `.cer` or `.pem` behind the serial number, the certificate itself."""
        digits, _, form = serial.partition(".")
        row = await certificates.published(site, serial_from(digits))
        if row is None or form not in ("", "cer", "pem"):
            return fault(HTTPStatus.NOT_FOUND, "no such certificate is published")
        if not form:
            return answer(certificates.details(site, row), None)
        octets, media_type = row.certificate, "application/pkix-cert"
        if form == "pem":
            octets, media_type = certificates.pem(octets), "application/pem-certificate-chain"
        name = f"{certificates.hexadecimal(row.serial)}.{form}"
        return file_of(Document(octets, media_type, row.not_before), name)

    @api.get("/status/<serial>", **_READ_ONLY)
    @document_response(Status)
    @document_response(Fault, 400)
    @document_response(Fault, 503)
    async def status(serial: str) -> Response:
        """The status of a certificate, whether its subscriber has accepted it or not; nothing else of it."""
        found = certificates.status(site, serial_from(serial))
        if found is None:
            return fault(HTTPStatus.SERVICE_UNAVAILABLE, "this host cannot tell at present; try again later")
        return answer(found, None)


def _add_listings(api: Blueprint, site: RepositorySite) -> None:
    @api.get("/crls", **_READ_ONLY)
    @document_response(CrlList)
    async def crls() -> Response:
        """The published certificate revocation lists."""
        return answer(await site.read(crl_list, site))

    @api.get("/authorities", **_READ_ONLY)
    @document_response(AuthorityList)
    async def authorities() -> Response:
        """The certificates of the CA and of its root."""
        return answer(authority_list(site), FILE_SECONDS)

    @api.get("/documents", **_READ_ONLY)
    @document_response(PublicationList)
    async def documents() -> Response:
        """CPS, CP, privacy policy, audit result and the like: what is in force, and older versions."""
        return answer(await site.read(publication_list, site, DOCUMENTS))

    @api.get("/news", **_READ_ONLY)
    @document_response(PublicationList)
    async def news() -> Response:
        """News, the newest first."""
        return answer(await site.read(publication_list, site, (PublicationKind.NEWS,)))

    @api.get("/notices", **_READ_ONLY)
    @document_response(PublicationList)
    async def notices() -> Response:
        """Notices of revisions (CPS 8.1.2): those still open first."""
        return answer(await site.read(publication_list, site, (PublicationKind.NOTICE,)))

    @api.get("/service", **_READ_ONLY)
    @document_response(Service)
    @document_response(Fault, 503)
    async def service_status() -> Response:
        """How current this host is."""
        return answer(await service(site), None)


def _add_files(api: Blueprint, site: RepositorySite) -> None:
    authority_documents = authority_files(site)

    @api.get("/publications/<number>", **_READ_ONLY)
    @document_response(PublicationAnswer)
    @document_response(Fault, 404)
    async def one_publication(number: str) -> Response:
        """One document, piece of news or notice."""
        found = await site.read(partial(_publication, site), number)
        return answer(found) if found else fault(HTTPStatus.NOT_FOUND, "there is no such publication")

    @api.get("/publications/<number>/content", **_READ_ONLY)
    @document_response(Fault, 404)
    async def content(number: str) -> Response:
        """The file of a document."""
        found = await site.read(partial(_publication, site), number)
        if found is None or found.file is None:
            return fault(HTTPStatus.NOT_FOUND, "there is no such file")
        path = trio.Path(site.publications.content_path(found.file.sha256))
        media_type = found.file.media_type
        if media_type == "text/plain":
            media_type = "text/plain; charset=utf-8"
        sent = await file_response(path, found.file.name, media_type, found.file.sha256)
        return sent or fault(HTTPStatus.SERVICE_UNAVAILABLE, "the file has not come over the feed yet")

    @api.get("/authorities/<name>", **_READ_ONLY)
    @document_response(Fault, 404)
    async def authority_file(name: str) -> Response:
        """A certificate of the CA or of its root: ca.cer, ca.pem, root.cer, root.pem, chain.p7b or chain.pem."""
        document = authority_documents.get(name)
        return file_of(document, name) if document else fault(HTTPStatus.NOT_FOUND, "there is no such file")

    @api.errorhandler(QuestionRefused)
    async def refused(error: QuestionRefused) -> Response:
        return fault(HTTPStatus.BAD_REQUEST, "the question cannot be understood", error.field, error.rule)

    @api.errorhandler(QuerystringValidationError)
    async def invalid(error: QuerystringValidationError) -> Response:
        assert isinstance(error.validation_error, ValidationError)  # noqa: S101 - the models here are pydantic's
        return await refused(refusal_of(error.validation_error))

    @api.errorhandler(SealmintError)
    async def unavailable(error: SealmintError) -> Response:
        said = "too many are asking; try again later" if isinstance(error, Overloaded) else "not at present"
        return fault(HTTPStatus.SERVICE_UNAVAILABLE, said)

    @api.route(
        "/<path:rest>",
        methods=["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"],
        provide_automatic_options=False,
    )
    @hide
    async def nothing(rest: str) -> Response:
        if request.method in ("GET", "HEAD"):
            return fault(HTTPStatus.NOT_FOUND, "there is nothing at this path")
        response = fault(HTTPStatus.METHOD_NOT_ALLOWED, "everything here is only read")
        response.headers["Allow"] = "GET, HEAD"
        return response


def _publication(site: RepositorySite, number: str) -> PublicationAnswer | None:
    """A number of more digits than a listing can have is none."""
    return (
        publication(site, int(number)) if number.isascii() and number.isdigit() and len(number) < 10 else None
    )
