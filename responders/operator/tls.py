"""Hypercorn's settings for the page, with TLS where it is configured, and client certificates where they are."""

from __future__ import annotations

import ipaddress
import ssl

from hypercorn.config import Config

from engine.config import OperatorSection
from engine.errors import ConfigurationInvalid

GRACE_SECONDS = 5.0
"""How long responses in hand may take when the process stops. A guess: the streams of events end by themselves."""

HANDSHAKE_SECONDS = 10.0
"""A guess: who has not shaken hands by then keeps others out."""

IDLE_SECONDS = 30.0
"""How long a connection may stay without a request. A guess."""

HEADER_OCTETS = 16_384
"""Of a request. A guess: a browser sends one or two thousand."""


class OperatorSettings(Config):
    """Hypercorn's settings.

    Args:
        context: of TLS; None: plain HTTP.
        socket: the descriptor of the listening socket, which hypercorn closes.
    """

    def __init__(self, context: ssl.SSLContext | None, socket: int) -> None:
        self._context = context
        self.bind = [f"fd://{socket}"]
        self.graceful_timeout = GRACE_SECONDS
        self.ssl_handshake_timeout = HANDSHAKE_SECONDS
        self.keep_alive_timeout = IDLE_SECONDS
        self.h11_max_incomplete_size = HEADER_OCTETS
        self.include_server_header = False
        self.loglevel = "WARNING"

    @property
    def ssl_enabled(self) -> bool:
        """Whether there is TLS."""
        return self._context is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """Return our context."""
        return self._context


def tls_context(settings: OperatorSection) -> ssl.SSLContext | None:
    """Return the context of TLS; None where none is configured.

    With `client_ca` a certificate from there lets a client in; whoever shows none is asked for the token.

    Raises:
        ConfigurationInvalid: half of it is configured, or a file cannot be used.
    """
    certificate, key = settings.tls_certificate, settings.tls_key
    if certificate is None or key is None:
        if not certificate and not key and not settings.client_ca:
            return None
        raise ConfigurationInvalid(
            "TLS of the operator's page is configured in part only",
            place="[operator]",
            rule="tls_certificate and tls_key together; client_ca only with them",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 9325 section 3.1.1: nothing older
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 0  # nobody comes back with a session instead of his certificate
    try:
        context.load_cert_chain(certificate, key)
        if settings.client_ca is not None:
            context.load_verify_locations(settings.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationInvalid(
            "a TLS file of the operator's page cannot be used", place="[operator]", value=str(error)
        ) from error
    return context


def check_reach(host: str, context: ssl.SSLContext | None) -> None:
    """See to it that the token never travels over a network in the clear.

    Raises:
        ConfigurationInvalid: other hosts could connect, and there is no TLS.
    """
    if context is None and not _is_loopback(host):
        raise ConfigurationInvalid(
            "other hosts could reach the operator's page, and it has no TLS",
            place="[operator].listen, or --listen",
            value=host,
            rule="a loopback address, or tls_certificate and tls_key",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
