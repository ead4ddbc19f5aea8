"""What an OCSP responder may say, right and wrong: each case answers requests about its certificate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cryptography import x509

from tests.judges.toy_authority import HOUR, NOW, ToyAuthority
from tests.judges.toy_ocsp import Single, error_response, hash_of, nonce_of, response
from tests.judges.toy_server import Answer

HASHES = ("sha1", "sha256")


@dataclass(frozen=True)
class OcspCase:
    """A way to answer, and whether it is asked with a nonce.

    Args:
        answer: from the authority, a single answer for each certificate and hash, and the request.
        nonce: ask with one.
        bad: a careful relying party refuses this answer, whatever it says of the certificates.
    """

    answer: Callable[[ToyAuthority, list[Single], bytes], bytes]
    nonce: bool = False
    bad: bool = True

    def responder(self, toy: ToyAuthority, certificates: list[x509.Certificate], claim: str) -> Answer:
        """A responder that answers so: all certificates, under both hashes, in each answer.

        Args:
            toy: whose certificates they are.
            certificates: what it knows.
            claim: "good" or "revoked": what a bad answer wants to be believed.
        """
        reason = "key_compromise" if claim == "revoked" else None
        singles = [
            Single(certificate.serial_number, toy.ca.certificate, claim, reason, hash_name)
            for certificate in certificates
            for hash_name in HASHES
        ]
        return lambda request: self.answer(toy, singles, request)


def _each(singles: list[Single], **changes: object) -> list[Single]:
    return [replace(single, **changes) for single in singles]  # type: ignore[arg-type] # the fields of Single


def _signed(**changes: object) -> Callable[[ToyAuthority, list[Single], bytes], bytes]:
    """The responder's answer with these fields of every single answer changed."""
    return lambda toy, singles, request: response(_each(singles, **changes), toy.responder)


OCSP_CASES = {
    "good": OcspCase(_signed(), bad=False),
    "revoked": OcspCase(_signed(state="revoked", reason="key_compromise"), bad=False),
    "suspended": OcspCase(_signed(state="revoked", reason="certificate_hold"), bad=False),
    "revoked without a reason": OcspCase(_signed(state="revoked"), bad=False),
    "unknown": OcspCase(_signed(state="unknown"), bad=False),
    "signed by the CA itself": OcspCase(
        lambda toy, singles, request: response(singles, toy.ca, embedded=[]), bad=False
    ),
    "no nextUpdate": OcspCase(_signed(next_update=None, this_update=NOW), bad=False),
    "nonce that comes back": OcspCase(
        lambda toy, singles, request: response(singles, toy.responder, nonce=nonce_of(request)),
        nonce=True,
        bad=False,
    ),
    "nonce left out": OcspCase(_signed(), nonce=True),
    "another nonce": OcspCase(
        lambda toy, singles, request: response(singles, toy.responder, nonce=b"\x04\x10" + bytes(16)),
        nonce=True,
    ),
    "nonce that nobody sent": OcspCase(
        lambda toy, singles, request: response(singles, toy.responder, nonce=b"\x04\x10" + bytes(16)),
        bad=False,
    ),
    "tampered signature": OcspCase(
        lambda toy, singles, request: response(singles, toy.responder, spoil=True)
    ),
    "signed by another key": OcspCase(
        lambda toy, singles, request: response(
            singles,
            toy.impostor_responder,
            embedded=[toy.responder.certificate],
            responder=toy.responder.key_hash,
        )
    ),
    "responder of a CA of the same name": OcspCase(
        lambda toy, singles, request: response(singles, toy.impostor_responder)
    ),
    "responder without id-kp-OCSPSigning": OcspCase(
        lambda toy, singles, request: response(singles, toy.unauthorised_responder)
    ),
    "expired responder certificate": OcspCase(
        lambda toy, singles, request: response(singles, toy.expired_responder)
    ),
    "no responder certificate": OcspCase(
        lambda toy, singles, request: response(singles, toy.responder, embedded=[])
    ),
    "ResponderID of another key": OcspCase(
        lambda toy, singles, request: response(singles, toy.responder, responder=bytes(20))
    ),
    "another serial number": OcspCase(
        lambda toy, singles, request: response(
            [replace(single, serial=single.serial ^ 1) for single in singles], toy.responder
        )
    ),
    "another issuer key": OcspCase(
        lambda toy, singles, request: response(_each(singles, issuer=toy.impostor.certificate), toy.responder)
    ),
    "another CertID hash": OcspCase(
        lambda toy, singles, request: response(
            [single for single in singles if single.hash_name != hash_of(request)], toy.responder
        )
    ),
    "stale": OcspCase(_signed(this_update=NOW - 3 * HOUR, next_update=NOW - HOUR)),
    "from the future": OcspCase(_signed(this_update=NOW + HOUR, next_update=NOW + 3 * HOUR)),
    "unknown critical extension": OcspCase(
        lambda toy, singles, request: response(singles, toy.responder, critical="2.25.1")
    ),
    "no single answer": OcspCase(lambda toy, singles, request: response([], toy.responder)),
    "tryLater": OcspCase(lambda toy, singles, request: error_response("try_later")),
    "unauthorized": OcspCase(lambda toy, singles, request: error_response("unauthorized")),
    "not an OCSP response": OcspCase(lambda toy, singles, request: b"try again tomorrow"),
}
"""By name, as in the README's table."""
