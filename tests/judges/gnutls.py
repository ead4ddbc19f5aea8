"""GnuTLS: `ocsptool` asks by POST with SHA-1 CertIDs; `certtool` verifies a certificate with a CRL."""

from __future__ import annotations

import re
from pathlib import Path

from tests.judges.chain import Chain
from tests.judges.program import tell
from tests.judges.verdict import Verdict, Word, refused


def ask(address: str, chain: Chain, *, nonce: bool = False) -> Verdict:
    """Ask about a certificate. It does not tell reasons.

    `ocsptool` judges signature and signer, and prints every SingleResponse; the reader looks for the serial number.
    """
    told = tell(
        *("ocsptool", f"--ask={address}", *(["--nonce"] if nonce else [])),
        *("--load-cert", chain.certificate_file, "--load-issuer", chain.issuer_file),
        *("--load-trust", chain.authorities_file),
    )
    if told.code != 0 or "Verifying OCSP Response: Success." not in told.text:
        return refused(told.text)
    serial = f"{chain.certificate.serial_number:x}"
    about = [
        part
        for part in told.text.split("Certificate ID:")
        if re.search(rf"Serial Number: 0*{serial}\n", part)
    ]
    words = {match[1] for part in about if (match := re.search(r"Certificate Status: (\w+)", part))}
    return Verdict(Word(words.pop()), said=told.text) if len(words) == 1 else refused(told.text)


def ask_crl(chain: Chain, crl: Path, directory: Path) -> Verdict:
    """Verify a certificate with a CRL, a DER file; it does not heed scope.

    `--verify` leaves a CRL that it does not believe out of account without a word, so `--verify-crl` is asked first.
    """
    pem = directory / f"{crl.stem}.gnutls.pem"
    pem.write_text(tell("certtool", "--crl-info", "--inder", "--infile", crl, "--no-text").text)
    believed = tell("certtool", "--verify-crl", "--load-ca-certificate", chain.issuer_file, "--infile", pem)
    if believed.code != 0:
        return refused(believed.text)
    told = tell(
        *("certtool", "--verify", "--load-ca-certificate", chain.root_file, "--load-crl", pem),
        given=chain.certificate_file.read_text() + chain.issuer_file.read_text(),
    )
    if told.code == 0:
        return Verdict(Word.GOOD, said=told.text)
    return Verdict(Word.REVOKED, said=told.text) if "revoked" in told.text else refused(told.text)
