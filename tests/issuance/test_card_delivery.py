"""Certificates to the card centre: the file says what the certificates say."""

import json
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from engine.clock import SystemClock
from engine.issuance.card_exchange import card_delivery
from engine.issuance.card_exchange.card_delivery import CardCertificate, write_card_delivery
from engine.issuance.development_card_centre import open_card_centre
from engine.issuance.manifest import read_manifest
from engine.kinds import Usage

SERIALS = [0x0F, 0x80, 0x0123456789ABCDEF0123456789ABCDEF]


def certificate(serial: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    now = SystemClock().now()
    builder = x509.CertificateBuilder(x509.Name([]), x509.Name([]), key.public_key(), serial, now, now)
    return builder.sign(key, SHA256()).public_bytes(Encoding.DER)


@pytest.mark.cps("1.3.3")
@pytest.mark.judge("openssl")
def test_openssl_reads_the_serials_that_the_file_names(tmp_path: Path) -> None:
    signer = open_card_centre(tmp_path / "signer", SystemClock())
    items = [
        CardCertificate("MG00000000000005", Usage.SIGNATURE, serial, certificate(serial))
        for serial in SERIALS
    ]

    async def write() -> int:
        return await write_card_delivery(
            tmp_path / "out",
            items,
            details={"run": 7},
            certificate=signer.certificate,
            chain=[],
            now=signer.clock.now(),
            sign=signer.sign,
        )

    assert trio.run(write) == len(SERIALS)
    manifest = read_manifest(tmp_path / "out", purpose=card_delivery.PURPOSE, trusted=[signer.certificate])
    assert manifest.details == {"run": 7, "lines": len(SERIALS)}
    for line in (tmp_path / "out" / card_delivery.FILE_NAME).read_bytes().splitlines():
        row = json.loads(line)
        assert (row["card_number"], row["usage"]) == ("MG00000000000005", "signature")
        command = ["openssl", "x509", "-inform", "DER", "-noout", "-serial"]
        printed = subprocess.run(
            command, input=b64decode(row["certificate"]), capture_output=True, check=True
        )
        assert printed.stdout.decode() == f"serial={row['serial']}\n"
