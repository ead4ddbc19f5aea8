"""NSS: `vfychain` asks by GET at the address in the certificate, and by POST when GET gives nothing it believes;
`crlutil` takes in a complete CRL.
"""

from __future__ import annotations

from pathlib import Path

from tests.judges.chain import Chain
from tests.judges.program import tell
from tests.judges.verdict import Verdict, Word, refused

_REVOKED = "ERROR -8180:"  # SEC_ERROR_REVOKED_CERTIFICATE


class NssDatabase:
    """A certificate database that trusts one root.

    The root must be in it: `-t` alone lets `vfychain` trust a chain, but not the responder's certificate, and every
    answer would go unheeded.
    """

    def __init__(self, directory: Path, chain: Chain) -> None:
        directory.mkdir()
        self._place = ("-d", f"sql:{directory}")
        for command in (
            ("certutil", "-N", *self._place, "--empty-password"),
            ("certutil", "-A", *self._place, "-n", "root", "-t", "CT,C,C", "-a", "-i", chain.root_file),
            ("certutil", "-A", *self._place, "-n", "ca", "-t", ",,", "-a", "-i", chain.issuer_file),
        ):
            told = tell(*command)
            assert told.code == 0, told.text

    def ask(self, chain: Chain) -> Verdict:
        """Ask about a certificate by OCSP. It does not tell reasons, and takes `unknown` for no answer."""
        return self._verdict(chain, "ocsp")

    def ask_crl(self, chain: Chain, crl: Path) -> Verdict:
        """Take a CRL in, a DER file, and verify a certificate by it."""
        told = tell("crlutil", "-I", *self._place, "-i", crl, "-t", "1")
        if told.code != 0:
            return refused(told.text)
        verdict = self._verdict(chain, "crl")
        removed = tell("crlutil", "-D", *self._place, "-n", "ca")
        assert removed.code == 0, removed.text
        return verdict

    def _verdict(self, chain: Chain, method: str) -> Verdict:
        """Ask twice: with `failIfNoInfo` an answer it refuses is an error like a revocation, with `requireInfo` it is
        as if it had not come; the two together tell which it was.
        """
        hard = self._verify(chain, method, "failIfNoInfo")
        if "Chain is good!" in hard:
            return Verdict(Word.GOOD, said=hard)
        soft = self._verify(chain, method, "requireInfo")
        return Verdict(Word.REVOKED, said=soft) if _REVOKED in soft else refused(hard + soft)

    def _verify(self, chain: Chain, method: str, demand: str) -> str:
        usage = ("-u", "4")  # e-mail signer: the one usage that a key for signatures only has
        return tell(
            *("vfychain", "-pp", *self._place, *usage, "-g", "leaf", "-m", method, "-s", demand),
            *("-a", chain.certificate_file, "-a", chain.issuer_file),
        ).text
