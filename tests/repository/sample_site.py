"""A public host's copies in a directory, and the web application over them."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from quart_trio import QuartTrio

from engine.clock import Clock
from engine.config import PublicConfiguration
from engine.repository.certificate_index import (
    CERTIFICATE_INDEX_NAME,
    CertificateIndexWriter,
    IndexPosition,
)
from engine.repository.publication_copy import Publication, PublicationCopy
from engine.status.crl_files import delta_uri_of, file_of
from engine.status.status_store import StatusReader
from engine.x509.profiles import load_profiles
from responders.app import Pages, crl_paths, make_app
from responders.authority_documents import authority_documents
from responders.http_times import whole_seconds
from responders.ocsp_answer import OcspResponder
from responders.ocsp_http import OcspHttp
from responders.opening import path_of
from responders.readiness import Readiness
from responders.repository_site.registration import add_repository_site
from responders.repository_site.site import RepositorySite, repository_site
from tests.judges.toy_authority import NOW, ToyAuthority
from tests.judges.toy_crl import crl, partition_scope
from tests.repository.issued_certificates import accepted
from tests.responders.synthetic_status import NOBODY_FOLLOWS, START, SyntheticStatus, configuration, der_of

DAY = 86_400
PDF = b"%PDF-1.7\n%%EOF\n"
CPS, OLD_CPS, NEXT_CPS, FEES, NEWS, NOTICE, PAST_NOTICE, WITHDRAWN = range(1, 9)
"""Numbers of the publications."""

PROFILES = load_profiles()
OCSP_PATH = path_of(PROFILES.certificates()[0].ocsp or "")
PARTITION_URI, COMPLETE_URI = PROFILES.crl_uris(40)
LAPSED_URI = PROFILES.crl_uris(41)[0]


def url(path: str) -> str:
    """Escape what may not stand in a URL as it is; `%` stays."""
    return quote(path, safe="/?&=%")


def publication(
    number: int, kind: str, zh: str, en: str, published_days_ago: int, **more: object
) -> Publication:
    """A publication; times in days from now."""
    fields: dict[str, object] = dict.fromkeys(Publication.model_fields)
    fields |= {"id": number, "kind": kind, "title_zh": zh, "title_en": en, "text_zh": "", "text_en": ""}
    fields["published_at"] = START - published_days_ago * DAY
    for name in ("effective_at", "comments_until", "withdrawn_at"):
        if isinstance(days := more.pop(name, None), int):
            fields[name] = START + days * DAY
    if isinstance(file := more.pop("file", None), str):
        fields |= {
            "content_sha256": hashlib.sha256(PDF + file.encode()).hexdigest(),
            "content_size": len(PDF + file.encode()),
            "media_type": "application/pdf",
            "file_name": file,
        }
    return Publication.model_validate(fields | more)


PUBLICATIONS = [
    publication(
        OLD_CPS,
        "cps",
        "憑證實務作業基準第 2.2 版",
        "CPS version 2.2",
        900,
        version="2.2",
        file="MOEACA_CPS_2.2.pdf",
    ),
    publication(
        CPS,
        "cps",
        "憑證實務作業基準第 2.3 版",
        "Certification practice statement, version 2.3",
        400,
        version="2.3",
        about=PAST_NOTICE,
        file="工商憑證實務作業基準_2.3.pdf",
        text_zh="本版修訂附卡與載具的規定。\n\n自公布日起生效。",
        text_en="This version revises the rules on secondary cards and carriers.\n\nIn force on publication.",
    ),
    publication(
        NOTICE,
        "notice",
        "憑證實務作業基準修訂公告：新增雲端載具",
        "Revision of the CPS: cloud carriers",
        3,
        significance="large",
        comments_until=12,
        effective_at=28,
        text_zh="修訂第 1.3.5.1 節，敬請於期限內以電子郵件回覆意見。",
        text_en="Section 1.3.5.1 is revised. Comments are welcome by e-mail within the period.",
    ),
    publication(
        NEXT_CPS,
        "cps",
        "憑證實務作業基準第 2.4 版",
        "CPS version 2.4",
        1,
        version="2.4",
        about=NOTICE,
        effective_at=28,
        file="MOEACA_CPS_2.4.pdf",
    ),
    publication(
        PAST_NOTICE,
        "notice",
        "憑證實務作業基準重新排版",
        "The CPS is typeset anew",
        420,
        significance="re-typesetting",
        effective_at=-400,
    ),
    publication(FEES, "fees", "OCSP 查詢服務收費標準", "Fees for OCSP", 100, version="1", file="fees.pdf"),
    publication(
        NEWS,
        "news",
        "儲存庫預定維護：12 月 5 日 01:00 至 03:00",
        "Planned maintenance of the repository, 5 December, 01:00 to 03:00",
        2,
        text_zh="維護期間暫停憑證查詢。",
        text_en="Certificate search pauses meanwhile.",
    ),
    publication(
        WITHDRAWN,
        "privacy-policy",
        "撤下的隱私權保護政策",
        "Withdrawn privacy policy",
        50,
        withdrawn_at=-10,
        file="withdrawn.pdf",
        text_zh="撤下的內容",
        text_en="withdrawn content",
    ),
]


class SampleSite:
    """The copies of a public host, of the toy CA.

    Args:
        directory: where they are made.
        clock: tells the application the time.
    """

    def __init__(self, directory: Path, clock: Clock, *, stale_seconds: int = NOBODY_FOLLOWS) -> None:
        self.toy = ToyAuthority()
        self.clock = clock
        self.status = SyntheticStatus(directory / "status-store", self.toy)
        self.configuration = PublicConfiguration.model_validate(
            {
                "role": "public",
                "ocsp": {"status_store": str(self.status.directory), "stale_seconds": stale_seconds},
                "crl": {"directory": str(directory / "crl")},
                "repository": {"directory": str(directory / "repository")},
            }
        )
        self.crls = directory / "crl"
        self.repository = directory / "repository"
        self.repository.mkdir()
        self.crls.mkdir()

    def fill(self) -> None:
        """Write all copies."""
        self.status.build()
        self.publish_crls()
        self.publish_documents()
        with CertificateIndexWriter(self.repository / CERTIFICATE_INDEX_NAME) as writer:
            writer.put(accepted(self.toy.ca), IndexPosition(7, "0" * 32, None))

    def publish_crls(self) -> None:
        """Write a complete CRL, a partition's with its delta, and one past its nextUpdate."""
        ca, revoked = self.toy.ca, {5: x509.ReasonFlags.key_compromise}
        partition = partition_scope(PARTITION_URI)
        lapsed = crl(
            ca,
            {},
            number=2026112001,
            scope=partition_scope(LAPSED_URI),
            this_update=NOW - timedelta(days=3),
            next_update=NOW - timedelta(days=1),
        )
        for uri, octets in (
            (COMPLETE_URI, crl(ca, revoked, number=2026112301)),
            (PARTITION_URI, crl(ca, revoked, number=2026112302, scope=partition)),
            (delta_uri_of(PARTITION_URI), crl(ca, {}, number=2026112303, base=2026112302, scope=partition)),
            (LAPSED_URI, lapsed),
        ):
            path = file_of(self.crls, uri)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(octets)

    def publish_documents(self) -> None:
        """Write the publications and their files."""
        copy = PublicationCopy(self.repository)
        (self.repository / "contents").mkdir()
        for one in PUBLICATIONS:
            if one.content_sha256 and one.file_name:
                copy.content_path(one.content_sha256).write_bytes(PDF + one.file_name.encode())
        copy.write(PUBLICATIONS)

    def sources(self, reader: StatusReader) -> RepositorySite:
        """The sources of the site."""
        ca, root = der_of(self.toy.ca), der_of(self.toy.root)
        return repository_site(self.configuration, PROFILES, reader, self.clock, ca=ca, root=root)

    def application(self, reader: StatusReader) -> QuartTrio:
        """The whole web application with the site in it."""
        settings = configuration(live_signer=None, stale_seconds=NOBODY_FOLLOWS)
        responder = OcspResponder(reader, settings, self.clock, None)
        site = self.sources(reader)
        app = make_app(
            Pages(
                ocsp=OcspHttp(responder, whole_seconds(self.clock), max_age=300, path=OCSP_PATH.encode()),
                documents=authority_documents(path_of(site.ca_issuers), site.ca, site.root),
                crls=self.crls,
                crl_paths=crl_paths(PROFILES),
                readiness=Readiness(self.configuration, reader, self.clock),
                max_age=300,
                clock=self.clock,
            )
        )
        add_repository_site(app, site)
        return app
