"""`sealmint cert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from engine.cli import certificate_acts
from engine.cli.opening import open_context
from engine.cli.output import DEFAULT_HOME, HomeOption, JsonOption, answer, people, table, write_json
from engine.clock import TAIPEI
from engine.errors import InputRejected
from engine.issuance.run_context import RunContext
from engine.issuance.run_manifest import certificates
from engine.status.history import CertificateStatus, status_of_items
from engine.store.certificates import (
    StoredCertificate,
    certificate_by_serial,
    certificates_of_entity,
    certificates_of_name,
)
from engine.store.runs import get_run
from engine.x509.certificate import assemble

NAMESAKES = 200
"""Certificates of a name that are shown at most: 商業 of other counties may bear the same one. A guess: a page."""

app = typer.Typer(help="Issued certificates.", no_args_is_help=True)
app.command("accept")(certificate_acts.accept)
app.command("suspend")(certificate_acts.suspend)
app.command("resume")(certificate_acts.resume)
app.command("revoke")(certificate_acts.revoke)
app.command("history")(certificate_acts.history)
app.command("suspend-unaccepted")(certificate_acts.suspend_overdue)


@app.command("show")
def show(
    which: Annotated[
        str,
        typer.Argument(
            metavar="SERIAL|統一編號|NAME",
            help="A serial in hexadecimal, a 統一編號, or the full Chinese name.",
        ),
    ],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Show a certificate, or an entity's."""
    with open_context(home, only_reading=True) as context:
        found = _find(context, which)
        with context.store.read() as connection:
            statuses = status_of_items(connection, [stored.item_id for stored in found])
        documents = [_document(context, stored, statuses[stored.item_id]) for stored in found]
    if as_json:
        write_json({"certificates": documents})
        return
    names = ("serial", "usage", "subject", "not_after", "card_number", "state", "since")
    people.print(table(None, names, [[document[name] for name in names] for document in documents]))
    if len(documents) == 1:
        people.print(str(documents[0]["pem"]))


def _find(context: RunContext, which: str) -> list[StoredCertificate]:
    with context.store.read() as connection:
        if len(which) == 8 and which.isdecimal():
            found = certificates_of_entity(connection, which)
        elif not which.isascii():
            found = certificates_of_name(connection, which, NAMESAKES)
        else:
            stored = certificate_by_serial(connection, _serial(which))
            found = [] if stored is None else [stored]
    if not found:
        raise InputRejected("there is no such certificate", place="certificate", value=which)
    return found


def _serial(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError as error:
        raise InputRejected(
            "neither a serial nor a 統一編號",
            place="certificate",
            value=text,
            rule="hexadecimal, or eight digits",
        ) from error


def _document(context: RunContext, stored: StoredCertificate, status: CertificateStatus) -> dict[str, object]:
    der = assemble(stored.tbs, context.authority.issuer.algorithm, stored.signature)
    certificate = x509.load_der_x509_certificate(der)
    return {
        "serial": stored.serial.hex().upper(),
        "usage": stored.usage,
        "kind": stored.kind,
        "identifier": stored.identifier,
        "subject": certificate.subject.rfc4514_string({x509.NameOID.SERIAL_NUMBER: "serialNumber"}),
        "not_before": certificate.not_valid_before_utc.astimezone(TAIPEI).isoformat(),
        "not_after": certificate.not_valid_after_utc.astimezone(TAIPEI).isoformat(),
        "card_number": stored.card_number,
        "run": str(stored.run_id),
        **certificate_acts.standing_document(status),
        "pem": certificate.public_bytes(Encoding.PEM).decode(),
    }


@app.command("export")
def export(
    run: Annotated[int, typer.Option(help="The run whose certificates are written.")],
    out: Annotated[Path, typer.Option(help="The directory; made if missing.", file_okay=False)],
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write every certificate of a run as SERIAL.der, and the chain as chain.pem."""
    with open_context(home, only_reading=True) as context:
        with context.store.read() as connection:
            get_run(connection, run)
        try:
            out.mkdir(parents=True, exist_ok=True)
            count = 0
            for stored in certificates(context.store, run):
                der = assemble(stored.tbs, context.authority.issuer.algorithm, stored.signature)
                (out / f"{stored.serial.hex().upper()}.der").write_bytes(der)
                count += 1
            for name in ("chain.pem", "root.pem"):
                (out / name).write_bytes((context.home.certificates / name).read_bytes())
        except OSError as error:
            raise InputRejected(
                "the certificates cannot be written there", place=str(out), value=error.strerror
            ) from error
    answer({"run": str(run), "certificates": count, "out": str(out)}, as_json)
