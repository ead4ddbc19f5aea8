"""The way between responders and the live signer: a Unix socket, or TLS at which both ends show certificates."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import trio

from engine.config import OcspSection
from engine.errors import ConfigurationInvalid
from engine.unix_sockets import connect_unix, listen_unix

_SCHEME = "tls"
LISTEN_BACKLOG = 64
"""A guess: responder processes that connect at the same time."""


async def open_stream(settings: OcspSection) -> trio.abc.Stream:
    """Connect to the live signer.

    Raises:
        OSError, trio.BrokenResourceError: it is not there, or its certificate is not to be trusted.
        ConfigurationInvalid: the address or a certificate file is wrong.
    """
    address = _network_address(settings)
    if address is None:
        return await connect_unix(Path(settings.live_signer or ""))
    host, port = address
    context = _tls_context(settings, ssl.Purpose.SERVER_AUTH)
    stream = trio.SSLStream(await trio.open_tcp_stream(host, port), context, server_hostname=host)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def open_listeners(settings: OcspSection) -> Sequence[trio.abc.Listener[trio.abc.Stream]]:
    """Listen for responders.

    Raises:
        ConfigurationInvalid: the address or a certificate file is wrong, or the address cannot be listened at.
    """
    place, address = settings.live_signer or "", _network_address(settings)
    try:
        if address is None:
            return [listen_unix(Path(place), LISTEN_BACKLOG)]
        context = _tls_context(settings, ssl.Purpose.CLIENT_AUTH)
        host, port = address
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=LISTEN_BACKLOG)
    except OSError as error:
        message = "the live signer cannot listen here"
        raise ConfigurationInvalid(message, place=place, value=error.strerror) from error
    return [trio.SSLListener(listener, context) for listener in listeners]


def _network_address(settings: OcspSection) -> tuple[str, int] | None:
    """Host and port of a tls:// address; None for a path."""
    place = settings.live_signer or ""
    if not place.startswith(f"{_SCHEME}://"):
        return None
    parts = urlsplit(place)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None:
        rule = "a path, or tls://host:port"
        raise ConfigurationInvalid(
            "the live signer's address is wrong", place="ocsp.live_signer", value=place, rule=rule
        )
    return host, port


def _tls_context(settings: OcspSection, purpose: ssl.Purpose) -> ssl.SSLContext:
    files = (settings.live_tls_certificate, settings.live_tls_key, settings.live_tls_ca)
    certificate, key, authority = files
    if certificate is None or key is None or authority is None:
        rule = "live_tls_certificate, live_tls_key and live_tls_ca are given together with tls://"
        raise ConfigurationInvalid("TLS needs certificates", place="[ocsp]", rule=rule)
    try:
        context = ssl.create_default_context(purpose, cafile=authority)
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationInvalid("a TLS file cannot be used", place="[ocsp]", value=str(error)) from error
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3  # both ends are ours
    return context
