"""One session that signs: blocking, for one thread."""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING

from pkcs11.exceptions import NoSuchKey, PKCS11Error, UserNotLoggedIn

from engine.pkcs11.keys import find_private_key
from engine.pkcs11.mechanisms import choose_digest_mechanism, choose_mechanism
from engine.pkcs11.return_codes import name_of
from engine.pkcs11.return_values import Disposition, disposition_of, translate
from engine.pkcs11.sign_call import SignCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.algorithms import SignatureAlgorithm
    from engine.errors import TokenError
    from engine.pkcs11.chunk import Chunk
    from engine.pkcs11.keys import KeyReference
    from engine.pkcs11.token import Token

RETRIES = 2
"""How often a call is repeated on the same session after a transient error. A guess: an error that outlives two
immediate repetitions is not of the moment, and the caller knows better how long to wait."""


class TokenSession:
    """An open session, with the handles of its keys. Opens without a PIN: the anchor has logged in.

    Args:
        token: where to open it.
        keys: the private keys it will sign with, each looked up once.

    Raises:
        pkcs11.exceptions.PKCS11Error: it cannot be opened, or a key is not there.
        KeyMismatch: a key may not sign.
    """

    def __init__(self, token: Token, keys: Sequence[KeyReference]) -> None:
        self.calls = 0  # calls that came back: the watchdog's sign of life
        self._token = token
        self._session = token.open_session()
        self._calls: dict[tuple[KeyReference, SignatureAlgorithm, bool], SignCall] = {}
        try:
            self._keys = {reference: self._look_up(reference) for reference in keys}
        except BaseException:
            self.close()
            raise

    def _look_up(self, reference: KeyReference) -> int:
        try:
            handle: int = find_private_key(self._session, reference).handle
        except NoSuchKey:
            # Without a log-in private keys are invisible. A restart just before this search must not pass for a
            # missing key.
            if not self._token.is_logged_in(self._session):
                raise UserNotLoggedIn("CKR_USER_NOT_LOGGED_IN") from None
            raise NoSuchKey(f"no private key answers to {reference}") from None
        return handle

    def sign_many(self, chunk: Chunk) -> PKCS11Error | None:
        """Sign the chunk's messages in order, until done or withdrawn; append an outcome for each to the chunk.

        A message that cannot be signed gets its error as outcome and the next one goes on. Blocks.

        Returns:
            None, or the error that ended it early: the session or the pool is of no more use. The message at which it
            came, and those after it, have no outcome then.
        """
        try:
            call = self._call(chunk.key, chunk.algorithm, chunk.are_digests)
        except PKCS11Error as error:
            chunk.errors.append(name_of(error))
            return error
        outcomes, durations = chunk.outcomes.append, chunk.durations_ns.append
        for message in chunk.messages:
            if chunk.withdrawn:
                break
            begun = perf_counter_ns()
            try:
                outcomes(call(message))
            except PKCS11Error as error:
                outcome = self._after_error(call, message, error, chunk.errors)
                if isinstance(outcome, PKCS11Error):
                    return outcome
                outcomes(outcome)
            durations(perf_counter_ns() - begun)
            self.calls += 1
        return None

    def _after_error(
        self, call: SignCall, message: bytes, error: PKCS11Error, errors: list[str]
    ) -> bytes | TokenError | PKCS11Error:
        """Do what the table says: a signature or an item's error comes back, or the error that ends the session."""
        errors.append(name_of(error))
        for _ in range(RETRIES):
            if disposition_of(error) is not Disposition.RETRY:
                break
            self.calls += 1
            try:
                return call(message)
            except PKCS11Error as again:
                error = again
                errors.append(name_of(error))
        if disposition_of(error) in (Disposition.RETRY, Disposition.FAIL_ITEM):
            return translate(error, place=f"token {self._token.label}")
        return error

    def check(self) -> None:
        """Make sure that the session is alive and logged in. Blocks for one call, which signs nothing.

        Raises:
            pkcs11.exceptions.PKCS11Error: it is not, or the token does not answer.
        """
        if not self._token.is_logged_in(self._session):
            raise UserNotLoggedIn("CKR_USER_NOT_LOGGED_IN")

    def _call(self, key: KeyReference, algorithm: SignatureAlgorithm, of_digests: bool) -> SignCall:
        call = self._calls.get((key, algorithm, of_digests))
        if call is None:
            choose = choose_digest_mechanism if of_digests else choose_mechanism
            mechanism = choose(algorithm, self._token.mechanisms)
            functions = self._token.module.functions
            call = SignCall(functions, self._session.handle, self._keys[key], mechanism)
            self._calls[key, algorithm, of_digests] = call
        return call

    def close(self) -> None:
        """Close the session; one that is dead already counts as closed."""
        try:
            self._session.close()
        except PKCS11Error:
            # The token has forgotten it, or will when the connection or the process ends; nothing more can be done.
            return
