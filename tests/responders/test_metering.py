"""The meter: whose request it is, what counts, quotas over processes, and what the spool says."""

from __future__ import annotations

import base64
import os
import random
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import TAIPEI, SetClock
from engine.config import MeteringSection
from engine.usage import spool_sums
from engine.usage.account_list import ListedAccount
from engine.usage.address_ranges import Address
from engine.x509 import der
from engine.x509.ocsp_response import ResponseStatus, error_response
from responders.metering.account_book import NO_QUOTA, AccountBook, Tally
from responders.metering.meter import FLUSHES_IN_AN_INTERVAL, Meter, open_meter
from responders.metering.metered_client import MeteredClient, MeteredHttp
from responders.metering.web_front import web_ocsp
from responders.ocsp_answer import MALFORMED, TRY_LATER, OcspAnswer
from responders.ocsp_http import HttpAnswer
from tests.responders.metered import (
    OTHER_TOKEN,
    TOKEN,
    UNKNOWN_TOKEN,
    account,
    list_accounts,
    metering_in,
    spooled,
)
from tests.responders.stand_ins import CACHING, LIVE, PATH, ScriptedResponder, echo, http_over

pytestmark = pytest.mark.cps("4.4.12")

REQUEST = der.sequence(b"a request")
IN_URL = base64.b64encode(REQUEST)
UNAUTHORIZED = error_response(ResponseStatus.UNAUTHORIZED)
STRANGER = ip_address("198.51.100.1")
NETWORK = "203.0.113.0/24"
MEMBER = ip_address("203.0.113.9")


def clock() -> SetClock:
    return SetClock(datetime(2026, 9, 30, 23, 0, tzinfo=TAIPEI))


class Host:
    """Meters of one host, each as in a process of its own.

    Args:
        directory: of the host.
    """

    def __init__(self, directory: Path, *, anonymous: bool = False) -> None:
        self.settings = metering_in(directory, anonymous=anonymous)
        self.spool = directory / "spool"
        self.clock = clock()
        self.responder = ScriptedResponder()

    def accounts(self, *accounts: dict[str, object]) -> None:
        list_accounts(Path(self.settings.accounts), *accounts)

    def spoil_accounts(self, text: str) -> None:
        Path(self.settings.accounts).write_text(text)

    async def meter(self) -> Meter:
        """A meter that has just started."""
        meter = Meter(self.settings, self.clock)
        await meter.flush()
        return meter

    def client(self, meter: Meter, address: Address = STRANGER) -> MeteredClient:
        return MeteredHttp(http_over(self.responder), meter).for_client(address)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.accounts(account("bank", token=TOKEN), account("tax office", NETWORK, "2001:db8::/32", quota=5))
    return made


def ask(client: MeteredClient, target: bytes = b"/", body: bytes = REQUEST) -> HttpAnswer:
    answer = client.at_once(b"POST", target, body, None)
    assert answer is not None
    return answer


def path(token: str, rest: bytes = b"") -> bytes:
    return b"/t/" + token.encode() + b"/" + rest


def fields_of(answer: HttpAnswer) -> dict[str, str]:
    lines = answer[1].decode("ascii").splitlines()
    return dict(line.split(": ", 1) for line in lines)


METHODS = (b"GET", b"POST", b"HEAD", b"PUT")


def targets() -> st.SearchStrategy[bytes]:
    """Targets as clients write them, and as they do not."""
    tokens = st.sampled_from([TOKEN.encode(), OTHER_TOKEN.encode(), UNKNOWN_TOKEN.encode(), b"", b"t"])
    rests = st.sampled_from([b"", IN_URL, PATH[1:], b"elsewhere", b"?query"]) | st.binary(max_size=8)
    paths = st.builds(lambda token, rest: b"/t/" + token + b"/" + rest, tokens, rests)
    origins = paths | st.builds(lambda rest: b"/" + rest, rests)
    return origins | st.builds(lambda path: b"http://ocsp.example" + path, origins) | st.binary(max_size=12)


# ---- whose request it is ----


async def test_a_token_in_the_path_names_the_account(host: Host) -> None:
    meter = await host.meter()
    client = host.client(meter)
    for target in (
        path(TOKEN),
        path(TOKEN)[:-1],
        path(TOKEN, PATH[1:]),
        b"http://ocsp.example" + path(TOKEN),
    ):
        assert ask(client, target)[2] == b"answer to " + REQUEST
    for target in (path(TOKEN, IN_URL), path(TOKEN, PATH[1:] + b"/" + IN_URL)):
        answer = client.at_once(b"GET", target, b"", None)
        assert answer is not None
        assert answer[2] == b"answer to " + REQUEST
    await meter.flush()
    assert spooled(host.spool) == {"bank": (6, 0)}


async def test_an_address_names_the_account(host: Host) -> None:
    meter = await host.meter()
    for address in (MEMBER, ip_address("2001:db8:1::5")):
        assert ask(host.client(meter, address))[2] == b"answer to " + REQUEST
    for address in (STRANGER, ip_address("2001:db9::5"), ip_address("::ffff:0:9")):
        assert ask(host.client(meter, address))[2] == UNAUTHORIZED
    ask(host.client(meter, MEMBER), path(TOKEN))  # the token goes before the address
    await meter.flush()
    assert spooled(host.spool) == {"tax office": (2, 0), "bank": (1, 0)}


async def test_without_an_account_nobody_is_authorized(host: Host) -> None:
    meter = await host.meter()
    client = host.client(meter)
    short, long = TOKEN[:-1].encode(), TOKEN.encode() + b"0"
    upper = TOKEN.upper().encode()
    for target in (
        b"/",
        PATH,
        path(UNKNOWN_TOKEN),
        b"/t/",
        b"/t/%b/" % short,
        b"/t/%b/" % long,
        b"/t/%b/" % upper,
    ):
        answer = ask(client, target)
        assert (answer[0], answer[2]) == (200, UNAUTHORIZED)
        assert fields_of(answer)["Cache-Control"] == "no-store"
    assert ask(host.client(meter, MEMBER), path(UNKNOWN_TOKEN))[2] == UNAUTHORIZED
    refused = client.at_once(b"DELETE", path(UNKNOWN_TOKEN), b"", None)
    assert refused is not None
    assert refused[0] == 405
    assert ask(client, b"/elsewhere")[0] == 404
    assert host.responder.asked == []
    await meter.flush()
    assert spooled(host.spool) == {}


async def test_the_anonymous_may_be_answered_uncounted(tmp_path: Path) -> None:
    host = Host(tmp_path, anonymous=True)
    host.accounts(account("bank", NETWORK, token=TOKEN))
    meter = await host.meter()
    answer = ask(host.client(meter))
    assert answer[2] == b"answer to " + REQUEST
    assert "public" in fields_of(answer)["Cache-Control"]
    assert ask(host.client(meter), path(UNKNOWN_TOKEN))[2] == UNAUTHORIZED
    await meter.flush()
    assert spooled(host.spool) == {}


async def test_what_is_paid_for_is_for_no_shared_cache(host: Host) -> None:
    meter = await host.meter()
    known = fields_of(ask(host.client(meter), path(TOKEN)))
    by_address = fields_of(ask(host.client(meter, MEMBER)))
    assert known == by_address
    assert known["Cache-Control"] == "max-age=300, private, no-transform, must-revalidate"
    again = host.client(meter).at_once(b"GET", path(TOKEN, IN_URL), b"", known["ETag"].encode())
    assert again is not None
    assert again[0] == 304
    assert "private" in fields_of(again)["Cache-Control"]


async def test_the_longest_range_counts(tmp_path: Path) -> None:
    """Against a search through all networks. Ranges of several accounts never overlap, but a list might say so."""
    numbers = random.Random(7)
    accounts = []
    for place in range(60):
        prefix = numbers.choice((4, 8, 12, 20, 28, 32))
        network = ip_network((numbers.getrandbits(32), prefix), strict=False)
        accounts.append(ListedAccount.model_validate(account(f"{place}", str(network))))
    unique = {one.address_ranges[0]: one for one in accounts}
    book = AccountBook(unique.values(), {})
    for _ in range(2_000):
        address = ip_address(numbers.getrandbits(32))
        fitting = [ip_network(text) for text in unique if address in ip_network(text)]
        best = max(fitting, key=lambda network: network.prefixlen, default=None)
        found = book.of_address(address)
        assert (found and found.account) == (best and unique[str(best)].name)


# ---- what counts ----


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (OcspAnswer(b"response of a certificate", CACHING), True),
        (OcspAnswer(b"response with a nonce", None), True),
        (TRY_LATER, False),
        (MALFORMED, False),
    ],
)
async def test_only_an_answer_about_a_certificate_counts(
    host: Host, answer: OcspAnswer, counts: bool
) -> None:
    host.responder = ScriptedResponder(lambda _: answer)
    meter = await host.meter()
    ask(host.client(meter), path(TOKEN))
    await meter.flush()
    assert spooled(host.spool) == ({"bank": (1, 0)} if counts else {})


async def test_that_the_old_answer_holds_counts_and_what_http_refuses_does_not(host: Host) -> None:
    meter = await host.meter()
    client = host.client(meter)
    known = client.at_once(b"GET", path(TOKEN, IN_URL), b"", b'"' + CACHING.etag + b'"')
    assert known is not None
    assert known[0] == 304
    for method, target in ((b"HEAD", path(TOKEN)), (b"POST", path(TOKEN, b"elsewhere"))):
        refused = client.at_once(method, target, REQUEST, None)
        assert refused is not None
        assert refused[0] in (404, 405)
    await meter.flush()
    assert spooled(host.spool) == {"bank": (1, 0)}


async def test_live_answers_count_when_they_are_there(host: Host, nursery: trio.Nursery) -> None:
    meter = await host.meter()
    client = host.client(meter)
    assert client.at_once(b"POST", path(TOKEN), LIVE, None) is None
    with trio.move_on_after(0) as impatient:
        await client.answer(b"POST", path(TOKEN), LIVE, None)
    assert impatient.cancelled_caught
    host.responder.let_go.set()
    answer = await client.answer(b"POST", path(TOKEN), LIVE, None)
    assert answer[2] == b"live answer to " + LIVE
    stranger = host.client(meter)
    assert (await stranger.answer(b"POST", b"/", LIVE, None))[2] == UNAUTHORIZED
    await meter.flush()
    assert spooled(host.spool) == {"bank": (1, 0)}


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(METHODS), targets(), st.booleans()), max_size=20))
def test_whatever_is_asked_is_counted_once_or_not_at_all(asked: list[tuple[bytes, bytes, bool]]) -> None:
    meter = Meter(MeteringSection(accounts="/nowhere", spool="/nowhere"), clock())
    accounts = [account("bank", NETWORK, token=TOKEN), account("post", token=OTHER_TOKEN)]
    tallies: dict[str, Tally] = {}
    meter.book = AccountBook([ListedAccount.model_validate(one) for one in accounts], tallies)
    for tally in tallies.values():
        tally.left = NO_QUOTA
    shared = MeteredHttp(http_over(ScriptedResponder()), meter)
    clients = {is_member: shared.for_client(MEMBER if is_member else STRANGER) for is_member in (True, False)}
    billable = 0
    for method, target, is_member in asked:
        answer = clients[is_member].at_once(method, target, REQUEST, None)
        assert answer is not None
        billable += answer[2].startswith(b"answer to ")
    assert sum(tally.answers for tally in tallies.values()) == billable
    assert all(tally.left == NO_QUOTA - tally.answers for tally in tallies.values())


# ---- quotas ----


async def test_over_the_quota_is_refused_and_counted_as_such(host: Host) -> None:
    meter = await host.meter()
    client = host.client(meter, MEMBER)
    answers = [ask(client)[2] for _ in range(8)]
    assert answers == [b"answer to " + REQUEST] * 5 + [UNAUTHORIZED] * 3
    assert (await client.answer(b"POST", b"/", LIVE, None))[2] == UNAUTHORIZED
    await meter.flush()
    assert ask(client)[2] == UNAUTHORIZED
    await meter.flush()
    assert spooled(host.spool) == {"tax office": (5, 5)}


async def test_the_quota_is_one_for_all_processes_of_a_host(host: Host) -> None:
    first, second = await host.meter(), await host.meter()
    for _ in range(2):
        assert ask(host.client(first, MEMBER))[2] != UNAUTHORIZED
    await first.flush()
    await second.flush()  # one interval later at most
    taken = [ask(host.client(second, MEMBER))[2] != UNAUTHORIZED for _ in range(5)]
    assert taken == [True] * 3 + [False] * 2
    await second.flush()
    await first.flush()
    assert ask(host.client(first, MEMBER))[2] == UNAUTHORIZED


@pytest.mark.parametrize("seed", range(5))
async def test_what_is_over_is_no_more_than_the_others_gave_in_one_interval(host: Host, seed: int) -> None:
    """Processes that flush at times of their own, each as often as `run` does."""
    numbers = random.Random(seed)
    quota, pause = 200, 8  # requests between two flushes
    host.accounts(account("bank", token=TOKEN, quota=quota))
    meters = [await host.meter() for _ in range(3)]
    phases = [numbers.randrange(pause) for _ in meters]
    given = 0
    for step in range(3 * quota):
        order = list(range(len(meters)))
        numbers.shuffle(order)
        for place in order:
            given += ask(host.client(meters[place]), path(TOKEN))[2] != UNAUTHORIZED
            if step % pause == phases[place]:
                await meters[place].flush()
    interval = pause * FLUSHES_IN_AN_INTERVAL
    assert quota <= given <= quota + interval * (len(meters) - 1)
    for meter in meters:
        await meter.flush()
    assert spooled(host.spool)["bank"] == (given, 3 * 3 * quota - given)


async def test_a_process_that_starts_goes_on_from_the_spool(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await host.meter()
    for _ in range(4):
        ask(host.client(first, MEMBER))
    monkeypatch.setattr(spool_sums, "REMEMBERED_OCTETS", 1)  # sums are written down at each look
    await first.flush()
    assert (host.spool / "2026-09.sums.json").exists()
    first.close()
    second = await host.meter()
    assert ask(host.client(second, MEMBER))[2] != UNAUTHORIZED
    assert ask(host.client(second, MEMBER))[2] == UNAUTHORIZED
    await second.flush()
    (host.spool / "2026-09.sums.json").write_text('{"octets": {}, "ans')  # as a power cut may leave it
    third = await host.meter()
    assert ask(host.client(third, MEMBER))[2] == UNAUTHORIZED
    assert spooled(host.spool) == {"tax office": (5, 1)}


async def test_a_quota_begins_anew_with_the_month_in_taipei(host: Host) -> None:
    meter = await host.meter()
    client = host.client(meter, MEMBER)
    for _ in range(6):
        ask(client)
    host.clock.move(timedelta(hours=1))  # midnight in Taipei, four in the afternoon of the day before in UTC
    await meter.flush()
    assert ask(client)[2] != UNAUTHORIZED
    await meter.flush()
    assert spooled(host.spool, "2026-09") == {"tax office": (5, 1)}
    assert spooled(host.spool, "2026-10") == {"tax office": (1, 0)}


async def test_a_day_ends_at_midnight_in_taipei_whatever_the_interval(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flush is due at the end of the day: what is counted before belongs to that day."""

    class Asleep(Exception):
        pass

    async def sleep(seconds: float) -> None:
        raise Asleep(seconds)

    host.clock.move(timedelta(minutes=45))
    meter = Meter(host.settings, host.clock)
    monkeypatch.setattr(trio, "sleep", sleep)
    with pytest.raises(Asleep) as asleep:
        await meter.run()
    assert asleep.value.args == (15 * 60,)


# ---- accounts that change ----


async def test_accounts_are_read_again_when_they_change(host: Host) -> None:
    meter = await host.meter()
    by_token, by_address = host.client(meter), host.client(meter, MEMBER)
    ask(by_token, path(TOKEN))
    ask(by_address)
    host.accounts(account("tax office", NETWORK, quota=1), account("newspaper", token=OTHER_TOKEN))
    await meter.flush()
    assert ask(by_token, path(TOKEN))[2] == UNAUTHORIZED
    assert ask(by_address)[2] == UNAUTHORIZED  # its quota is less than what it has had
    assert ask(by_token, path(OTHER_TOKEN))[2] != UNAUTHORIZED
    host.accounts(account("post", NETWORK))
    await meter.flush()
    assert ask(by_address)[2] != UNAUTHORIZED
    await meter.flush()
    assert spooled(host.spool) == {"bank": (1, 0), "tax office": (1, 1), "newspaper": (1, 0), "post": (1, 0)}


async def test_a_damaged_list_changes_nothing(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    meter = await host.meter()
    for text in (
        "[{]",
        '[{"name": "bank"}]',
        '[{"name":"x","token_sha256":null,"address_ranges":["10/8"],"monthly_quota":1}]',
    ):
        host.spoil_accounts(text)
        await meter.flush()
        await meter.flush()
        assert ask(host.client(meter), path(TOKEN))[2] != UNAUTHORIZED
    assert len(caplog.records) == 3  # each trouble is told once


async def test_before_the_list_has_come_nobody_has_an_account(tmp_path: Path) -> None:
    host = Host(tmp_path)
    meter = await host.meter()
    assert ask(host.client(meter), path(TOKEN))[2] == UNAUTHORIZED
    host.accounts(account("bank", token=TOKEN))
    await meter.flush()
    assert ask(host.client(meter), path(TOKEN))[2] != UNAUTHORIZED


# ---- the spool ----


async def test_what_cannot_be_written_is_written_later(
    host: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk, and one that takes a part: nothing is lost, nothing is there twice, quotas hold meanwhile."""
    write, room = os.write, [0]

    def write_in_room(descriptor: int, octets: bytes) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        taken = min(room[0], len(octets))
        room[0] -= taken
        return write(descriptor, octets[:taken])

    meter = await host.meter()
    client = host.client(meter, MEMBER)
    with monkeypatch.context() as patch:
        patch.setattr("engine.usage.spool_writer.os.write", write_in_room)
        for more in (0, 10, 0, 25):
            room[0] = more
            assert ask(client)[2] != UNAUTHORIZED
            await meter.flush()
        assert spooled(host.spool) == {}
        assert [ask(client)[2] != UNAUTHORIZED for _ in range(2)] == [True, False]
    await meter.flush()
    await meter.flush()
    assert spooled(host.spool) == {"tax office": (5, 1)}
    assert "No space left" in caplog.text


async def test_a_damaged_line_of_another_process_stops_nobody(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    host.spool.mkdir()
    line = b'{"at":1790780400,"account":"tax office","answers":4,"refused":0}\n'
    (host.spool / "2026-09.00000000000000aa.jsonl").write_bytes(line + b"\x00\x00\n" + line)
    (host.spool / "2026-09.00000000000000bb.jsonl").write_bytes(line[:30])  # not yet whole
    (host.spool / "notes.txt").write_bytes(b"not of the spool")
    meter = await host.meter()
    client = host.client(meter, MEMBER)
    assert [ask(client)[2] != UNAUTHORIZED for _ in range(2)] == [True, False]
    assert "no line of a spool" in caplog.text


async def test_an_open_meter_has_written_everything_when_it_is_closed(host: Host) -> None:
    with trio.CancelScope() as scope:
        async with open_meter(host.settings, host.clock) as meter:
            ask(host.client(meter), path(TOKEN))
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert spooled(host.spool) == {"bank": (1, 0)}
    (file,) = host.spool.glob("*.jsonl")
    assert file.stat().st_mode & 0o137 == 0


async def test_the_spool_holds_no_token_and_no_address(host: Host) -> None:
    meter = await host.meter()
    ask(host.client(meter), path(TOKEN))
    ask(host.client(meter, MEMBER))
    await meter.flush()
    written = b"".join(path.read_bytes() for path in host.spool.iterdir())
    assert TOKEN.encode() not in written
    assert str(MEMBER).encode() not in written


def test_the_web_front_of_a_metered_host_answers_nobody(tmp_path: Path) -> None:
    http = http_over(ScriptedResponder(echo))
    metered = metering_in(tmp_path)
    closed = web_ocsp(http, metered)
    for target in (b"/", path(TOKEN)):
        answer = closed.at_once(b"POST", target, REQUEST, None)
        assert answer is not None
        assert answer[0] == (200 if target == b"/" else 404)
        assert answer[2] == (UNAUTHORIZED if target == b"/" else b"")
    for unmetered in (metered.model_copy(update={"enabled": False}), metering_in(tmp_path, anonymous=True)):
        assert web_ocsp(http, unmetered) is http
