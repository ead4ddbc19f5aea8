"""Making and publishing CRLs, with a CA key of the test's own in the token's place."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography import x509
from sqlalchemy import Connection, event, select, update

from engine.errors import (
    ClockWrong,
    ConfigurationInvalid,
    HomeUnusable,
    LeaseLost,
    SignatureInvalid,
    SignerUnavailable,
    StoreUnavailable,
)
from engine.status import crl_generation, crl_spool
from engine.status.crl_files import all_published
from engine.status.crl_generation import CrlGenerator
from engine.store.crls import complete_issue
from engine.store.database import Store
from engine.store.leases import take_lease
from engine.store.schema import crl_issue, crl_partition, crl_scope
from engine.store.status_changes import last_change
from tests.status.crl_authority import DAY, TODAY, CrlAuthority, base_of, number_of
from tests.store.plans import ISSUER, NOW
from tests.x509.specimens import CA_NAME

PARTITION, COMPLETE = "1.crl", "complete.crl"
HOUR = timedelta(hours=1)
KEY, HOLD, CEASED, REMOVED = (
    x509.ReasonFlags.key_compromise,
    x509.ReasonFlags.certificate_hold,
    x509.ReasonFlags.cessation_of_operation,
    x509.ReasonFlags.remove_from_crl,
)


@pytest.fixture
def ca(store: Store, tmp_path: Path) -> CrlAuthority:
    return CrlAuthority(store, tmp_path)


def scope_of(parsed: x509.CertificateRevocationList) -> str | None:
    try:
        point = parsed.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    except x509.ExtensionNotFound:
        return None
    assert point.critical
    assert point.value.full_name is not None
    return str(point.value.full_name[0].value)


# ---- what a CRL says ----


@pytest.mark.cps("7.2")
async def test_a_partition_crl_lists_what_is_not_good(ca: CrlAuthority) -> None:
    items = ca.issue(3)
    ca.clock.move(HOUR)
    ca.change(items[:1], 1, invalidity=NOW - DAY)
    ca.change(items[1:3], 6)
    ca.change(items[3:4], 0)
    ca.change(items[2:3], None)
    (published,) = await ca.publish(1)
    assert ca.listed(PARTITION) == {items[0]: KEY, items[1]: HOLD, items[3]: None}
    parsed = ca.read(PARTITION)
    assert parsed.issuer == CA_NAME
    assert scope_of(parsed) == "http://crl.example/1.crl"
    assert number_of(parsed) == TODAY
    assert parsed.last_update_utc == NOW + HOUR
    assert parsed.next_update_utc == NOW + HOUR + timedelta(hours=ca.section.validity_hours)
    assert {entry.revocation_date_utc for entry in parsed} == {NOW + HOUR}
    (invalidity,) = [
        extension.value.invalidity_date_utc
        for entry in parsed
        for extension in entry.extensions
        if isinstance(extension.value, x509.InvalidityDate)
    ]
    assert invalidity == NOW - DAY
    assert published.issue.entries == 3
    assert published.file_sha256 == hashlib.sha256((ca.crl_directory / PARTITION).read_bytes()).digest()


async def test_the_complete_crl_lists_every_partition_and_names_no_scope(ca: CrlAuthority) -> None:
    items = ca.issue(55)  # two partitions
    ca.change([items[0], items[-1]], 5)
    for place in range(3):
        await ca.publish(place)
    assert ca.listed(COMPLETE) == {items[0]: CEASED, items[-1]: CEASED}
    assert scope_of(ca.read(COMPLETE)) is None
    assert ca.listed("1.crl") == {items[0]: CEASED}
    assert ca.listed("2.crl") == {items[-1]: CEASED}


async def test_a_crl_without_entries(ca: CrlAuthority) -> None:
    ca.issue(1)
    await ca.publish(1)
    assert len(ca.read(PARTITION)) == 0


async def test_a_crl_is_the_record_at_one_sequence_number(ca: CrlAuthority) -> None:
    items = ca.issue(2)
    ca.change(items[:2], 1)
    (published,) = await ca.publish(1)
    with ca.store.read() as connection:
        assert published.issue.feed_sequence == last_change(connection)
    assert set(ca.listed(PARTITION)) == set(items[:2])


# ---- expiry ----


async def test_an_expired_certificate_stays_on_one_more_scheduled_crl(ca: CrlAuthority) -> None:
    """RFC 5280 section 3.3: until it appears on one scheduled CRL issued beyond its validity."""
    (expiring, _) = ca.issue(1, not_after=NOW + 2 * HOUR)
    (lasting, _) = ca.issue(1)
    ca.change([expiring, lasting], 1)
    await ca.publish(1)  # the first is a scheduled one
    ca.clock.move(3 * HOUR)
    (unscheduled,) = await ca.publish(1)
    assert not unscheduled.issue.scheduled
    assert set(ca.listed(PARTITION)) == {expiring, lasting}
    ca.clock.move(DAY)
    (scheduled,) = await ca.publish(1)
    assert scheduled.issue.scheduled
    assert set(ca.listed(PARTITION)) == {expiring, lasting}, "the one more"
    ca.clock.move(HOUR)
    await ca.publish(1)
    assert set(ca.listed(PARTITION)) == {lasting}


async def test_the_expired_stay_where_configured(ca: CrlAuthority) -> None:
    ca.configure(expired_certificates=True)
    (expiring, _) = ca.issue(1, not_after=NOW + 2 * HOUR)
    ca.change([expiring], 1)
    for _ in range(3):
        await ca.publish(1)
        ca.clock.move(DAY)
    assert set(ca.listed(PARTITION)) == {expiring}
    extension = ca.read(PARTITION).extensions.get_extension_for_oid(x509.ObjectIdentifier("2.5.29.60"))
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    # Since the CA certificate began nothing under it has expired unlisted.
    assert extension.value.value == b"\x18\x0f20250302010000Z"


# ---- numbers and clocks ----


async def test_numbers_are_the_date_in_taipei_and_grow(ca: CrlAuthority) -> None:
    ca.issue(1)
    numbers = []
    for forward in (timedelta(), timedelta(), 14 * HOUR, 2 * HOUR):
        ca.clock.move(forward)  # at 16:00 UTC a new day begins in Taipei
        (published,) = await ca.publish(1)
        numbers.append(published.issue.number)
    assert numbers == [TODAY, TODAY + 1, TODAY + 2, TODAY + 100]
    assert number_of(ca.read(PARTITION)) == numbers[-1]


async def test_each_scope_counts_by_itself(ca: CrlAuthority) -> None:
    ca.issue(1)
    assert [(await ca.publish(place))[0].issue.number for place in (0, 0, 1)] == [TODAY, TODAY + 1, TODAY]


async def test_a_clock_that_goes_back_stops_everything_and_uses_no_number(ca: CrlAuthority) -> None:
    ca.issue(1)
    await ca.publish(1)
    before = (ca.crl_directory / PARTITION).read_bytes()
    ca.clock.move(-DAY)
    with pytest.raises(ClockWrong):
        await ca.publish(1)
    assert (ca.crl_directory / PARTITION).read_bytes() == before
    assert len(ca.issues()) == 1
    ca.clock.move(DAY)
    assert (await ca.publish(1))[0].issue.number == TODAY + 1


async def test_numbers_grow_though_the_date_goes_back(ca: CrlAuthority) -> None:
    """A scope that was ahead once, as by a clock that was wrong before there was an audit record of it."""
    ca.issue(1)
    ahead = 2027010100
    with ca.store.write() as connection:
        connection.execute(update(crl_scope).values(last_number=ahead))
    assert [(await ca.publish(1))[0].issue.number for _ in range(2)] == [ahead + 1, ahead + 2]


# ---- reserved before it is signed ----


async def test_number_and_digest_are_recorded_before_the_token_signs(ca: CrlAuthority) -> None:
    (item, _) = ca.issue(1)
    ca.change([item], 1)
    recorded: list[list[tuple[int, bool, bytes]]] = []

    class Watching(CrlAuthority):
        async def sign(self, key, algorithm, digests):  # type: ignore[no-untyped-def]  # as its base
            if digests:
                recorded.append(self.issues())
                assert len(self.audited("crl.reserved")) == 1
                assert not self.audited("crl.published")
            return await super().sign(key, algorithm, digests)

    watching = Watching(ca.store, ca.directory, ca.section, ca.clock)
    await watching.publish(1)
    (digest,) = watching.signed
    assert recorded == [[(TODAY, False, digest)]]
    assert hashlib.sha256(ca.read(PARTITION).tbs_certlist_bytes).digest() == digest
    (reserved,) = ca.audited("crl.reserved")
    assert reserved["scope"] == "1"
    assert reserved["number"] == TODAY
    assert reserved["lists"] == [{"base_number": None, "entries": 1, "tbs_digest": digest.hex()}]
    (published,) = ca.audited("crl.published")
    sha256 = hashlib.sha256((ca.crl_directory / PARTITION).read_bytes()).hexdigest()
    assert published["lists"] == [{"base_number": None, "entries": 1, "file_sha256": sha256}]


class Crash(Exception):
    """The process is gone at this point."""


def crashes(*_: object, **__: object) -> None:
    raise Crash


STEPS = {
    "before reserving": "_reserve",
    "before signing": "_signatures",
    "before writing": "_write",
    "before publishing": "_record",
}


@pytest.mark.parametrize("step", STEPS.values(), ids=list(STEPS))
async def test_a_crash_is_healed_by_the_next_crl(
    step: str, ca: CrlAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item, _) = ca.issue(1)
    await ca.publish(1)
    before = (ca.crl_directory / PARTITION).read_bytes()
    ca.change([item], 1)
    with monkeypatch.context() as patch:
        patch.setattr(CrlGenerator, step, crashes)
        with pytest.raises(Crash):
            await ca.publish(1)
    assert (ca.crl_directory / PARTITION).read_bytes() == before
    (published,) = await ca.publish(1, only_if_needed=True)
    assert set(ca.listed(PARTITION)) == {item}
    numbers = [number for number, *_ in ca.issues()]
    assert len(set(numbers)) == len(numbers), "a number was used twice"
    assert numbers == sorted(numbers)
    assert published.issue.number == numbers[-1] == number_of(ca.read(PARTITION))
    assert set(ca.signed) <= {digest for *_, digest in ca.issues()}, "a signature nobody can account for"
    assert left_over(ca.crl_directory) == set()


async def test_a_commit_that_fails_lets_no_file_out(
    ca: CrlAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What relying parties find is what the audit record says was published (CPS 4.5.6)."""
    ca.issue(1)
    await ca.publish(1)

    def full(_: Connection) -> None:
        raise StoreUnavailable("database or disk is full")

    def complete(connection: Connection, *arguments: Any, **named: Any) -> None:
        complete_issue(connection, *arguments, **named)
        event.listen(ca.store.engine, "commit", full, once=True)

    with monkeypatch.context() as patch:
        patch.setattr(crl_generation, "complete_issue", complete)
        with pytest.raises(StoreUnavailable, match="full"):
            await ca.publish(1)
    assert number_of(ca.read(PARTITION)) == TODAY
    assert [published for _, published, _ in ca.issues()] == [True, False]
    assert len(ca.audited("crl.published")) == 1
    await ca.publish(1)
    assert number_of(ca.read(PARTITION)) == TODAY + 2
    assert left_over(ca.crl_directory) == set()


@pytest.mark.parametrize("renamed", [False, True])
async def test_what_was_recorded_is_put_in_place(
    renamed: bool, ca: CrlAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the record: the next call finishes it, and makes no CRL that nobody needs."""
    ca.configure(delta=True)
    ca.issue(1)
    await ca.publish(1)
    real = crl_spool.put_in_place

    def put(*arguments: object) -> None:
        if renamed:
            real(*arguments)  # type: ignore[arg-type]  # what it was called with
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(crl_generation, "put_in_place", put)
        with pytest.raises(Crash):
            await ca.publish(1)
    assert number_of(ca.read(PARTITION)) == TODAY + renamed
    assert [published for _, published, _ in ca.issues()] == [True] * 4
    signed = len(ca.signed)
    assert await ca.publish(1, only_if_needed=True) == []
    assert number_of(ca.read(PARTITION)) == number_of(ca.read("1-delta.crl")) == TODAY + 1
    assert len(ca.signed) == signed
    assert left_over(ca.crl_directory) == set()


async def test_a_published_file_that_is_lost_is_followed_by_another(ca: CrlAuthority) -> None:
    ca.issue(1)
    await ca.publish(1)
    (ca.crl_directory / PARTITION).unlink()
    assert len(await ca.publish(1, only_if_needed=True)) == 1
    assert number_of(ca.read(PARTITION)) == TODAY + 1
    assert await ca.publish(1, only_if_needed=True) == []


def left_over(directory: Path) -> set[str]:
    """Files that are no published CRL."""
    return {path.name for path in directory.rglob("*") if path.is_file() and path.suffix != ".crl"}


async def test_a_file_that_cannot_be_written_leaves_the_one_before(
    ca: CrlAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca.issue(1)
    await ca.publish(1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "1.crl")

    with monkeypatch.context() as patch:
        patch.setattr(crl_generation, "partial_of", full)
        with pytest.raises(HomeUnusable, match="No space left"):
            await ca.publish(1)
    assert number_of(ca.read(PARTITION)) == TODAY
    await ca.publish(1)
    assert number_of(ca.read(PARTITION)) == TODAY + 2


async def test_a_token_that_is_away_costs_no_number(ca: CrlAuthority) -> None:
    ca.issue(1)

    async def away(*_: object) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        raise SignerUnavailable("no session is open")

    with pytest.raises(SignerUnavailable):
        await CrlGenerator(ca.context, away).publish(ca.scopes()[1].id)
    assert ca.issues() == []


async def test_a_wrong_signature_is_not_published(ca: CrlAuthority) -> None:
    ca.issue(1)

    async def wrong(key: object, algorithm: object, digests: list[bytes]) -> list[bytes]:
        await trio.lowlevel.checkpoint()
        return [bytes(256) for _ in digests]

    with pytest.raises(SignatureInvalid):
        await CrlGenerator(ca.context, wrong).publish(ca.scopes()[1].id)  # type: ignore[arg-type]  # close enough
    assert not (ca.crl_directory / PARTITION).exists()
    assert [published for _, published, _ in ca.issues()] == [False]


async def test_a_cancelled_publication_leaves_the_scope_free(ca: CrlAuthority) -> None:
    ca.issue(1)

    async def slow(key: object, algorithm: object, digests: list[bytes]) -> list[bytes]:
        if digests:
            scope.cancel()
        await trio.lowlevel.checkpoint()
        return []

    with trio.CancelScope() as scope:
        await CrlGenerator(ca.context, slow).publish(ca.scopes()[1].id)  # type: ignore[arg-type]  # close enough
    assert scope.cancelled_caught
    (published,) = await ca.publish(1)
    assert published.issue.number == TODAY + 1


# ---- one generator over all hosts ----


def take_elsewhere(ca: CrlAuthority) -> None:
    """Another host takes the scope's lease."""
    with ca.store.write() as connection:
        taken = take_lease(
            connection,
            f"crl/{ca.scopes()[1].id}",
            holder="another host",
            now=ca.clock.now(),
            until=ca.clock.now() + HOUR,
        )
    assert taken is not None


async def test_a_scope_that_another_host_publishes_is_left_to_it(ca: CrlAuthority) -> None:
    ca.issue(1)
    take_elsewhere(ca)
    with pytest.raises(LeaseLost):
        await ca.publish(1)
    assert ca.issues() == []
    assert ca.signed == []
    ca.clock.move(HOUR)
    assert len(await ca.publish(1)) == 1


@pytest.mark.parametrize("step", ["_signatures", "_record", "_put_in_place"])
async def test_a_late_generator_changes_nothing(
    step: str, ca: CrlAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was stopped for so long that another host took over."""
    ca.issue(1)
    await ca.publish(1)
    before = (ca.crl_directory / PARTITION).read_bytes()
    real = getattr(CrlGenerator, step)

    def late(*arguments: object) -> object:
        ca.clock.move(HOUR)
        take_elsewhere(ca)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(CrlGenerator, step, late)
        with pytest.raises(LeaseLost):
            await ca.publish(1)
    assert (ca.crl_directory / PARTITION).read_bytes() == before
    # What was recorded before the lease was lost is put in place by whoever has it now.
    assert [published for _, published, _ in ca.issues()] == [True, step == "_put_in_place"]


async def test_two_processes_of_a_home_do_not_meet_in_a_scope(ca: CrlAuthority) -> None:
    ca.issue(1)
    with ca.home.lock(f"crl-{ca.scopes()[1].id}", "publishing a CRL"):
        with pytest.raises(HomeUnusable, match="another process"):
            await ca.publish(1)
        assert len(await ca.publish(0)) == 1, "other scopes are free"


async def test_this_host_goes_on_at_once_after_a_crash(ca: CrlAuthority) -> None:
    """The lock fell with the process; the lease is this home's still."""
    ca.issue(1)
    scope_id = ca.scopes()[1].id
    dead = ca.generator
    dead._take(scope_id)
    assert len(await ca.publish(1)) == 1


# ---- scopes ----


async def test_only_what_is_needed(ca: CrlAuthority) -> None:
    items = ca.issue(55)
    for place in range(3):
        assert len(await ca.publish(place, only_if_needed=True)) == 1
    ca.change(items[-1:], 1)
    assert [len(await ca.publish(place, only_if_needed=True)) for place in range(3)] == [1, 0, 1]
    assert [len(await ca.publish(place, only_if_needed=True)) for place in range(3)] == [0, 0, 0]
    ca.clock.move(DAY)
    assert [len(await ca.publish(place, only_if_needed=True)) for place in range(3)] == [1, 1, 1]


async def test_a_partition_gets_its_scope_with_its_first_certificate(ca: CrlAuthority) -> None:
    assert ca.scopes() == []
    ca.issue(1)
    assert [(scope.partition_id, scope.uri) for scope in ca.scopes()] == [
        (0, "http://crl.example/complete.crl"),
        (1, "http://crl.example/1.crl"),
    ]


async def test_a_key_that_is_not_at_hand_is_named(ca: CrlAuthority) -> None:
    ca.issue(1)
    with ca.store.write() as connection:
        old = b"an old CA key"
        connection.execute(update(crl_partition).values(issuer_key_identifier=old))
        connection.execute(update(crl_scope).values(issuer_key_identifier=old))
    for place in (0, 1):
        with pytest.raises(ConfigurationInvalid, match="not at hand") as refused:
            await ca.publish(place)
        assert refused.value.value == old.hex()


async def test_the_complete_crl_is_not_made_while_a_key_of_its_name_is_missing(ca: CrlAuthority) -> None:
    ca.issue(55)
    with ca.store.write() as connection:
        other = update(crl_partition).where(crl_partition.c.id == 2)
        connection.execute(other.values(issuer_key_identifier=b"old"))
    with pytest.raises(ConfigurationInvalid, match="not at hand"):
        await ca.publish(0)
    assert len(await ca.publish(1)) == 1


@pytest.mark.parametrize(
    "uri", ["http://other.example/complete.crl", "http://crl.example/complete-delta.crl"]
)
async def test_two_scopes_never_share_a_file(uri: str, ca: CrlAuthority) -> None:
    ca.issue(1)
    with ca.store.write() as connection:
        connection.execute(update(crl_partition).values(uri=uri))
        connection.execute(update(crl_scope).where(crl_scope.c.partition_id == 1).values(uri=uri))
    with pytest.raises(ConfigurationInvalid, match="one file"):
        await ca.publish(1)


async def test_the_complete_crl_lies_at_every_uri_that_certificates_carry(ca: CrlAuthority) -> None:
    """A profile may have been changed between two partitions."""
    ca.issue(55)
    with ca.store.write() as connection:
        other = update(crl_partition).where(crl_partition.c.id == 2)
        connection.execute(other.values(complete_uri="http://crl.example/new/all.crl"))
    await ca.publish(0)
    await ca.publish(0)
    assert (ca.crl_directory / "new" / "all.crl").read_bytes() == (ca.crl_directory / COMPLETE).read_bytes()
    assert left_over(ca.crl_directory) == set()


# ---- deltas ----


def freshest_of(parsed: x509.CertificateRevocationList) -> list[str]:
    (point,) = parsed.extensions.get_extension_for_class(x509.FreshestCRL).value
    return [name.value for name in point.full_name or []]


async def test_a_full_crl_names_its_delta_and_is_issued_with_one(ca: CrlAuthority) -> None:
    ca.configure(delta=True)
    (item, _) = ca.issue(1)
    ca.change([item], 1)
    full, delta = await ca.publish(1)
    assert freshest_of(ca.read(PARTITION)) == ["http://crl.example/1-delta.crl"]
    parsed = ca.read("1-delta.crl")
    assert (number_of(parsed), base_of(parsed)) == (TODAY, TODAY)
    assert len(parsed) == 0
    assert scope_of(parsed) == "http://crl.example/1.crl", "RFC 5280 section 5.2.4: the same scope"
    assert (full.issue.number, delta.issue.number) == (TODAY, TODAY)
    with pytest.raises(x509.ExtensionNotFound):
        freshest_of(parsed)


async def test_changes_go_out_as_a_delta_to_the_last_full_crl(ca: CrlAuthority) -> None:
    ca.configure(delta=True)
    items = ca.issue(3)
    ca.change(items[:3], 6)
    await ca.publish(1)
    full = (ca.crl_directory / PARTITION).read_bytes()
    ca.clock.move(HOUR)
    ca.change(items[:1], None)  # resumed
    ca.change(items[1:2], 1)  # the hold became a revocation
    ca.change(items[3:4], 5)  # new
    ca.change(items[4:5], 6)  # held and resumed since the base: a delta in between may have listed it
    ca.change(items[4:5], None)
    (delta,) = await ca.publish(1, only_if_needed=True)
    assert (delta.issue.number, delta.issue.base_number) == (TODAY + 1, TODAY)
    assert ca.listed("1-delta.crl") == {items[0]: REMOVED, items[1]: KEY, items[3]: CEASED, items[4]: REMOVED}
    assert {entry.revocation_date_utc for entry in ca.read("1-delta.crl")} == {NOW + HOUR}
    assert (ca.crl_directory / PARTITION).read_bytes() == full
    assert await ca.publish(1, only_if_needed=True) == []


async def test_base_and_delta_together_are_the_next_full_crl(ca: CrlAuthority) -> None:
    ca.configure(delta=True)
    items = ca.issue(4)
    ca.change(items[:4], 6)
    await ca.publish(0)
    base = ca.listed(COMPLETE)
    ca.change(items[:2], None)
    ca.change(items[2:3], 4)
    ca.change(items[5:6], 1)
    ca.clock.move(DAY)
    full, delta = await ca.publish(0, only_if_needed=True)
    assert full.issue.number == delta.issue.number == TODAY + 100
    assert delta.issue.base_number == TODAY
    changed = ca.listed("complete-delta.crl")
    applied = {item: reason for item, reason in (base | changed).items() if reason is not REMOVED}
    assert applied == ca.listed(COMPLETE)


async def test_deltas_that_were_switched_on_begin_with_a_full_crl(ca: CrlAuthority) -> None:
    """The one before does not name them, so nobody would look for a delta to it."""
    (item, _) = ca.issue(1)
    await ca.publish(1)
    ca.configure(delta=True)
    ca.change([item], 1)
    assert len(await ca.publish(1, only_if_needed=True)) == 2
    ca.change([item], 4)
    assert len(await ca.publish(1, only_if_needed=True)) == 1
    ca.configure(delta=False)
    ca.change([item], 5)
    (full,) = await ca.publish(1, only_if_needed=True)
    assert full.issue.base_number is None
    with pytest.raises(x509.ExtensionNotFound):
        freshest_of(ca.read(PARTITION))


async def test_a_delta_that_nobody_renews_is_gone_before_it_lapses(ca: CrlAuthority) -> None:
    ca.configure(delta=True)
    ca.issue(1)
    await ca.publish(1)
    lapses = ca.read("1-delta.crl").next_update_utc
    assert lapses is not None
    ca.configure(delta=False)
    await ca.publish(1)
    assert (ca.crl_directory / "1-delta.crl").exists(), "full CRLs that name it are about"
    while ca.clock.now() < lapses:
        ca.clock.move(DAY)
        await ca.publish(1, only_if_needed=True)
    assert not (ca.crl_directory / "1-delta.crl").exists()
    assert all(one.next_update > ca.clock.now().timestamp() for one in all_published(ca.crl_directory))


async def test_full_and_delta_are_reserved_and_published_together(ca: CrlAuthority) -> None:
    ca.configure(delta=True)
    ca.issue(1)
    await ca.publish(1)
    (reserved,) = ca.audited("crl.reserved")
    (published,) = ca.audited("crl.published")
    assert len(reserved["lists"]) == len(published["lists"]) == 2  # type: ignore[arg-type]  # they are lists
    with ca.store.read() as connection:
        bases = connection.execute(select(crl_issue.c.base_number).order_by(crl_issue.c.id)).scalars().all()
    assert bases == [None, TODAY]
    assert ISSUER.hex() == reserved["ca_key"]
