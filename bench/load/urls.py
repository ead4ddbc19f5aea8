"""Whom a load may be sent to: this very host, unless the tester says otherwise."""

from __future__ import annotations

import ipaddress
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from engine.errors import InputRejected

_PROBE_SECONDS = 10.0
"""For the one request before a load. A guess."""


def check_url(url: str, place: str, *, not_loopback: bool) -> None:
    """Check an URL before anything is sent to it.

    Args:
        url: as the tester wrote it.
        place: the option.
        not_loopback: whether the tester said that another host is meant.

    Raises:
        InputRejected: it is no http or https URL of a host; it is that of another host and nobody said so; or
            nobody listens there.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (ValueError, KeyError) as error:
        raise InputRejected("this is no URL", place=place, value=url, rule="http://HOST:PORT/") from error
    if not parts.hostname or parts.query or parts.fragment:
        raise InputRejected("this is no URL", place=place, value=url, rule="http://HOST:PORT/")
    addresses = _addresses(parts.hostname, port, place, url)
    if not not_loopback and not all(ipaddress.ip_address(one).is_loopback for one in addresses):
        raise InputRejected(
            "this is another host; a load is sent to one only when asked for by name",
            place=place,
            value=url,
            rule="--not-loopback, for a host that you may load",
        )
    try:
        socket.create_connection((parts.hostname, port), _PROBE_SECONDS).close()
    except OSError as error:
        raise InputRejected("nobody listens there", place=place, value=url, rule=str(error)) from error


def _addresses(host: str, port: int, place: str, url: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InputRejected("the host is not known", place=place, value=url, rule=str(error)) from error
    return [str(one[4][0]).partition("%")[0] for one in found]


def serves(url: str) -> bool:
    """Whether a host serves a page: it answers, and not that there is none."""
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        with error:
            return error.code != 404
    except OSError:
        return False
