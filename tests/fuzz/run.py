"""The whole run: all is served, not metered and then metered behind a proxy, and every group asked in two halves."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import trio

from tests.fuzz import good_requests
from tests.fuzz.client import Place
from tests.fuzz.described_api import ask_as_described
from tests.fuzz.judge import Judge
from tests.fuzz.known_things import Unaccepted
from tests.fuzz.processes import family_of
from tests.fuzz.route_groups import Group
from tests.fuzz.served_hosts import Running, TwoHosts
from tests.responders.proxy_headers import version_2

_FROM_PROXY = version_2(IPv4Address("203.0.113.7"))


def run(hosts: TwoHosts, requests: int, seed: int) -> list[Group]:
    """Ask everything that both hosts serve; return what was seen, findings and all.

    Args:
        hosts: the homes; the public host's is left metered.
        requests: how many in all, about.
        seed: of all choices.
    """
    with _both_served(hosts) as (feed, usage):
        groups = []
        with _site_served(hosts) as serving:
            groups += _ask(
                hosts, _groups(hosts, serving, feed, usage), requests, seed, (feed, usage, serving)
            )
        hosts.meter()
        with _site_served(hosts) as serving:
            groups += _ask(hosts, _metered_groups(hosts, serving), requests, seed, (feed, usage, serving))
    return groups


@contextmanager
def _both_served(hosts: TwoHosts) -> Iterator[tuple[Running, Running]]:
    """The feed, which the public host follows, and the counts of the public host."""
    with (
        hosts.running("feed", "serve", "--home", hosts.authority.path, "--listen", "127.0.0.1:0") as feed,
        hosts.public.following(feed.told["feed"]),
        hosts.running("usage", "serve", "--home", hosts.public.path, "--listen", "127.0.0.1:0") as usage,
    ):
        yield feed, usage


@contextmanager
def _site_served(hosts: TwoHosts) -> Iterator[Running]:
    places = ("--ocsp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--processes", 1)
    with hosts.running("serve", "--home", hosts.public.path, *places) as serving:
        yield serving


def _groups(hosts: TwoHosts, serving: Running, feed: Running, usage: Running) -> list[Group]:
    unaccepted = Unaccepted(hosts.known)
    web, listener = Place(serving.address("http")), Place(serving.address("ocsp"))
    public, authority = hosts.public.path, hosts.authority.path
    reader = _tls(
        authority / "feed" / "server.pem", public / "feed" / "own.pem", public / "secrets" / "feed-key.pem"
    )
    collector = _tls(
        public / "feed" / "own.pem",
        authority / "feed" / "server.pem",
        authority / "secrets" / "feed-server-key.pem",
    )
    api = Judge(unaccepted)
    described = partial(ask_as_described, str(serving.told["http"]).rstrip("/"), api)
    site, fast = serving.named("web"), serving.named("listener")
    signing = feed.named("feed_")
    return [
        Group("API", web, good_requests.at_api(hosts), api, site, 0.2, described),
        Group("web front", web, good_requests.at_web_front(hosts), Judge(unaccepted), site, 0.2),
        Group("OCSP listener", listener, good_requests.at_listener(hosts), Judge(unaccepted), fast, 0.2),
        Group(
            "feed front",
            Place(feed.address("feed"), reader),
            good_requests.at_feed(hosts),
            Judge(unaccepted, about_status=True),
            signing,
            0.1,
        ),
        Group(
            "usage front",
            Place(usage.address("usage"), collector),
            good_requests.at_usage(hosts),
            Judge(unaccepted),
            usage.processes,
            0.05,
        ),
    ]


def _metered_groups(hosts: TwoHosts, serving: Running) -> list[Group]:
    unaccepted = Unaccepted(hosts.known)
    listener = Place(serving.address("ocsp"), greeting=_FROM_PROXY)
    web = Place(serving.address("http"))
    asked = good_requests.at_listener(hosts, metered=True)
    site, fast = serving.named("web"), serving.named("listener")
    return [
        Group("OCSP listener, metered", listener, asked, Judge(unaccepted), fast, 0.1),
        Group("web front, metered", web, good_requests.at_web_front(hosts), Judge(unaccepted), site, 0.15),
    ]


def _ask(
    hosts: TwoHosts, groups: list[Group], requests: int, seed: int, running: Sequence[Running]
) -> list[Group]:
    for group in groups:
        trio.run(_ask_group, group, requests, seed)
    for one in running:
        if family_of(one.processes[0].pid) != one.processes:
            groups[0].judge.findings.add(f"processes have died: {one.processes}", b"")
    for log in hosts.logs:
        if b"Traceback" in (said := log.read_bytes()):
            place = said.index(b"Traceback")
            groups[0].judge.findings.add(
                f"{log.name} has a traceback", said[max(0, place - 500) : place + 3_000]
            )
    return groups


async def _ask_group(group: Group, requests: int, seed: int) -> None:
    """Ask a group's routes, and look at its memory before, in the middle and after."""
    half = max(1, int(requests * group.share / 2))
    group.look_at_memory()
    for part in range(2):
        await group.ask(half, 2 * seed + part)
        group.look_at_memory()
    group.judge_memory()


def _tls(server: Path, certificate: Path, key: Path) -> ssl.SSLContext:
    """The side of a client that knows one server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(server)
    context.load_cert_chain(certificate, key)
    return context


def as_json(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """What was seen."""
    return [
        {
            "routes": group.name,
            "requests": group.requests,
            "statuses": dict(sorted(group.judge.findings.statuses.items())),
            "memory": group.memory,
            "findings": group.judge.findings.wrong,
        }
        for group in groups
    ]
