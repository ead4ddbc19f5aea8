"""Every spelling of base64 in a URL that clients send gives the request that was meant."""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.x509 import der
from responders.ocsp_url import request_in_url
from tests.responders.ocsp_requests import plain

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "percent-encoded": lambda text: quote(text, safe=""),
    "percent-encoded in lower case": lambda text: (
        text.replace("+", "%2b").replace("/", "%2f").replace("=", "%3d")
    ),
    "only the padding encoded": lambda text: text.replace("=", "%3D"),
    "every character encoded": lambda text: "".join(f"%{ord(c):02X}" for c in text),
    "encoded twice": lambda text: quote(quote(text, safe=""), safe=""),
    "without padding": lambda text: text.rstrip("="),
    "a slash in front": lambda text: "/" + text,
    "space for plus": lambda text: text.replace("+", "%20"),
    "URL-safe alphabet": lambda text: text.replace("+", "-").replace("/", "_"),
    "line ends": lambda text: "%0A".join(text[i : i + 64] for i in range(0, len(text), 64)) + "%0A",
    "line ends of two octets": lambda text: "%0D%0A".join(text[i : i + 64] for i in range(0, len(text), 64)),
}


def random_requests() -> list[bytes]:
    """Requests with serials of 14 to 20 octets: all paddings; random, so that + and / come up."""
    choice = random.Random(6960)
    return [plain(b"\x40" + choice.randbytes(length)) for length in range(14, 20) for _ in range(40)]


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_is_read(spell: Callable[[str], str]) -> None:
    for request in random_requests():
        text = base64.b64encode(request).decode()
        assert request_in_url(spell(text).encode()) == request


@pytest.mark.parametrize("padded", [True, False])
def test_a_slash_that_a_proxy_dropped_is_given_back(padded: bool) -> None:
    """Never a wrong reading; and the right one in nearly all cases, with other slashes elsewhere too."""
    choice = random.Random(5019)
    outcomes: Counter[bool] = Counter()
    while outcomes.total() < 100:
        request = plain(b"\x40" + choice.randbytes(15))
        text = base64.b64encode(request).decode()
        if text.count("//") != 1:
            continue
        sent = text.replace("//", "/") if padded else text.replace("//", "/").rstrip("=")
        read = request_in_url(sent.encode())
        assert read in (request, None)
        outcomes[read is not None] += 1
    assert outcomes[True] > 75


def test_the_only_run_of_slashes_is_made_as_long_as_it_was() -> None:
    request = b"\x30\x05\x04\x03\xff\xff\xff"
    text = base64.b64encode(request)
    assert text.count(b"/") == 4
    assert request_in_url(text.replace(b"////", b"//")) == request
    assert request_in_url(text.replace(b"////", b"/")) is None  # more than anybody loses


def test_two_readings_that_are_both_possible_are_not_chosen_between() -> None:
    """Both runs of slashes lie in the same OCTET STRING: with either made longer, the elements nest."""
    request = b"\x30\x0b\x04\x09" + base64.b64decode("AA/AAA//AAAA")
    text = base64.b64encode(request)
    aligned = base64.b64encode(b"\x30\x0e\x04\x0c\0\0" + base64.b64decode("AA/AAA//AAAA") + b"\0")
    assert aligned.count(b"/") == 3
    assert b"//" in aligned
    assert request_in_url(aligned.replace(b"//", b"/")) is None
    assert request_in_url(text) == request


@pytest.mark.parametrize("text", [b"", b"=", b"====", b"/", b"//", b"%", b"%%", b"%zz", b"favicon.ico"])
def test_what_is_no_base64_is_no_request(text: bytes) -> None:
    assert not request_in_url(text)


@given(st.binary(max_size=300))
def test_any_octets_are_read_or_refused(text: bytes) -> None:
    read = request_in_url(text)
    assert read is None or isinstance(read, bytes)


@given(st.text(alphabet="MAQE/%2Fb+= ", max_size=400))
def test_anything_like_base64_is_read_or_refused(text: str) -> None:
    read = request_in_url(("MIIB" + text).encode())
    assert read is None or len(read) <= len(text) + 4


@given(st.binary(max_size=300))
def test_any_element_is_read_whatever_is_in_it(content: bytes) -> None:
    """What is no request is for the OCSP layer to say."""
    octets = der.sequence(content)
    assert request_in_url(quote(base64.b64encode(octets), safe="").encode()) == octets
    assert request_in_url(base64.b64encode(octets + b"more")) is None
