"""OCSP over HTTP: targets, statuses, and what caches are told, to the second."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from engine.x509 import der
from engine.x509.ocsp_response import ResponseStatus, error_response
from responders.http_times import epoch_of, http_date, whole_seconds
from responders.ocsp_answer import TRY_LATER, Caching, OcspAnswer
from responders.ocsp_http import HttpAnswer, OcspHttp
from tests.responders.stand_ins import LIVE, NOW, PATH, ScriptedResponder, clock, http_over

REQUEST = der.sequence(b"a request")
IN_URL = b"/" + base64.b64encode(REQUEST)


def fields_of(answer: HttpAnswer | None) -> dict[str, str]:
    assert answer is not None
    lines = answer[1].decode("ascii").split("\r\n")
    assert lines.pop() == ""
    return dict(line.split(": ", 1) for line in lines)


def get(target: bytes = IN_URL, tag: bytes | None = None, http: OcspHttp | None = None) -> HttpAnswer:
    answer = (http or http_over(ScriptedResponder())).at_once(b"GET", target, b"", tag)
    assert answer is not None
    return answer


def post(target: bytes, body: bytes = REQUEST, method: bytes = b"POST") -> HttpAnswer:
    answer = http_over(ScriptedResponder()).at_once(method, target, body, None)
    assert answer is not None
    return answer


@pytest.mark.parametrize(
    "target",
    [
        IN_URL,
        b"/" + IN_URL,
        PATH + IN_URL,
        PATH + b"/" + IN_URL,
        b"http://ocsp.example" + IN_URL,
        b"http://ocsp.example:80" + PATH + IN_URL,
        IN_URL + b"?cache=no",
        PATH + IN_URL + b"?",
    ],
)
def test_a_request_is_found_in_any_form_of_target(target: bytes) -> None:
    status, _, body = get(target)
    assert (status, body) == (200, b"answer to " + REQUEST)


@pytest.mark.parametrize(
    "target", [b"/", PATH, PATH + b"/", PATH + b"?x", b"http://ocsp.example/", b"http://ocsp.example"]
)
def test_a_posted_request_is_answered_at_the_paths_of_ocsp(target: bytes) -> None:
    status, _, body = post(target)
    assert (status, body) == (200, b"answer to " + REQUEST)


@pytest.mark.parametrize("target", [b"/elsewhere", PATH + b"/more", b"*", b""])
def test_posted_elsewhere_nothing_is_found(target: bytes) -> None:
    assert post(target)[0] == 404


@pytest.mark.parametrize("target", [b"/favicon.ico", b"/robots.txt", b"/.env", b"*", b""])
def test_a_get_of_something_else_finds_nothing(target: bytes) -> None:
    assert get(target)[0] == 404


@pytest.mark.parametrize("target", [b"/MFEw", PATH, PATH + b"/", PATH + b"/not+a+request"])
def test_a_get_that_was_meant_for_ocsp_is_answered_by_ocsp(target: bytes) -> None:
    status, _, body = get(target)
    assert (status, body) == (200, error_response(ResponseStatus.MALFORMED_REQUEST))


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE", b"CONNECT"])
def test_other_methods_are_told_which_there_are(method: bytes) -> None:
    answer = post(b"/", method=method)
    assert answer[0] == 405
    assert answer[2] == b""
    assert fields_of(answer)["Allow"] == "GET, POST"


def test_what_caches_are_told_is_true_to_the_second() -> None:
    """RFC 9919 section 7.2, and the fields of RFC 9110."""
    for answer in (get(), post(b"/")):
        assert fields_of(answer) == {
            "Content-Type": "application/ocsp-response",
            "Content-Length": str(len(b"answer to " + REQUEST)),
            "Cache-Control": "max-age=300, public, no-transform, must-revalidate",
            "Date": "Mon, 02 Mar 2026 12:00:00 GMT",
            "Last-Modified": "Mon, 02 Mar 2026 11:00:00 GMT",
            "Expires": "Mon, 02 Mar 2026 13:00:00 GMT",
            "ETag": '"0123456789abcdef"',
        }


@pytest.mark.parametrize(
    ("max_age", "left", "told"), [(300, 299, 299), (300, 301, 300), (300, 1, 1), (300, 0, 0), (0, 99, 0)]
)
def test_no_cache_keeps_an_answer_past_its_next_update(max_age: int, left: int, told: int) -> None:
    caching = Caching(NOW - 60, NOW + left, b"tag")
    http = http_over(ScriptedResponder(lambda request: OcspAnswer(request, caching)), max_age=max_age)
    control = fields_of(get(http=http))["Cache-Control"]
    assert control.startswith(f"max-age={told}, ")


def test_dates_and_ages_follow_the_clock() -> None:
    moving = clock()
    http = OcspHttp(ScriptedResponder(), whole_seconds(moving), max_age=86_400, path=PATH)
    for second in range(3):
        fields = fields_of(get(http=http))
        assert fields["Date"] == f"Mon, 02 Mar 2026 12:00:0{second} GMT"
        assert fields["Cache-Control"].startswith(f"max-age={3600 - second}, ")
        moving.move(timedelta(seconds=1))


@pytest.mark.parametrize(
    "tag",
    [
        b'"0123456789abcdef"',
        b'W/"0123456789abcdef"',
        b'"other", "0123456789abcdef"',
        b'"other",W/"0123456789abcdef" , "more"',
        b"*",
        b" * ",
    ],
)
def test_who_has_the_answer_is_told_so(tag: bytes) -> None:
    answer = get(tag=tag)
    assert answer[0] == 304
    assert answer[2] == b""
    assert set(fields_of(answer)) == {"Cache-Control", "Date", "Last-Modified", "Expires", "ETag"}


@pytest.mark.parametrize("tag", [b'"other"', b"0123456789abcdef", b'"0123456789ABCDEF"', b"", b'"', b"**"])
def test_who_has_another_answer_is_given_this_one(tag: bytes) -> None:
    assert get(tag=tag)[0] == 200


def test_a_condition_on_a_post_is_not_heard() -> None:
    answer = http_over(ScriptedResponder()).at_once(b"POST", b"/", REQUEST, b"*")
    assert answer is not None
    assert answer[0] == 200


def test_errors_are_ocsp_answers_that_nobody_keeps() -> None:
    http = http_over(ScriptedResponder(lambda _: TRY_LATER))
    answer = get(tag=b"*", http=http)
    assert (answer[0], answer[2]) == (200, error_response(ResponseStatus.TRY_LATER))
    assert fields_of(answer) == {
        "Content-Type": "application/ocsp-response",
        "Content-Length": "5",
        "Cache-Control": "no-store",
        "Date": "Mon, 02 Mar 2026 12:00:00 GMT",
    }


async def test_a_live_answer_is_for_its_asker_only() -> None:
    responder = ScriptedResponder()
    http = http_over(responder)
    assert http.at_once(b"POST", b"/", LIVE, None) is None
    responder.let_go.set()
    answer = await http.answer(b"POST", b"/", LIVE, None)
    assert answer[2] == b"live answer to " + LIVE
    assert fields_of(answer)["Cache-Control"] == "private, no-store"
    assert "ETag" not in fields_of(answer)


def fail(_: bytes) -> OcspAnswer:
    raise RuntimeError("a defect")


async def test_a_defect_is_an_internal_error_of_ocsp_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    http = http_over(ScriptedResponder(fail))
    answer = get(http=http)
    assert (answer[0], answer[2]) == (200, error_response(ResponseStatus.INTERNAL_ERROR))
    assert "a defect" in caplog.text
    assert get(b"/favicon.ico", http=http)[0] == 404


async def test_refusals_are_the_same_with_and_without_waiting() -> None:
    http = http_over(ScriptedResponder())
    for asked in (
        (b"PUT", b"/", b""),
        (b"GET", b"/x", b""),
        (b"POST", b"/x", REQUEST),
        (b"GET", b"/MFEw", b""),
    ):
        assert await http.answer(*asked, None) == http.at_once(*asked, None)


def test_http_dates_are_read_in_all_three_forms() -> None:
    """RFC 9110 section 5.6.7, its own examples."""
    expected = int(datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp())
    assert http_date(expected) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    for date in (
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ):
        assert epoch_of(date) == expected
    for nonsense in ("", "yesterday", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 999999 08:49:37 GMT"):
        assert epoch_of(nonsense) is None
