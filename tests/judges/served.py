"""What the running responders of a served home say, as a relying party fetches it."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from tests.judges.chain import Chain
from tests.judges.relay import Relay
from tests.judges.served_home import ServedHome

FRONTS = ("listener", "quart")

HASHES = {"sha1": SHA1(), "sha256": SHA256()}


@dataclass(frozen=True)
class Served:
    """A served home.

    Args:
        home: the home.
        fronts: by front, the beginning of its URLs.
        ocsp_relay: the host and port that the certificates name for OCSP.
        directory: where fetched CRLs are written; made.
    """

    home: ServedHome
    fronts: Mapping[str, str]
    ocsp_relay: Relay
    directory: Path

    def address(self, front: str) -> str:
        """The responder's URL on a front: the path that certificates name, at the front's own host and port."""
        access = self.home.certificate("accepted").certificate.extensions.get_extension_for_class(
            x509.AuthorityInformationAccess
        )
        (named,) = (
            str(one.access_location.value)
            for one in access.value
            if one.access_method == AuthorityInformationAccessOID.OCSP
        )
        return urljoin(self.fronts[front], urlsplit(named).path)

    def response(self, front: str, chain: Chain, hash_name: str = "sha1") -> tuple[bytes, str]:
        """Ask about a certificate by POST, without a nonce: the OCSP response, and its Cache-Control."""
        builder = ocsp.OCSPRequestBuilder().add_certificate(
            chain.certificate, chain.issuer, HASHES[hash_name]
        )
        request = urllib.request.Request(
            self.address(front),
            builder.build().public_bytes(Encoding.DER),
            {"Content-Type": "application/ocsp-request"},
        )
        with urllib.request.urlopen(request) as answer:
            return answer.read(), answer.headers["Cache-Control"]

    def is_signed_ahead(self, chain: Chain, status: ocsp.OCSPCertStatus) -> bool:
        """Whether the answer about a certificate says this, and was signed ahead: only such ones may be cached."""
        response, caching = self.response("listener", chain)
        parsed = ocsp.load_der_ocsp_response(response)
        if parsed.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL or "public" not in caching:
            return False
        serial = chain.certificate.serial_number
        said = {one.certificate_status for one in parsed.responses if one.serial_number == serial}
        return said == {status}

    def crls(self, chain: Chain) -> list[Path]:
        """Fetch the CRLs that a certificate names: its partition's, and the complete one."""
        points = chain.certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        return [self._fetched(str(name.value)) for point in points for name in point.full_name or []]

    def delta(self, crl: Path) -> Path:
        """Fetch the delta that a CRL names."""
        extensions = x509.load_der_x509_crl(crl.read_bytes()).extensions
        (point,) = extensions.get_extension_for_class(x509.FreshestCRL).value
        (name,) = point.full_name or []
        return self._fetched(str(name.value))

    def _fetched(self, url: str) -> Path:
        self.directory.mkdir(exist_ok=True)
        path = self.directory / url.rsplit("/", 1)[1]
        with urllib.request.urlopen(url) as answer:
            path.write_bytes(answer.read())
        return path
