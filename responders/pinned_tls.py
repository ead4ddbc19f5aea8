"""TLS between hosts of ours: version 1.3 only, and only those come in whose very certificate was admitted."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Mapping
from pathlib import Path

from engine.errors import ConfigurationInvalid

_SUFFIX = "*.pem"


def admitted_certificates(directory: Path) -> dict[Path, bytes]:
    """Return the certificates (DER) of those who may read the feed, by file; what is no certificate is left out.

    Args:
        directory: one file, PEM, for each. That it is missing means that nobody was admitted yet.
    """
    found = {}
    for path in sorted(directory.glob(_SUFFIX)):
        with contextlib.suppress(
            OSError, ValueError
        ):  # dismissed at this moment, or of somebody else's making
            found[path] = ssl.PEM_cert_to_DER_cert(path.read_text("ascii"))
    return found


class _PinnedConnection(ssl.SSLObject):
    """A connection that ends with its handshake unless the other end has one of the certificates that are pinned.

    The library builds paths: a certificate that was admitted and may issue others would let those in too.
    """

    def do_handshake(self) -> None:
        """Shake hands, and look who it is."""
        super().do_handshake()
        context = self.context
        if not isinstance(context, PinningContext) or not context.admits(self.getpeercert(True)):
            raise ssl.SSLCertVerificationError("this certificate was not admitted")


class PinningContext(ssl.SSLContext):
    """A server's side, for readers that were admitted.

    `made` makes it.
    """

    sslobject_class = _PinnedConnection
    _pinned: frozenset[bytes] = frozenset()

    def admits(self, certificate: bytes | None) -> bool:
        """Whether a certificate (DER) is one of those that are pinned."""
        return certificate in self._pinned

    @classmethod
    def made(cls, certificate: Path, key: Path, admitted: Mapping[Path, bytes]) -> PinningContext:
        """Make it.

        Args:
            certificate: the server's, PEM.
            key: its private key, PEM.
            admitted: what `admitted_certificates` found.

        Raises:
            ConfigurationInvalid: certificate or key cannot be used.
        """
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3  # both ends are ours
        context.set_alpn_protocols(["http/1.1"])
        context.verify_mode = ssl.CERT_REQUIRED
        context.num_tickets = 0  # nobody comes back with a session instead of his certificate
        context._pinned = frozenset(admitted.values())
        try:
            context.load_cert_chain(certificate, key)
            for octets in context._pinned:
                context.load_verify_locations(cadata=octets)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigurationInvalid(
                "the TLS files of the feed cannot be used", place=str(certificate), value=str(error)
            ) from error
        return context
