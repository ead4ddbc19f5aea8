"""What can go wrong, typed by whose fault it is and what to do next.

Every error names the place (file, row, field, table), the value as far as it is no secret, and the rule that
was broken. Foreign exceptions are translated into these at the border of the room that uses the foreign library.
The exit codes belong to the command line; they stand here so that one glance shows them all.
"""

from __future__ import annotations


class SealmintError(Exception):
    """Base of every error that sealmint raises on purpose.

    Args:
        message: one sentence for the person who must act.
        place: where: a file with its row and field, a table, a token, a configuration key.
        value: the offending value, shortened; never a secret.
        rule: the rule that was broken, with its clause or section where there is one.
    """

    exit_code = 1

    def __init__(
        self, message: str, *, place: str | None = None, value: object = None, rule: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.value = value
        self.rule = rule

    def __str__(self) -> str:
        parts = [self.message]
        if self.place is not None:
            parts.insert(0, f"{self.place}:")
        if self.value is not None:
            text = repr(self.value)
            parts.append(f"(found {text if len(text) <= 120 else text[:117] + '...'})")
        if self.rule is not None:
            parts.append(f"[{self.rule}]")
        return " ".join(parts)


class InputRejected(SealmintError):
    """The data handed in breaks a rule. Correct the data and hand it in again."""

    exit_code = 3


class ConfigurationInvalid(SealmintError):
    """A configuration, profile or policy file is wrong. Correct the file."""

    exit_code = 4


class HomeUnusable(SealmintError):
    """The home directory is missing, in use, not writable, or of another version. Nothing was written."""

    exit_code = 5


class Overloaded(SealmintError):
    """A bounded queue is full. Try again later; nothing was accepted."""

    exit_code = 6


class TokenError(SealmintError):
    """The PKCS#11 token or module did not do what was asked."""

    exit_code = 7


class SignerUnavailable(TokenError):
    """The token cannot sign at the moment. The same call may succeed later."""


class SignerFailed(TokenError):
    """The token refused for good. Repeating the call will not help; an operator must look."""


class PinIncorrect(SignerFailed):
    """The token refused the PIN. Never repeated by the program: a token locks after a few attempts."""

    exit_code = 14


class KeyMismatch(SignerFailed):
    """The key in the token is missing or is not the one that the certificate names."""


class PoolClosed(TokenError):
    """The session pool was closed while, or before, the call was made."""


class LintFailed(SealmintError):
    """A tbsCertificate does not have the structure its profile asks for. It was not signed: a defect here."""

    exit_code = 8


class SignatureInvalid(SealmintError):
    """A signature does not verify with the key it should. What it covers is not used."""

    exit_code = 8


class StoreError(SealmintError):
    """The database did not do what was asked; the transaction was rolled back."""

    exit_code = 9


class StoreUnavailable(StoreError):
    """The database is away, or its disk is full. The same call may succeed later.

    A commit that was under way may have been kept all the same: whoever repeats it must look first, or do what can be
    done twice.
    """


class LeaseLost(StoreError):
    """Another worker holds the work unit now. What this worker did for it is discarded."""


class AuditFailed(StoreError):
    """The audit record could not be written, so what it records did not happen (CPS 4.5.6)."""


class AuditBroken(SealmintError):
    """The audit chain was changed after it was written."""

    exit_code = 10


class ClockWrong(SealmintError):
    """The clock stands before the newest record. Set the clock; nothing was signed."""

    exit_code = 11


class RunStateConflict(SealmintError):
    """The run is not in a state that allows this command."""

    exit_code = 12


class StatusConflict(SealmintError):
    """The certificate's status does not allow this act. Nothing was changed."""

    exit_code = 13


class FeedRejected(SealmintError):
    """What came over the feed is not what the CA signed, or is older than what this host has. Nothing was taken."""

    exit_code = 15


class FeedUnavailable(SealmintError):
    """The feed cannot be read at present. What this host has stays; trying again may help."""

    exit_code = 16


def the_sealmint_error(raised: BaseException) -> SealmintError:
    """Return the one error that an exception or a group of them comes down to.

    A nursery raises what its tasks raised as a group. The first of our own errors stands for it, unless there is
    anything in it that is not ours: then that is a defect, and raised on.
    """
    if isinstance(raised, SealmintError):
        return raised
    if isinstance(raised, BaseExceptionGroup):
        ours, others = raised.split(SealmintError)
        if ours is not None and others is None:
            return the_sealmint_error(ours.exceptions[0])
    raise raised


class CheckFailed(SealmintError):
    """The independent checker found something that must never be. Nothing was changed; the findings say where."""

    exit_code = 17


class BackupUnusable(SealmintError):
    """A backup is incomplete or damaged, or is of another home. Take an older one; nothing was restored."""

    exit_code = 18
