"""A connection that a proxy passed on, until the PROXY protocol header has told whose it is; and who is told so.

Only those whose connections come from a listed proxy begin in this way, and they must: one without a header is closed,
for it would be taken for the proxy's own. What others send is never read as a header.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from engine.config import RespondersSection
from engine.errors import ConfigurationInvalid, InputRejected
from engine.usage.address_ranges import Address, Network, parse_address, parse_network
from responders.connection import ARRIVING, Pulse
from responders.connection_loop import ConnectionLoop
from responders.ocsp_http import HttpAnswering
from responders.proxy_protocol import MOST_OCTETS, NotProxyHeader, read_header

HttpFor = Callable[[Address], HttpAnswering]
"""From a client's address to what answers it."""


class ProxiedConnection:
    """A connection whose header is awaited.

    The header alone is taken out of the socket: what the client sent stays for the `Connection` that follows.

    Args:
        sock: its socket, non-blocking.
        pulse: shared by all connections of the process.
        told: called with this and the client's address, None where the proxy does not say; closes nothing.
        ended: called when the socket is about to be closed.
    """

    __slots__ = ("_ended", "_seen", "_socket", "_told", "descriptor", "phase", "since")

    def __init__(
        self,
        sock: socket.socket,
        pulse: Pulse,
        told: Callable[[ProxiedConnection, Address | None], None],
        ended: Callable[[ProxiedConnection], None],
    ) -> None:
        self._socket = sock
        self._told = told
        self._ended = ended
        self._seen = b""  # of a header, taken out of the socket
        self.descriptor = sock.fileno()
        self.phase = ARRIVING
        self.since = pulse.now

    def ready(self) -> None:
        """Read the header, or a part of it. Never waits."""
        try:
            coming = self._socket.recv(MOST_OCTETS, socket.MSG_PEEK)
            header = read_header(self._seen + coming) if coming else None
            if header is not None:
                self._socket.recv(header.octets - len(self._seen))
                self._told(self, header.source)
            elif coming:
                self._seen += self._socket.recv(len(coming))
            else:
                self.end()
        except BlockingIOError:
            return
        except (OSError, NotProxyHeader):
            self.end()

    def expire(self) -> None:
        """End it: the header took too long."""
        self.end()

    def end(self) -> None:
        """Close the connection."""
        self._ended(self)
        self._socket.close()


class Arrivals:
    """Takes accepted connections in where it matters whose they are.

    Args:
        http_for: gives what answers a client.
        proxies: networks whose connections begin with a PROXY protocol header.
    """

    def __init__(self, http_for: HttpFor, proxies: Sequence[Network]) -> None:
        self._http_for = http_for
        self._proxies = proxies

    def take(self, connections: ConnectionLoop, accepted: socket.socket, peer: str) -> None:
        """Take a connection in.

        Args:
            connections: which it joins.
            accepted: its socket, non-blocking.
            peer: the address it comes from, as the socket gives it.
        """
        address = parse_address(peer)
        if not any(address in network for network in self._proxies):
            connections.add(accepted, self._http_for(address))
            return

        def told(header_of: ProxiedConnection, source: Address | None) -> None:
            connections.succeed(header_of, accepted, self._http_for(source or address))

        connections.watch(ProxiedConnection(accepted, connections.pulse, told, connections.ended))


def proxies_in(settings: RespondersSection) -> list[Network]:
    """Return the networks of proxies.

    Raises:
        ConfigurationInvalid: one is none.
    """
    try:
        return [parse_network(text, "[responders].proxies") for text in settings.proxies]
    except InputRejected as error:
        raise ConfigurationInvalid(
            error.message, place=error.place, value=error.value, rule=error.rule
        ) from error
