"""Java's CertPathValidator with a PKIXRevocationChecker: OCSP, and CRLs by distribution point or from files.

One start of the virtual machine answers many questions: starting and compiling take longer than all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.judges.chain import Chain
from tests.judges.program import tell
from tests.judges.verdict import Verdict, Word, reason_named

_PROGRAM = Path(__file__).parent / "Judge.java"
_MARK = "VERDICT\t"


@dataclass(frozen=True)
class Question:
    """One question; made by the functions below."""

    how: str
    chain: Chain
    where: str = ""

    @property
    def line(self) -> str:
        files = (self.chain.certificate_file, self.chain.issuer_file, self.chain.root_file)
        return "\t".join([self.how, *map(str, files), self.where]) + "\n"


def by_ocsp(address: str, chain: Chain, *, nonce: bool = False) -> Question:
    """Ask at an address; by GET when the request is short (JDK 17), with a SHA-1 CertID."""
    return Question("ocsp-nonce" if nonce else "ocsp", chain, address)


def by_distribution_points(chain: Chain) -> Question:
    """Fetch the CRLs that the certificate names. The virtual machine keeps them for 30 seconds."""
    return Question("crl-points", chain)


def by_crl_files(chain: Chain, crls: Sequence[Path]) -> Question:
    """Use CRLs from DER files; and those that the certificate names, when these do not do."""
    return Question("crl-files", chain, ",".join(map(str, crls)))


def ask(questions: Sequence[Question]) -> list[Verdict]:
    """Ask everything in one run; verdicts in the order of the questions."""
    told = tell("java", "-XX:TieredStopAtLevel=1", _PROGRAM, given="".join(one.line for one in questions))
    lines = [line.removeprefix(_MARK) for line in told.text.splitlines() if line.startswith(_MARK)]
    assert told.code == 0 and len(lines) == len(questions), told.text
    return [_verdict(line) for line in lines]


def _verdict(line: str) -> Verdict:
    word, reason, said = line.split("\t", 2)
    return Verdict(Word(word), reason_named(reason), said)
