"""Hosts of the tests' own: network namespaces on a bridge; where those are not allowed, processes that are stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from tests.processes import children_of

NETWORK = "10.213.77"
"""Of the bridge and the namespaces: private (RFC 1918), seen by nothing beside them."""

ADDRESS = f"{NETWORK}.1"
"""Of what all hosts reach: the bridge, in the namespace of the tests."""


@dataclass
class Host:
    """A host.

    Attributes:
        name: of its namespace.
        is_namespace: whether it is one; if not, cutting it off is stopping its processes.
        processes: what was started on it.
    """

    name: str
    is_namespace: bool
    processes: list[int] = field(default_factory=list)

    def run(self, start: Callable[..., subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Start something there: it is given the words before its command."""
        process = start(*(["ip", "netns", "exec", self.name] if self.is_namespace else []))
        self.processes.append(process.pid)
        return process

    def cut_off(self) -> None:
        """Take it from the network: no packet of it arrives, and nobody is told."""
        if self.is_namespace:
            _ip("link", "set", _link_of(self.name), "down")
        else:
            self._send(signal.SIGSTOP)

    def heal(self) -> None:
        """Bring it back."""
        if self.is_namespace:
            _ip("link", "set", _link_of(self.name), "up")
        else:
            self._send(signal.SIGCONT)

    def kill(self) -> None:
        """End all that runs there, at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process in self.processes:
            for one in (process, *children_of(process)):
                with suppress(ProcessLookupError):
                    os.kill(one, number)


@contextmanager
def network_of(names: Sequence[str]) -> Iterator[list[Host]]:
    """Hosts on one network, gone when the block ends; without the right to make any, plain processes.

    A process of ours has the number of a namespace in its name, so two runs of the tests do not meet; they share the
    network's addresses, so the second one does without.
    """
    named = [f"sm{os.getpid()}{name}" for name in names]
    with ExitStack() as made:
        try:
            _make(named, made)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            made.close()
            print(f"no network namespaces here, so hosts are processes that are stopped: {error}")
            yield [Host(name, False) for name in named]
        else:
            yield [Host(name, True) for name in named]


def _make(named: Sequence[str], made: ExitStack) -> None:
    bridge = f"smb{os.getpid()}"
    if ADDRESS in _ip("-o", "address"):
        raise FileNotFoundError(f"{ADDRESS} is in use")
    _ip("link", "add", bridge, "type", "bridge")
    made.callback(_ip, "link", "del", bridge)
    _ip("address", "add", f"{ADDRESS}/24", "dev", bridge)
    _ip("link", "set", bridge, "up")
    for place, name in enumerate(named, 2):
        _ip("netns", "add", name)
        made.callback(_ip, "netns", "del", name)  # the link goes with it
        _ip("link", "add", _link_of(name), "type", "veth", "peer", "name", "up0", "netns", name)
        _ip("link", "set", _link_of(name), "master", bridge, "up")
        _ip("-n", name, "address", "add", f"{NETWORK}.{place}/24", "dev", "up0")
        _ip("-n", name, "link", "set", "up0", "up")
        _ip("-n", name, "link", "set", "lo", "up")


def _link_of(name: str) -> str:
    """The bridge's end of a host's link; a link's name has 15 characters at most (netdevice(7), IFNAMSIZ)."""
    return f"v{name}"[:15]


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
    return done.stdout
