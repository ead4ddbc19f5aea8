"""`sealmint audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import trio
import typer

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
    Finding,
    VerifySignature,
    stored_head,
    stored_records,
    verify_chain,
    verify_checkpoints,
)
from engine.authority.signing import AUTHORITY_ALGORITHM, open_signer, open_token, read_pin
from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer, people, table, write_json
from engine.errors import AuditBroken, SignatureInvalid
from engine.issuance.run_context import RunContext
from engine.x509.certificate import verifier

app = typer.Typer(help="The audit log.", no_args_is_help=True)


@app.command("verify")
def verify(
    home: HomeOption = DEFAULT_HOME,
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help="Checkpoint files kept away from the home; those in the home without it.", file_okay=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Walk the whole chain and every signed checkpoint, and say which record was changed, removed, inserted, moved."""
    with open_context(home) as context:
        exported = exported_checkpoints(checkpoints or context.home.checkpoints)
        good, findings = verify_checkpoints(
            [*stored_checkpoints(context.store), *exported], _by_audit_key(context)
        )
        with context.store.read() as connection:
            head = stored_head(connection)
            findings += verify_chain(stored_records(connection), head, good)
        uncovered = records_since_checkpoint(context.store)
    _tell(head[0] if head else 0, good, uncovered, findings, as_json)
    if findings:
        raise typer.Exit(AuditBroken.exit_code)


@app.command("checkpoint")
def checkpoint(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Sign the end of the chain with the audit key, and write the statement to a file to be kept elsewhere."""
    with open_context(home) as context:
        made = trio.run(_sign, context)
        path = export_checkpoint(made, context.home.checkpoints)
    answer({"sequence": made.sequence, "file": str(path)}, as_json)


async def _sign(context: RunContext) -> Checkpoint:
    token, pin = open_token(context.home, context.configuration), read_pin(context.configuration)
    audit = context.authority.audit
    async with open_signer(context.home, context.configuration, token, pin, [audit.key]) as signer:
        return await sign_checkpoint(
            context.store,
            context.clock,
            actor=context.actor,
            key_identifier=audit.key_identifier,
            sign=signer(audit.key, AUTHORITY_ALGORITHM),
        )


def _by_audit_key(context: RunContext) -> VerifySignature:
    audit = context.authority.audit
    verify_with_key = verifier(audit.public_key, AUTHORITY_ALGORITHM)

    def check(key_identifier: bytes, statement: bytes, signature: bytes) -> None:
        if key_identifier != audit.key_identifier:
            raise SignatureInvalid("signed with another key than the audit key", value=key_identifier.hex())
        verify_with_key(statement, signature)

    return check


def _tell(
    records: int, good: list[Checkpoint], uncovered: int, findings: list[Finding], as_json: bool
) -> None:
    if as_json:
        write_json(
            {
                "whole": not findings,
                "records": records,
                "checkpoints": len({checkpoint.sequence for checkpoint in good}),
                "records_after_last_checkpoint": uncovered,
                "findings": [
                    {"damage": f.damage.value, "record": f.sequence, "detail": f.detail} for f in findings
                ],
            }
        )
        return
    if not findings:
        people.print(
            f"the chain is whole: {records:,} records, {len({c.sequence for c in good}):,} checkpoints, "
            f"{uncovered:,} records after the last one"
        )
        return
    people.print(
        table(
            "damage", ("record", "what", "detail"), [(f.sequence, f.damage.value, f.detail) for f in findings]
        )
    )
    if any(finding.damage is Damage.REWRITTEN for finding in findings):
        people.print(
            "a chain that fits itself but not its checkpoints was rewritten as a whole, hashes and all"
        )
