"""Who is let in: by the token, a session, a client certificate; nobody else, anywhere."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from engine.errors import ConfigurationInvalid, Overloaded
from responders.operator.admission import MOST_SESSIONS, SESSION_SECONDS, Admission
from responders.operator.attempts import MOST_WAITING, WRONG_SECONDS, Attempts
from responders.operator.local_token import LEAST_CHARACTERS, local_token
from responders.operator.tls import check_reach
from tests.operator.served_home import COOKIE, ServedOperator

TOKEN = "a token that is long enough"


def test_the_token_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "token"
    made = local_token(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(made) >= LEAST_CHARACTERS
    assert local_token(path) == made


@pytest.mark.parametrize(("content", "mode"), [(TOKEN, 0o640), (TOKEN, 0o604), ("short", 0o600), ("", 0o600)])
def test_a_token_that_others_know_or_guess_is_refused(tmp_path: Path, content: str, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ConfigurationInvalid):
        local_token(path)


async def test_a_wrong_attempt_holds_up_the_next(autojump_clock: MockClock) -> None:
    attempts = Attempts(TOKEN)
    began = trio.current_time()
    assert await attempts.is_right(TOKEN)
    assert trio.current_time() == began
    async with trio.open_nursery() as nursery:
        for wrong in ("", "wrong", TOKEN + "x"):
            nursery.start_soon(attempts.is_right, wrong)
        await trio.testing.wait_all_tasks_blocked()
        assert await attempts.is_right(TOKEN)
        assert trio.current_time() - began == pytest.approx(3 * WRONG_SECONDS)


async def test_leaving_early_makes_no_attempt_cheaper(autojump_clock: MockClock) -> None:
    attempts = Attempts(TOKEN)
    began = trio.current_time()
    with trio.move_on_after(WRONG_SECONDS / 10):
        await attempts.is_right("wrong")
    assert trio.current_time() - began == pytest.approx(WRONG_SECONDS)


async def test_too_many_attempts_are_not_looked_at(autojump_clock: MockClock) -> None:
    attempts = Attempts(TOKEN)
    async with trio.open_nursery() as nursery:
        for _ in range(MOST_WAITING):
            nursery.start_soon(attempts.is_right, "wrong")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Overloaded):
            await attempts.is_right(TOKEN)
    assert await attempts.is_right(TOKEN)


async def test_a_session_ends_when_its_time_is_over(mock_clock: MockClock) -> None:
    admission = Admission(TOKEN)
    identifier = await admission.begin(TOKEN)
    assert identifier is not None
    assert TOKEN not in identifier
    assert admission.by_session(identifier) is not None
    assert admission.by_session(identifier + "x") is None
    mock_clock.jump(SESSION_SECONDS)
    assert admission.by_session(identifier) is None


async def test_a_new_session_ends_the_oldest_when_there_are_too_many(mock_clock: MockClock) -> None:
    admission = Admission(TOKEN)
    sessions = []
    for _ in range(MOST_SESSIONS + 1):
        sessions.append(await admission.begin(TOKEN) or "")
        mock_clock.jump(0.001)
    assert [admission.by_session(one) is not None for one in (*sessions[:2], sessions[-1])] == [
        False,
        True,
        True,
    ]


def test_the_token_never_travels_in_the_clear() -> None:
    for host in ("127.0.0.1", "::1", "localhost"):
        check_reach(host, None)
    for host in ("0.0.0.0", "::", "192.0.2.1", "operator.example"):
        with pytest.raises(ConfigurationInvalid):
            check_reach(host, None)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/en/",
        "/zh/",
        "/events",
        "/metrics",
        "/runs/1/pause",
        "/runs/1/resume",
        "/logout",
        "/static/page.js",
        "/static/uPlot.iife.min.js",
        "/static/nothing",
        "/nothing",
        "/static/../serve.py",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
@pytest.mark.parametrize("cookie", [None, "wrong"])
def test_nobody_comes_in_unauthenticated(
    busy: ServedOperator, path: str, method: str, cookie: str | None
) -> None:
    with busy.client() as client:
        if cookie is not None:
            client.cookies.set(COOKIE, cookie)
        answer = client.request(method, path, headers={"Origin": busy.origin})
    if answer.status_code == 303:
        assert path in {"/", "/en/", "/zh/"}
        assert answer.headers["Location"].startswith("/login")
    else:
        assert answer.status_code == 401
        assert answer.content == b"sign in first\n"


def test_the_token_itself_opens_the_metrics_only(busy: ServedOperator) -> None:
    with busy.client() as client:
        bearer = {"Authorization": f"Bearer {busy.token}"}
        assert client.get("/events", headers=bearer).status_code == 401
        assert client.post("/runs/1/pause", headers=bearer).status_code == 401
        assert client.get("/metrics", headers=bearer).status_code != 401
        assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401


def test_the_cookie_is_for_this_site_and_for_no_script(busy: ServedOperator) -> None:
    with busy.client() as client:
        answer = client.post("/login", data={"token": busy.token}, headers={"Origin": busy.origin})
    name, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=")
    assert busy.token not in name
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(attributes)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_another_site_can_neither_sign_in_nor_act(busy: ServedOperator, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    with busy.client() as client:
        assert client.post("/login", data={"token": busy.token}, headers=headers).status_code == 403
    with busy.signed_in() as client:
        assert client.post("/runs/1/resume", headers=headers).status_code == 403
        assert client.post("/logout", headers=headers).status_code == 403


def test_an_act_needs_the_word_that_only_the_page_has(busy: ServedOperator) -> None:
    with busy.signed_in() as client:
        for word in ("", "0" * 64):
            headers = {"Origin": busy.origin, "X-Sealmint-Act": word}
            assert client.post("/runs/1/resume", headers=headers).status_code == 403


def test_whoever_signs_out_is_out(busy: ServedOperator) -> None:
    with busy.signed_in() as client:
        identifier = client.cookies[COOKIE]
        assert client.get("/en/").status_code == 200
        assert client.post("/logout", headers={"Origin": busy.origin}).status_code == 303
        client.cookies.set(COOKIE, identifier)
        assert client.get("/en/").status_code == 303
