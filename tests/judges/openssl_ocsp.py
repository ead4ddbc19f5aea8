"""`openssl ocsp`: asks by POST, with any CertID hash, for several certificates at once, with or without a nonce.

It ends with 0 whatever the answer is worth: everything is read from what it prints.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tests.judges.chain import Chain
from tests.judges.program import tell
from tests.judges.verdict import Verdict, Word, reason_named, refused

_NONCE_COMPLAINTS = ("WARNING: no nonce in response", "Nonce Verify error")
_COMPLAINTS = ("WARNING: Status times invalid", "ERROR: No Status found")


def ask(
    address: str, chains: Sequence[Chain], *, hash_name: str = "sha1", nonce: bool = False
) -> list[Verdict]:
    """Ask about certificates of one CA in one request; one verdict each.

    A nonce that was sent must come back: without it the answer counts as refused.
    """
    first = chains[0]
    certificates = [part for chain in chains for part in ("-cert", chain.certificate_file)]
    told = tell(
        *("openssl", "ocsp", "-url", address, "-timeout", "30", "-nonce" if nonce else "-no_nonce"),
        *("-CAfile", first.authorities_file, f"-{hash_name}", "-issuer", first.issuer_file, *certificates),
    )
    believed = "Response verify OK" in told.text and not any(line in told.text for line in _NONCE_COMPLAINTS)
    if not believed:
        return [refused(told.text)] * len(chains)
    return [_read(told.text, chain) for chain in chains]


def _read(text: str, chain: Chain) -> Verdict:
    part = text.split(f"{chain.certificate_file}: ", 1)[1].split(".pem: ", 1)[0]
    if any(complaint in part for complaint in _COMPLAINTS):
        return refused(text)
    reason = re.search(r"^\tReason: (\w+)$", part, re.MULTILINE)
    return Verdict(Word(part.split()[0]), reason_named(reason[1]) if reason else None, text)
