"""The CRL files of a public host: fetched by digest, verified with the CA's key, and renamed into place."""

from __future__ import annotations

import hashlib
from pathlib import Path

import trio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from engine.clock import Clock
from engine.errors import ConfigurationInvalid, FeedRejected, SealmintError
from engine.feed.content_fetch import DIRECTORY, fetch_content, files_of, sha256_of
from engine.feed.feed_client import Asking
from engine.feed.head_news import HeadNews
from engine.feed.listings import ListedCrl, listing_from
from engine.feed.piece import PieceKind
from engine.feed.trust import FeedTrust, algorithm_from
from engine.status.crl_files import Identity, all_published, delta_uri_of, file_of
from engine.x509.certificate import verifier
from engine.x509.der_reader import NotDer
from engine.x509.revocation_list_reader import ReadList, digest_of_signed, read_list

SPOOL_NAME = ".feed"
"""In the directory of the CRLs, whose hidden names are never served."""

FUTURE_SECONDS = 300
"""How far thisUpdate may lie in the future: so far may the clocks of two hosts differ. A guess."""


class CrlCopy:
    """Keeps the CRL files up.

    Args:
        client: asks the feed.
        directory: `[crl].directory`.
        trust: the CA.
        clock: tells what is in the future.
    """

    name = "crls"

    def __init__(self, client: Asking, directory: Path, trust: FeedTrust, clock: Clock) -> None:
        self._client = client
        self._directory = directory
        self._trust = trust
        self._clock = clock
        self._known: dict[Path, tuple[Identity, str]] = {}
        self._done = ""
        self._may_go_back = False

    def open(self, *, from_nothing: bool = False) -> None:
        """Make the directory.

        Args:
            from_nothing: take lists with lower numbers than those that are there, once.

        Raises:
            StoreError: it cannot be made.
        """
        self._may_go_back = from_nothing
        with files_of(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True, mode=DIRECTORY)

    async def follow(self, news: HeadNews) -> None:
        """Bring the files to what is listed. A list that is rejected keeps none of the others away.

        Raises:
            FeedUnavailable: what is in place stays.
            FeedRejected: at least one list was not taken; what is in its place stays.
            StoreError: a file cannot be written.
        """
        if news.head.crls == self._done:
            return
        answer = await self._client.ask(PieceKind.CRLS)
        listed = listing_from(answer.body, ListedCrl)
        rejected: SealmintError | None = None
        for one in listed:
            try:
                await self._bring(one)
            except FeedRejected as error:
                rejected = rejected or error
        if rejected is not None:
            raise rejected
        await trio.to_thread.run_sync(self._remove_unlisted, listed)
        self._may_go_back = False
        self._done = hashlib.sha256(answer.body).hexdigest()

    async def _bring(self, listed: ListedCrl) -> None:
        try:
            path = file_of(self._directory, listed.uri)
        except ConfigurationInvalid as error:
            raise FeedRejected("no file can stand for a CRL's URI", place="crls", value=listed.uri) from error
        if await trio.to_thread.run_sync(self._digest_in, path) == listed.sha256:
            return
        spool = self._directory / SPOOL_NAME / listed.sha256
        await fetch_content(self._client, PieceKind.CRL, listed.sha256, listed.octets, spool)
        try:
            await trio.to_thread.run_sync(self._check, spool, listed, path)
        except FeedRejected:
            spool.unlink(missing_ok=True)
            raise
        with files_of(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=DIRECTORY)
            spool.rename(path)

    def _digest_in(self, path: Path) -> str | None:
        """The digest of the file in place; read once as long as nobody replaces it."""
        with files_of(path):
            try:
                status = path.stat()
            except FileNotFoundError:
                return None
            identity = status.st_mtime_ns, status.st_size, status.st_ino
            known = self._known.get(path)
            if known is None or known[0] != identity:
                known = self._known[path] = identity, sha256_of(path)
            return known[1]

    def _check(self, spool: Path, listed: ListedCrl, path: Path) -> None:
        found = _read(spool, listed.uri)
        rules = [
            (found.issuer == self._trust.issuer.name, "issued by the CA"),
            (found.key_identifier in (None, self._trust.issuer.key_identifier), "of the CA's key"),
            (found.number == listed.number, f"cRLNumber {listed.number}, as listed"),
            (found.this_update <= self._clock.now().timestamp() + FUTURE_SECONDS, "thisUpdate not to come"),
            (found.this_update < found.next_update, "nextUpdate after thisUpdate"),
            (_fits(found, listed.uri), "issuingDistributionPoint names its place"),
        ]
        broken = next((rule for holds, rule in rules if not holds), None)
        if broken is not None:
            raise FeedRejected(
                "a CRL is not the one of its place", place=listed.uri, value=found.number, rule=broken
            )
        self._check_signature(spool, found, listed.uri)
        self._check_number(found, path, listed.uri)

    def _check_signature(self, spool: Path, found: ReadList, uri: str) -> None:
        algorithm = algorithm_from(found.algorithm)
        key = self._trust.ca.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        with spool.open("rb") as file:
            digest = digest_of_signed(file, found.signed, algorithm.hash_name)
        try:
            verifier(key, algorithm, of_digests=True)(digest, found.signature)
        except SealmintError as error:
            raise FeedRejected(
                "a CRL is not signed by the CA", place=uri, rule="RFC 5280 section 5.1.1.3"
            ) from error

    def _check_number(self, found: ReadList, path: Path, uri: str) -> None:
        in_place = None if self._may_go_back else self._in_place(path, uri)
        if in_place is not None and found.number < in_place.number:
            raise FeedRejected(
                "a CRL is older than the one in place; if that is meant: feed pull --from-nothing",
                place=uri,
                value=found.number,
                rule=f"cRLNumber not below {in_place.number}, RFC 5280 section 5.2.3",
            )

    def _in_place(self, path: Path, uri: str) -> ReadList | None:
        """What is published now; None where there is nothing, or something damaged."""
        try:
            found = _read(path, uri)
            self._check_signature(path, found, uri)
        except (FileNotFoundError, FeedRejected):
            return None
        return found

    def _remove_unlisted(self, listed: list[ListedCrl]) -> None:
        """Remove lists that are no longer published, but not before their nextUpdate: somebody may rely on them."""
        kept = {file_of(self._directory, one.uri) for one in listed}
        now = self._clock.now().timestamp()
        with files_of(self._directory):
            for file in list(all_published(self._directory)):
                if file.path not in kept and file.next_update < now:
                    file.path.unlink(missing_ok=True)
            spool = self._directory / SPOOL_NAME
            for left in spool.iterdir() if spool.is_dir() else ():
                left.unlink()


def _read(path: Path, uri: str) -> ReadList:
    try:
        with path.open("rb") as file:
            return read_list(file, path.stat().st_size)
    except NotDer as error:
        raise FeedRejected("this is no CRL", place=uri, rule=str(error)) from error


def _fits(found: ReadList, uri: str) -> bool:
    """Whether a list says that it belongs to a URI, or says nothing of it: then it is complete (section 5.2.5)."""
    point = found.distribution_point
    if point is None:
        return True
    return uri == (point if found.base_number is None else delta_uri_of(point))
