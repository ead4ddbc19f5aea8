"""Questions to the web front: certificate revocation lists, and searches of the repository."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import orjson
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bench.load.failures import WrongAnswer
from bench.load.ocsp_questions import check_http
from bench.load.popularity import Popularity
from bench.load.question import HttpAnswer, Question

SEARCH_PATH = "/api/v1/certificates?"


class CrlFetching:
    """Fetchers of CRLs, each of which says what it has (If-None-Match).

    Args:
        url: of the web front, without a slash at its end.
        paths: of the CRLs.
        popularity: how often each is fetched.
        ca: the CA certificate, DER.
        fetchers: how many there are.
        clock_skew: seconds by which the clocks of both sides may differ.
        seed: of the choice of the fetcher.
    """

    def __init__(
        self,
        url: str,
        paths: list[str],
        popularity: Popularity,
        ca: bytes,
        *,
        fetchers: int,
        clock_skew: float,
        seed: int,
    ) -> None:
        self._url = url
        self._paths = paths
        self._popularity = popularity
        self._ca = x509.load_der_x509_certificate(ca)
        self._fetchers = fetchers
        self._skew = timedelta(seconds=clock_skew)
        self._choice = random.Random(seed)
        self._tags: dict[tuple[int, str], str] = {}

    def question(self, draw: float, now: float) -> Question:
        """Return the next question."""
        path = self._paths[self._popularity.index(draw)]
        place = self._choice.randrange(self._fetchers), path
        known = self._tags.get(place)

        def judge(answer: HttpAnswer, verify: bool) -> bool:
            check_http(answer, 200, 304)
            if answer.status == 304:
                if known is None or answer.headers.get("etag") != known:
                    raise WrongAnswer("not-modified", f"{path}: 304 for {answer.headers.get('etag')}")
                return False
            if verify:
                self._verify(path, answer)
            if "etag" in answer.headers:
                self._tags[place] = answer.headers["etag"]
            return verify

        headers = {} if known is None else {"If-None-Match": known}
        return Question(self._url + path, judge, None, headers)

    def _verify(self, path: str, answer: HttpAnswer) -> None:
        """RFC 5280 section 6.3.3: of this issuer, signed by it, of this time."""
        now = datetime.fromtimestamp(answer.came_at, UTC)
        try:
            found = x509.load_der_x509_crl(answer.body)
            key = self._ca.public_key()
            if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
                raise WrongAnswer("signature", f"{path}: the CA has no key that signs CRLs")
            if found.issuer != self._ca.subject:
                raise WrongAnswer("signer", f"{path}: of another issuer")
            if not found.is_signature_valid(key):
                raise WrongAnswer("signature", f"{path}: the signature does not verify")
        except ValueError as error:
            raise WrongAnswer("unreadable", f"{path}: {error}") from error
        until = found.next_update_utc
        if found.last_update_utc > now + self._skew or until is None or until < now - self._skew:
            raise WrongAnswer("times", f"{path}: {found.last_update_utc} to {until}")


class Searching:
    """Searchers of the repository of a public host, by name, number and serial.

    Args:
        url: of the web front, without a slash at its end.
        searches: query strings.
        popularity: how often each is typed.
    """

    def __init__(self, url: str, searches: list[str], popularity: Popularity) -> None:
        self._url = url
        self._searches = searches
        self._popularity = popularity

    def question(self, draw: float, now: float) -> Question:
        """Return the next question."""
        search = self._searches[self._popularity.index(draw)]
        field, _, value = search.partition("=")

        def judge(answer: HttpAnswer, verify: bool) -> bool:
            check_http(answer, 200)
            try:
                found = orjson.loads(answer.body)["certificates"]
                others = [
                    one for one in found if field in ("number", "serial") and not _is(one, field, value)
                ]
            except (ValueError, KeyError, TypeError) as error:
                raise WrongAnswer("unreadable", f"{search}: {error!r}") from error
            if others:
                raise WrongAnswer("content", f"{search}: found {others[0]}")
            return verify

        return Question(self._url + SEARCH_PATH + search, judge)


def _is(found: dict[str, object], field: str, value: str) -> bool:
    return str(found.get(field, "")).lower() == value.lower()
