"""Fetching the counts of a public host, over TLS with the certificates of the feed, the other way round.

The CA host shows the certificate that the feed is served with, and believes in those that were admitted to it: the one
that answers tells which host it is.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from engine.config import Configuration
from engine.errors import FeedRejected, FeedUnavailable, HomeUnusable
from engine.feed.admission import ADMITTED, SERVER_CERTIFICATE, SERVER_KEY
from engine.feed.feed_url import checked_url
from engine.home import Home
from engine.usage.collection import PIECE_OCTETS, SpoolFile

PATIENCE = httpx.Timeout(30.0, connect=10.0)
"""Seconds. A guess: the files are read from a disk, and nothing is waited for."""

MOST_LISTING_OCTETS = 8 << 20
"""A guess: ten thousand files would have a tenth of it."""


class _Listed(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    name: str
    octets: int = Field(ge=0)


_LISTING = TypeAdapter(list[_Listed])


class PublicHostSpool:
    """The spool of a public host.

    Args:
        url: `https://host:port`.
        transport: does the HTTP, with the certificates.
        names: of the hosts, by their certificates (DER).

    Attributes:
        name: of the host that answered.

    Raises:
        FeedUnavailable: the host does not answer.
        FeedRejected: it is none that was admitted, or what it sends is no spool.
    """

    def __init__(self, url: str, transport: httpx.Client, names: dict[bytes, str]) -> None:
        self._url = f"{url}/usage/v1/spool"
        self._transport = transport
        self._names = names
        self.name: str | None = None
        self._listing = self._get(self._url, {}, MOST_LISTING_OCTETS)

    def files(self) -> list[SpoolFile]:
        """Return what there was when the connection was made.

        Raises:
            FeedRejected: this is no listing.
        """
        try:
            return [SpoolFile(one.name, one.octets) for one in _LISTING.validate_json(self._listing)]
        except ValidationError as error:
            fault = str(error.errors()[0]["msg"])
            raise FeedRejected("this is no listing of a spool", place=self._url, rule=fault) from error

    def read(self, name: str, offset: int) -> bytes:
        """Return whole lines from an offset on.

        Raises:
            FeedUnavailable: the host does not answer.
            FeedRejected: another host answers, or with more than was asked for.
        """
        return self._get(f"{self._url}/{name}", {"offset": str(offset)}, PIECE_OCTETS)

    def _get(self, url: str, query: dict[str, str], most: int) -> bytes:
        try:
            with self._transport.stream("GET", url, params=query) as response:
                self._check(response)
                content = b""
                for part in response.iter_raw():
                    content += part
                    if len(content) > most:
                        raise FeedRejected("an answer is too long", place=url, rule=f"{most} octets")
                status = response.status_code
        except (httpx.HTTPError, httpx.StreamError, ssl.SSLError) as error:
            value = f"{type(error).__name__}: {error}"
            raise FeedUnavailable("the public host does not answer", place=url, value=value) from error
        if status != httpx.codes.OK:
            raise FeedUnavailable("the public host gives no answer", place=url, value=status)
        return content

    def _check(self, response: httpx.Response) -> None:
        """Learn which host answers; it must stay the same."""
        tls = response.extensions["network_stream"].get_extra_info("ssl_object")
        name = self._names.get(tls.getpeercert(True))
        if name is None or self.name not in (None, name):
            raise FeedRejected("another host answers", place=self._url, value=name, rule="admitted, and one")
        self.name = name


@contextmanager
def open_public_host(url: str, home: Home, configuration: Configuration) -> Iterator[PublicHostSpool]:
    """Connect to a public host, and yield its spool.

    Raises:
        ConfigurationInvalid: the URL is none.
        HomeUnusable: nobody was admitted to the feed yet, or a certificate is damaged.
        FeedUnavailable: the host does not answer.
        FeedRejected: it is none that was admitted.
    """
    place = checked_url(url)
    context, names = _tls(home, configuration)
    with httpx.Client(
        verify=context,
        trust_env=False,  # neither a proxy nor another certificate comes out of the environment
        follow_redirects=False,
        timeout=PATIENCE,
        headers={"Accept-Encoding": "identity", "User-Agent": "sealmint"},
    ) as transport:
        yield PublicHostSpool(place, transport, names)


def _tls(home: Home, configuration: Configuration) -> tuple[ssl.SSLContext, dict[bytes, str]]:
    directory = Path(configuration.feed.directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the very certificates are pinned, and say no host names
    names = {}
    try:
        for path in sorted((directory / ADMITTED).glob("*.pem")):
            certificate = ssl.PEM_cert_to_DER_cert(path.read_text("ascii"))
            names[certificate] = path.stem
            context.load_verify_locations(cadata=certificate)
        if names:
            context.load_cert_chain(directory / SERVER_CERTIFICATE, home.path / "secrets" / SERVER_KEY)
    except (OSError, ValueError) as error:
        raise HomeUnusable(
            "the certificates of the feed cannot be used", place=str(directory), value=str(error)
        ) from error
    if not names:
        raise HomeUnusable("no public host was admitted yet: sealmint feed admit", place=str(directory))
    return context, names
