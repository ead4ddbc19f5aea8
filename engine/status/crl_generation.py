"""Making and publishing the CRL of a scope (docs/crl-cycle.md).

    lease     one generator of the scope over all hosts
    draft     entries spooled from one snapshot, number and digest known
    reserve   number and digest committed with their audit record
    sign      the token signs the digest, the signature is verified
    write     the file, under another name, durable
    record    published: signature and digest of the file committed with their audit record
    place     the file is renamed, while the lease's row is held

What is killed before the record is healed by the next CRL: the number that was reserved is never used again. What is
killed after it is put in place by whoever holds the lease next, before anything else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import trio

from engine.algorithms import SignatureAlgorithm
from engine.audit.events import Event
from engine.audit.log import append_record
from engine.authority.context import AuthorityContext
from engine.errors import LeaseLost, StoreError, TokenError
from engine.fault_points import fault_point
from engine.pkcs11.keys import KeyReference
from engine.pkcs11.lanes import Lane
from engine.pkcs11.session_pool import SessionPool
from engine.status.crl_draft import Draft, Drafts, draft_lists
from engine.status.crl_files import delta_uri_of, published, uri_path_of
from engine.status.crl_placement import CrlPlacement
from engine.status.crl_scopes import CrlIssuer, CrlScope, crl_issuers
from engine.status.crl_spool import files_in, partial_of, put_in_place
from engine.store.crls import NewIssue, complete_issue, reserve_issues
from engine.store.leases import Lease, check_lease, give_back, take_lease
from engine.x509.certificate import verifier
from engine.x509.revocation_list import frame_signed

LEASE_TIME = timedelta(minutes=2)
"""How long a scope is held: far longer than the 4 seconds that a CRL of a million entries takes (bench.crl), with room
for a token call that is stuck. After a crash this host goes on at once, others wait so long."""

SignDigests = Callable[[KeyReference, SignatureAlgorithm, Sequence[bytes]], Awaitable[list[bytes]]]
"""Signs digests; without any it only makes sure that it could. Raises TokenError."""


def pool_signer(pool: SessionPool) -> SignDigests:
    """Return a signer over a pool, in the lane of CRLs."""

    async def sign(key: KeyReference, algorithm: SignatureAlgorithm, digests: Sequence[bytes]) -> list[bytes]:
        outcomes = await pool.sign_digests(digests, key=key, algorithm=algorithm, lane=Lane.CRL)
        signatures = []
        for outcome in outcomes:
            if isinstance(outcome, TokenError):
                raise outcome
            signatures.append(outcome)
        return signatures

    return sign


@dataclass(frozen=True, slots=True)
class PublishedIssue:
    """A certificate list that was published just now."""

    scope: str
    path: Path
    issue: NewIssue
    file_sha256: bytes


@dataclass(frozen=True, slots=True)
class _Written:
    draft: Draft
    issue_id: int
    signature: bytes
    partial: Path
    sha256: bytes


class CrlGenerator:
    """Publishes the CRLs of scopes.

    Args:
        context: the record, the settings, and who acts.
        sign: signs digests with the CA's keys.

    Attributes:
        placement: looks after what was recorded as published.
    """

    def __init__(self, context: AuthorityContext, sign: SignDigests) -> None:
        self._context = context
        self._sign = sign
        self._issuers = crl_issuers(context.authority)
        self._directory = Path(context.configuration.crl.directory)
        self.placement = CrlPlacement(context, self._issuers)
        # The same for every process of this home, of which a lock lets in one: a restart need not wait for a lease.
        self._holder = context.home.holder

    async def publish(self, scope_id: int, *, only_if_needed: bool = False) -> list[PublishedIssue]:
        """Make the CRL of a scope (with deltas configured: and its delta), and publish it.

        Args:
            scope_id: the scope.
            only_if_needed: do nothing when no scheduled CRL is due, no status has changed, and what was published last
                is in its place.

        Returns:
            What was published.

        Raises:
            HomeUnusable: another process of this home publishes the scope now, or a file cannot be written.
            LeaseLost: another host publishes it now, or has taken over meanwhile.
            ClockWrong: the clock stands before the newest record; nothing was reserved.
            ConfigurationInvalid: the scope's CA key is not at hand, or its file would be another scope's.
            TokenError: the token does not sign. `SignerUnavailable`: later it may.
            SignatureInvalid: the token signed wrongly; nothing was published.
            StoreError: the record refused.

        Cancelled or killed at any point, what was published before stays in place, and a number that was reserved is
        used up. What was recorded as published by then appears with the next call.
        """
        authority = self._context.authority
        # A token that is away is noticed before a number is used up on it.
        await self._sign(authority.ca.key, authority.issuer.algorithm, [])
        with self._context.home.lock(f"crl-{scope_id}", "publishing a CRL"):
            lease = await trio.to_thread.run_sync(self._take, scope_id)
            try:
                return await self._publish(scope_id, lease, only_if_needed)
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._give_back, lease)

    async def _publish(self, scope_id: int, lease: Lease, only_if_needed: bool) -> list[PublishedIssue]:
        is_in_place = await trio.to_thread.run_sync(self.placement.finish, scope_id, lease)
        drafts = await trio.to_thread.run_sync(self._draft, scope_id, only_if_needed and is_in_place)
        try:
            if not drafts.lists:
                return []
            issue_ids = await trio.to_thread.run_sync(self._reserve, drafts, lease)
            signatures = await self._signatures(drafts.scope.issuer, drafts.lists)
            written = await trio.to_thread.run_sync(self._write, drafts, issue_ids, signatures, lease.fence)
        finally:
            drafts.close()
        await trio.to_thread.run_sync(self._record, drafts.scope, written, lease)
        await trio.to_thread.run_sync(self._put_in_place, drafts.scope, written, lease)
        return [
            PublishedIssue(drafts.scope.name, one.draft.paths[0], one.draft.new, one.sha256)
            for one in written
        ]

    def _take(self, scope_id: int) -> Lease:
        now = self._context.clock.now()
        name = f"crl/{scope_id}"
        with self._context.store.write() as connection:
            lease = take_lease(connection, name, holder=self._holder, now=now, until=now + LEASE_TIME)
        if lease is None:
            raise LeaseLost("another host publishes this CRL now", place=f"lease {name}")
        return lease

    def _give_back(self, lease: Lease) -> None:
        # Where the record is away the lease ends by itself, and what ended the publication is told.
        with suppress(StoreError), self._context.store.write() as connection:
            give_back(connection, lease, self._context.clock.now())

    def _draft(self, scope_id: int, only_if_needed: bool) -> Drafts:
        with files_in(self._directory):
            return draft_lists(self._context, self._issuers, scope_id, only_if_needed=only_if_needed)

    def _reserve(self, drafts: Drafts, lease: Lease) -> list[int]:
        new = [draft.new for draft in drafts.lists]
        with self._context.store.write() as connection:
            check_lease(connection, lease)
            issue_ids = reserve_issues(connection, drafts.scope.row, new, self._context.clock.now())
            append_record(
                connection,
                self._context.clock,
                Event.CRL_RESERVED,
                actor=self._context.actor,
                body=_body(drafts.scope, new, [{"tbs_digest": one.tbs_digest.hex()} for one in new]),
            )
        fault_point("crl.reserved")
        return issue_ids

    async def _signatures(self, issuer: CrlIssuer, drafts: Sequence[Draft]) -> list[bytes]:
        digests = [draft.new.tbs_digest for draft in drafts]
        algorithm = issuer.issuer.algorithm
        signatures = await self._sign(issuer.key, algorithm, digests)
        fault_point("crl.signed")
        verify = verifier(issuer.public_key, algorithm, of_digests=True)
        for digest, signature in zip(digests, signatures, strict=True):
            verify(digest, signature)
        return signatures

    def _write(
        self, drafts: Drafts, issue_ids: Sequence[int], signatures: Sequence[bytes], fence: int
    ) -> list[_Written]:
        algorithm = drafts.scope.issuer.issuer.algorithm
        written = []
        with files_in(self._directory):
            for draft, issue_id, signature in zip(drafts.lists, issue_ids, signatures, strict=True):
                frame, around = draft.frame, frame_signed(draft.tbs_octets, algorithm, signature)
                partial = partial_of(draft.paths[0], fence)
                sha256 = draft.spool.write(partial, around.before + frame.before, frame.after + around.after)
                written.append(_Written(draft, issue_id, signature, partial, sha256))
        fault_point("crl.written")
        return written

    def _record(self, scope: CrlScope, written: Sequence[_Written], lease: Lease) -> None:
        """Commit that the lists are published. Before they are: no CRL leaves without its audit record (CPS 4.5.6)."""
        with self._context.store.write() as connection:
            check_lease(connection, lease)
            for one in written:
                complete_issue(
                    connection,
                    one.issue_id,
                    signature=one.signature,
                    file_sha256=one.sha256,
                    published_at=self._context.clock.now(),
                )
            append_record(
                connection,
                self._context.clock,
                Event.CRL_PUBLISHED,
                actor=self._context.actor,
                body=_body(
                    scope,
                    [one.draft.new for one in written],
                    [{"file_sha256": one.sha256.hex()} for one in written],
                ),
            )
        fault_point("crl.published")

    def _put_in_place(self, scope: CrlScope, written: Sequence[_Written], lease: Lease) -> None:
        """Rename the files while the lease's row is held, so that no late process puts an older CRL over a newer."""
        with files_in(self._directory), self._context.store.write() as connection:
            check_lease(connection, lease)
            for one in written:
                put_in_place(one.partial, one.draft.paths, lease.fence)
            if not self._context.configuration.crl.delta:
                self._remove_lapsing_deltas(scope)
        fault_point("crl.renamed")

    def _remove_lapsing_deltas(self, scope: CrlScope) -> None:
        """Remove a delta that nobody renews any more before it lapses: the next full CRL comes in a day."""
        tomorrow = (self._context.clock.now() + timedelta(days=1)).timestamp()
        for uri in scope.uris:
            delta = published(self._directory, uri_path_of(delta_uri_of(uri)))
            if delta is not None and delta.next_update <= tomorrow:
                delta.path.unlink(missing_ok=True)


def _body(
    scope: CrlScope, issues: Sequence[NewIssue], digests: Sequence[dict[str, str]]
) -> dict[str, object]:
    """What the audit records of a CRL say."""
    return {
        "scope": scope.name,
        "ca_key": scope.row.issuer_key_identifier.hex(),
        "number": issues[0].number,
        "this_update": issues[0].this_update.isoformat(),
        "feed_sequence": issues[0].feed_sequence,
        "lists": [
            {"base_number": issue.base_number, "entries": issue.entries, **digest}
            for issue, digest in zip(issues, digests, strict=True)
        ],
    }
