"""`openssl verify` and `openssl crl`: a certificate's status by CRL files; and what is in a CRL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tests.judges.chain import Chain
from tests.judges.program import tell
from tests.judges.verdict import Verdict, Word, reason_named, refused


def ask(chain: Chain, crls: Sequence[Path], *, whole_chain: bool = False, deltas: bool = False) -> Verdict:
    """Verify a certificate with CRLs, DER files; by `-extended_crl`, which heeds their scope.

    Args:
        chain: the certificate.
        crls: the CRLs, complete and delta ones.
        whole_chain: check the CA's certificate as well (`-crl_check_all`): needs the root's CRL.
        deltas: heed delta CRLs (`-use_deltas`); only those that freshestCRL announces.
    """
    files = [part for crl in crls for part in ("-CRLfile", crl)]
    told = tell(
        *("openssl", "verify", "-CAfile", chain.root_file, "-untrusted", chain.issuer_file, *files),
        *(
            "-crl_check_all" if whole_chain else "-crl_check",
            "-extended_crl",
            *(["-use_deltas"] if deltas else []),
        ),
        chain.certificate_file,
    )
    if told.code == 0 and told.text.endswith(": OK\n"):
        return Verdict(Word.GOOD, said=told.text)
    # It goes on after an expired CRL, and may say both.
    if re.findall(r"^error (\d+ at \d+) depth", told.text, re.MULTILINE) == [
        "23 at 0"
    ]:  # X509_V_ERR_CERT_REVOKED
        return Verdict(Word.REVOKED, said=told.text)
    return refused(told.text)


def entries(crl: Path) -> dict[int, str | None]:
    """What `openssl crl -text` lists: serial numbers with their reasons."""
    text = tell("openssl", "crl", "-in", crl, "-noout", "-text").text
    _, *parts = text.split("    Serial Number: ")
    return {int(part.split()[0], 16): _reason(part) for part in parts}


def _reason(part: str) -> str | None:
    found = re.search(r"X509v3 CRL Reason Code: \n +(.+)\n", part)
    return reason_named(found[1]) if found else None


def is_signed_by(crl: Path, chain: Chain) -> bool:
    """Whether `openssl crl` finds the CRL signed by the chain's CA; it does not look at times or scope."""
    told = tell("openssl", "crl", "-in", crl, "-noout", "-CAfile", chain.authorities_file)
    return "verify OK" in told.text
