"""Signed checkpoints: what they prove when the database no longer can."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import delete, select, update

from engine.audit.checkpoints import (
    Checkpoint,
    export_checkpoint,
    exported_checkpoints,
    records_since_checkpoint,
    sign_checkpoint,
    stored_checkpoints,
)
from engine.audit.verify import (
    Damage,
    stored_head,
    stored_records,
    verify_chain,
    verify_checkpoints,
)
from engine.clock import SetClock
from engine.errors import InputRejected, SignatureInvalid
from engine.store.database import Store
from engine.store.schema import audit_checkpoint, audit_head, audit_record
from tests.audit.chains import START, append, rehashed

KEY = generate_private_key(SECP256R1())
KEY_IDENTIFIER = b"audit key"


@pytest.fixture
def clock() -> SetClock:
    return SetClock(START)


async def sign(message: bytes) -> bytes:
    return KEY.sign(message, ECDSA(SHA256()))


def verify(key_identifier: bytes, statement: bytes, signature: bytes) -> None:
    try:
        KEY.public_key().verify(signature, statement, ECDSA(SHA256()))
    except InvalidSignature as error:
        raise SignatureInvalid("the signature is not the audit key's") from error


async def make_checkpoint(store: Store, clock: SetClock) -> Checkpoint:
    return await sign_checkpoint(
        store, clock, actor="account audit", key_identifier=KEY_IDENTIFIER, sign=sign
    )


def damage(store: Store, checkpoints: list[Checkpoint]) -> list[tuple[Damage, int]]:
    good, findings = verify_checkpoints(checkpoints, verify)
    with store.read() as connection:
        findings += verify_chain(stored_records(connection), stored_head(connection), good)
    return [(finding.damage, finding.sequence) for finding in findings]


def rewrite(store: Store, position: int) -> None:
    """Change a record and make every hash from there on anew, the head's too: the chain is consistent."""
    with store.write() as connection:
        records = list(stored_records(connection))
        connection.execute(
            update(audit_record).where(audit_record.c.sequence == position).values(actor="account nobody")
        )
        for record in rehashed(stored_records(connection)):
            connection.execute(
                update(audit_record)
                .where(audit_record.c.sequence == record.sequence)
                .values(hash=record.hash)
            )
        connection.execute(update(audit_head).values(hash=record.hash))
        assert len(records) == record.sequence


@pytest.mark.cps("4.5.4")
async def test_checkpoint_covers_the_chain_so_far(store: Store, clock: SetClock) -> None:
    append(store, clock, 4)
    checkpoint = await make_checkpoint(store, clock)
    assert checkpoint.sequence == 5
    assert stored_checkpoints(store) == [checkpoint]
    assert records_since_checkpoint(store) == 0
    append(store, clock, 2)
    assert records_since_checkpoint(store) == 2
    assert damage(store, stored_checkpoints(store)) == []


async def test_statement_is_stored_before_it_is_signed(store: Store, clock: SetClock) -> None:
    signed: list[bytes] = []

    async def look_then_sign(message: bytes) -> bytes:
        with store.read() as connection:
            row = connection.execute(select(audit_checkpoint)).one()
        assert row.statement.encode() == message
        assert row.signature is None
        assert stored_checkpoints(store) == []  # an intent is no checkpoint
        signed.append(message)
        return await sign(message)

    append(store, clock, 1)
    checkpoint = await sign_checkpoint(
        store, clock, actor="a", key_identifier=KEY_IDENTIFIER, sign=look_then_sign
    )
    assert signed == [checkpoint.statement]


async def test_failed_signature_leaves_the_intent_and_the_next_checkpoint_heals(
    store: Store, clock: SetClock
) -> None:
    async def fail(message: bytes) -> bytes:
        raise SignatureInvalid("the token is away")

    append(store, clock, 1)
    with pytest.raises(SignatureInvalid):
        await sign_checkpoint(store, clock, actor="a", key_identifier=KEY_IDENTIFIER, sign=fail)
    checkpoint = await make_checkpoint(store, clock)
    assert stored_checkpoints(store) == [checkpoint]
    assert damage(store, [checkpoint]) == []


async def test_exported_file_is_read_back(store: Store, clock: SetClock, tmp_path: Path) -> None:
    append(store, clock, 1)
    checkpoints = [await make_checkpoint(store, clock) for _ in range(3)]
    for checkpoint in checkpoints:
        path = export_checkpoint(checkpoint, tmp_path)
        assert orjson.loads(path.read_bytes())["statement"].encode() == checkpoint.statement
    assert exported_checkpoints(tmp_path) == checkpoints


@pytest.mark.parametrize("content", [b"", b"[]", b'{"statement": 1}', b'{"statement": "{}"}', b"\xff"])
def test_file_that_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint-1.json").write_bytes(content)
    with pytest.raises(InputRejected, match=r"checkpoint-1\.json: not a checkpoint file"):
        exported_checkpoints(tmp_path)


@pytest.mark.cps("4.5.5")
async def test_rewritten_chain_is_found_by_the_checkpoint(store: Store, clock: SetClock) -> None:
    append(store, clock, 3)
    checkpoint = await make_checkpoint(store, clock)
    append(store, clock, 3)
    rewrite(store, 2)
    assert damage(store, []) == []
    assert damage(store, [checkpoint]) == [(Damage.REWRITTEN, checkpoint.sequence)]


async def test_rewriting_behind_the_checkpoint_is_not_covered(store: Store, clock: SetClock) -> None:
    append(store, clock, 3)
    checkpoint = await make_checkpoint(store, clock)
    append(store, clock, 3)
    rewrite(store, 6)
    assert damage(store, [checkpoint]) == []


async def test_a_second_checkpoint_for_the_same_record_does_not_hide_the_first(
    store: Store, clock: SetClock
) -> None:
    append(store, clock, 3)
    kept_elsewhere = await make_checkpoint(store, clock)
    rewrite(store, 2)
    with store.write() as connection:
        *_, newest = stored_records(connection)
        statement = orjson.loads(kept_elsewhere.statement) | {"hash": newest.hash.hex()}
    message = orjson.dumps(statement, option=orjson.OPT_SORT_KEYS)
    forged = Checkpoint(newest.sequence, message, KEY_IDENTIFIER, await sign(message))
    for order in ([kept_elsewhere, forged], [forged, kept_elsewhere]):
        assert damage(store, order) == [(Damage.REWRITTEN, newest.sequence)]


@pytest.mark.cps("4.5.5")
async def test_tail_cut_off_with_its_head_is_remembered_by_the_file(
    store: Store, clock: SetClock, tmp_path: Path
) -> None:
    append(store, clock, 5)
    export_checkpoint(await make_checkpoint(store, clock), tmp_path)
    with store.write() as connection:
        connection.execute(delete(audit_checkpoint))
        connection.execute(delete(audit_record).where(audit_record.c.sequence > 3))
        *_, last = stored_records(connection)
        connection.execute(update(audit_head).values(sequence=last.sequence, hash=last.hash))
    assert damage(store, stored_checkpoints(store)) == []
    assert damage(store, exported_checkpoints(tmp_path)) == [(Damage.CUT_OFF, 6)]


async def test_whole_log_taken_away_is_remembered_by_the_file(store: Store, clock: SetClock) -> None:
    append(store, clock, 2)
    checkpoint = await make_checkpoint(store, clock)
    with store.write() as connection:
        for table in (audit_record, audit_head, audit_checkpoint):
            connection.execute(delete(table))
    assert damage(store, [checkpoint]) == [(Damage.CUT_OFF, 3)]


async def test_damage_that_shifts_a_checkpoint_is_reported_once(store: Store, clock: SetClock) -> None:
    append(store, clock, 3)
    checkpoint = await make_checkpoint(store, clock)
    append(store, clock, 2)
    with store.write() as connection:
        connection.execute(delete(audit_record).where(audit_record.c.sequence == 2))
        for sequence in range(3, 7):
            connection.execute(
                update(audit_record).where(audit_record.c.sequence == sequence).values(sequence=sequence - 1)
            )
        connection.execute(update(audit_head).values(sequence=5))
    assert damage(store, [checkpoint]) == [(Damage.CHANGED, 2)]


async def test_forged_signature_is_found(store: Store, clock: SetClock) -> None:
    append(store, clock, 1)
    real = await make_checkpoint(store, clock)
    forged = Checkpoint(real.sequence, real.statement, real.key_identifier, b"x" * 64)
    assert damage(store, [forged]) == [(Damage.CHECKPOINT_FORGED, 2)]
    changed = real.statement.replace(b'"sequence":2', b'"sequence":1')
    assert damage(store, [Checkpoint(1, changed, KEY_IDENTIFIER, real.signature)]) == [
        (Damage.CHECKPOINT_FORGED, 1)
    ]


async def test_number_beside_the_statement_counts_for_nothing(store: Store, clock: SetClock) -> None:
    append(store, clock, 3)
    real = await make_checkpoint(store, clock)
    for claimed in (
        Checkpoint(1, real.statement, KEY_IDENTIFIER, real.signature),
        Checkpoint(real.sequence, real.statement, b"another key", real.signature),
    ):
        good, findings = verify_checkpoints([claimed], verify)
        assert good == []
        assert [finding.damage for finding in findings] == [Damage.CHECKPOINT_FORGED]
