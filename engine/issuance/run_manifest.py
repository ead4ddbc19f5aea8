"""The signed manifest that closes a run: every serial with the SHA-256 of its certificate.

The file has one line a certificate and is written in constant memory; the manifest beside it binds the file and is
signed with the operations key as detached CMS, for the CA key signs certificates and CRLs only (CPS 6.1.9).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import trio

from engine.authority.role_certificates import Authority
from engine.authority.signing import Sign
from engine.clock import Clock
from engine.fault_points import fault_point
from engine.home import Home
from engine.issuance.manifest import durable_file, write_manifest
from engine.store.certificates import StoredCertificate, certificates_of_run
from engine.store.database import Store
from engine.x509.certificate import assemble

PURPOSE = "run-manifest"
FILE_NAME = "certificates.csv"


def certificates(store: Store, run_id: int) -> Iterator[StoredCertificate]:
    """Yield the certificates of a run in the order of their items, a short snapshot at a time."""
    after = 0
    while True:
        with store.read() as connection:
            batch = certificates_of_run(connection, run_id, after)
        if not batch:
            return
        yield from batch
        after = batch[-1].item_id


async def write_run_manifest(
    home: Home, store: Store, clock: Clock, authority: Authority, run_id: int, sign: Sign
) -> tuple[bytes, bytes | None]:
    """Write and sign the manifest of a run.

    Args:
        home: the manifest lies in `runs/RUN/manifest`.
        store: the open store.
        clock: tells the time of signing.
        authority: whose operations certificate goes along.
        run_id: the run; none of its units is open.
        sign: the operations key.

    Returns:
        The SHA-256 of `manifest.json`, and the serial of the run's last certificate: serials begin with the time of
        their reservation. None where the run has no certificate.

    Cancelled, it leaves no manifest; the next call makes it anew.
    """
    directory = home.run_directory(run_id) / "manifest"
    directory.mkdir(exist_ok=True)
    write = partial(_write_lines, directory / FILE_NAME, store, authority, run_id)
    count, last = await trio.to_thread.run_sync(write)
    fault_point("run.certificates-listed")
    path = await write_manifest(
        directory,
        [FILE_NAME],
        purpose=PURPOSE,
        details={"run": run_id, "certificates": count},
        certificate=authority.operations.certificate,
        chain=authority.chain,
        now=clock.now(),
        sign=sign,
    )
    fault_point("run.manifest-written")
    return hashlib.sha256(path.read_bytes()).digest(), last


def _write_lines(path: Path, store: Store, authority: Authority, run_id: int) -> tuple[int, bytes | None]:
    count = 0
    last: bytes | None = None
    with durable_file(path) as file:
        file.write(b"serial,sha256\n")
        for stored in certificates(store, run_id):
            certificate = assemble(stored.tbs, authority.issuer.algorithm, stored.signature)
            line = f"{stored.serial.hex().upper()},{hashlib.sha256(certificate).hexdigest()}\n"
            file.write(line.encode())
            count += 1
            last = max(last or stored.serial, stored.serial)
    return count, last
