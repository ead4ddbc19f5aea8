"""What to do about each error a token can give: one row an exception class, each with its reason.

The rows speak of an error on a pool session that signs. Every row was decided for the case that the code comes
from `C_SignInit` or `C_Sign`, or from opening the session, its log-in or the search for its keys; codes that none
of these may return (PKCS#11 v2.40 section 5) have a row too, because real modules do not keep to their lists.

Four dispositions are enough. A *transient* one repeats the call where it is; a *session* one says that the session
is of no more use, whatever the item; an *item* one says that only this message is at fault, so neither its session
nor its neighbours suffer; *stop* says that a repetition cannot help or would do harm. An unknown code is treated
as the session's fault: a new session is the strongest cure that does no harm, and the number of cures an item gets
is bounded.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from pkcs11 import exceptions as raised

from engine.errors import KeyMismatch, PinIncorrect, SignerFailed, SignerUnavailable, TokenError
from engine.pkcs11.return_codes import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Disposition(Enum):
    """What follows from an error."""

    RETRY = "retry on this session"
    REPLACE = "replace the session"
    FAIL_ITEM = "give up this item only"
    STOP = "stop"


class Row(NamedTuple):
    """One disposition and why."""

    disposition: Disposition
    reason: str


def _retry(reason: str) -> Row:
    return Row(Disposition.RETRY, reason)


def _replace(reason: str) -> Row:
    return Row(Disposition.REPLACE, reason)


def _item(reason: str) -> Row:
    return Row(Disposition.FAIL_ITEM, reason)


def _stop(reason: str) -> Row:
    return Row(Disposition.STOP, reason)


DISPOSITIONS: Mapping[type[raised.PKCS11Error], Row] = {
    raised.PKCS11Error: _replace(
        "a code without a class, mostly a vendor's; a new session is the harmless cure"
    ),
    # the token or the way to it, for a moment
    raised.DeviceMemory: _retry("the token is short of memory now; other operations will end"),
    raised.HostMemory: _retry("the client is short of memory now; the operation did not begin"),
    raised.FunctionFailed: _retry("the call failed but the token's state is sound (section 5.1.1)"),
    raised.FunctionCancelled: _retry("somebody cancelled the call; nothing is wrong with it"),
    raised.NoEvent: _retry("belongs to waiting for slots; from signing it can only be a slip of the moment"),
    raised.FunctionRejected: _retry(
        "an authorisation was declined this time (section 5.1.6); it may be given next time"
    ),
    raised.ExceededMaxIterations: _retry("a random search did not end; the next draw may"),
    # the session
    raised.DeviceError: _replace(
        "the token or the connection had a fault; what the session still holds is unknown"
    ),
    raised.GeneralError: _replace("the token may be in an inconsistent state (section 5.1.1): begin anew"),
    raised.DeviceRemoved: _replace("the token went away; its sessions died with it, and it may be back"),
    raised.TokenNotPresent: _replace(
        "the token is not there now; sessions on it are dead, and it may be back"
    ),
    raised.TokenNotRecognised: _replace("the slot has trouble reading the token, as while it restarts"),
    raised.SlotIDInvalid: _replace("a network client drops slots while their token restarts"),
    raised.SessionHandleInvalid: _replace("the session is dead, as after a restart"),
    raised.SessionClosed: _replace("the session was closed while the call ran"),
    raised.SessionCount: _replace("no session is free now; another process may give one back"),
    raised.UserNotLoggedIn: _replace(
        "the log-in was lost, as after a restart; replacing a session renews it first"
    ),
    raised.UserAlreadyLoggedIn: _replace("the log-in stands; a session opened now is logged in too"),
    raised.KeyHandleInvalid: _replace("handles die with a restart; a new session looks the key up again"),
    raised.ObjectHandleInvalid: _replace("handles die with a restart; a new session looks the key up again"),
    raised.OperationActive: _replace(
        "an operation was left open and no call of v2.40 ends it but closing the session"
    ),
    raised.OperationNotInitialized: _replace("the session forgot its operation between two calls"),
    raised.SessionExists: _replace("a session stands in the way of the call; begin anew"),
    raised.SessionReadOnlyExists: _replace("a session stands in the way of the call; begin anew"),
    # the message
    raised.DataInvalid: _item("this message cannot be signed with this mechanism; the next one can"),
    raised.DataLenRange: _item(
        "this message is too long or too short for this mechanism and key; the next one is not"
    ),
    # the PIN: a token locks after a few wrong attempts, so none of these is ever tried twice
    raised.PinIncorrect: _stop("the PIN is wrong; a second attempt brings the token nearer to its lock"),
    raised.PinInvalid: _stop("the PIN has characters the token does not allow"),
    raised.PinLenRange: _stop("the PIN has a length the token does not allow"),
    raised.PinExpired: _stop("the PIN must be changed by its owner"),
    raised.PinLocked: _stop("the token locked the PIN; the security officer must unlock it"),
    raised.PinTooWeak: _stop("the PIN does not meet the token's rules"),
    raised.UserPinNotInitialized: _stop("the security officer has set no PIN yet"),
    raised.AnotherUserAlreadyLoggedIn: _stop(
        "the security officer is logged in by this process: a defect here"
    ),
    raised.UserTooManyTypes: _stop("the token allows no more users at once; an operator must free one"),
    raised.SessionReadWriteSOExists: _stop(
        "the security officer has a session in this process: a defect here"
    ),
    # the key or the mechanism: configuration, the same on every session
    raised.MechanismInvalid: _stop("the token does not have this mechanism"),
    raised.MechanismParamInvalid: _stop("the token does not take these parameters of the mechanism"),
    raised.KeyTypeInconsistent: _stop("the key is of another type than the mechanism"),
    raised.KeySizeRange: _stop("the token does not use keys of this size"),
    raised.FunctionNotSupported: _stop("the module does not have the function"),
    raised.NoSuchKey: _stop("the key is not in the token, though the log-in stands"),
    raised.MultipleObjectsReturned: _stop("several keys answer to the reference; none must be guessed"),
    raised.NoSuchToken: _stop("no token answers to the label"),
    raised.MultipleTokensReturned: _stop("several tokens answer to the label; none must be guessed"),
    raised.DomainParamsInvalid: _stop("the token does not take the key's curve"),
    raised.PublicKeyInvalid: _stop("the token finds the key itself wrong"),
    raised.AttributeSensitive: _stop("an attribute that must be readable is hidden"),
    raised.AttributeTypeInvalid: _stop("the token does not know an attribute that is needed"),
    # what signing has no use for: the same call would get the same answer
    raised.ArgumentsBad: _stop("the call itself is wrong: a defect here"),
    raised.AttributeReadOnly: _stop("belongs to making objects"),
    raised.AttributeValueInvalid: _stop("belongs to making objects"),
    raised.TemplateIncomplete: _stop("belongs to making objects"),
    raised.TemplateInconsistent: _stop("belongs to making objects"),
    raised.SessionReadOnly: _stop("belongs to making objects"),
    raised.TokenWriteProtected: _stop("belongs to making objects"),
    raised.SignatureInvalid: _stop("belongs to verifying"),
    raised.SignatureLenRange: _stop("belongs to verifying"),
    raised.EncryptedDataInvalid: _stop("belongs to decrypting"),
    raised.EncryptedDataLenRange: _stop("belongs to decrypting"),
    raised.KeyIndigestible: _stop("belongs to digesting keys"),
    raised.KeyNeeded: _stop("belongs to setting an operation's state"),
    raised.KeyNotNeeded: _stop("belongs to setting an operation's state"),
    raised.KeyNotWrappable: _stop("belongs to wrapping"),
    raised.KeyUnextractable: _stop("belongs to wrapping"),
    raised.UnwrappingKeyHandleInvalid: _stop("belongs to wrapping"),
    raised.UnwrappingKeySizeRange: _stop("belongs to wrapping"),
    raised.UnwrappingKeyTypeInconsistent: _stop("belongs to wrapping"),
    raised.WrappedKeyInvalid: _stop("belongs to wrapping"),
    raised.WrappedKeyLenRange: _stop("belongs to wrapping"),
    raised.WrappingKeyHandleInvalid: _stop("belongs to wrapping"),
    raised.WrappingKeySizeRange: _stop("belongs to wrapping"),
    raised.WrappingKeyTypeInconsistent: _stop("belongs to wrapping"),
    raised.RandomNoRNG: _stop("the token has no source of random numbers, which PSS and ECDSA need"),
    raised.RandomSeedNotSupported: _stop("belongs to seeding the token's random numbers"),
}

PIN_UNTOUCHED = frozenset(
    {
        raised.SessionHandleInvalid,
        raised.SessionClosed,
        raised.DeviceRemoved,
        raised.TokenNotPresent,
        raised.SlotIDInvalid,
        raised.HostMemory,
    }
)
"""The errors of C_Login after which the PIN cannot have been looked at, so that a later log-in is the first
attempt. After any other one, an attempt may have been counted."""

_KINDS: Mapping[type[raised.PKCS11Error], type[TokenError]] = {
    raised.PinIncorrect: PinIncorrect,
    raised.NoSuchKey: KeyMismatch,
    raised.MultipleObjectsReturned: KeyMismatch,
}


def after_log_in(error: raised.PKCS11Error, *, place: str) -> TokenError | None:
    """Return the error for good that an error of C_Login is; None where the PIN was not looked at.

    An error that passes elsewhere as one of the moment may have cost an attempt here, so it must not be tried again.
    """
    if type(error) in PIN_UNTOUCHED:
        return None
    if disposition_of(error) is Disposition.STOP:
        return translate(error, place=place)
    message = f"the log-in failed with {name_of(error)}, which may have cost an attempt"
    return SignerFailed(message, place=place, rule="a PIN is tried once")


def disposition_of(error: raised.PKCS11Error) -> Disposition:
    """Return what follows from the error."""
    return DISPOSITIONS.get(type(error), DISPOSITIONS[raised.PKCS11Error]).disposition


def translate(error: raised.PKCS11Error, *, place: str) -> TokenError:
    """Return, not raise, the error of this project that a token error becomes at the border of this room.

    `SignerFailed` (for the PIN `PinIncorrect`, for the key `KeyMismatch`) when the table says stop or gives up the
    item, `SignerUnavailable` otherwise. The token's error is the cause of what is returned; where this room raised it
    with a text of its own, that is the message.
    """
    row = DISPOSITIONS.get(type(error), DISPOSITIONS[raised.PKCS11Error])
    hopeless = row.disposition in (Disposition.STOP, Disposition.FAIL_ITEM)
    kind = _KINDS.get(type(error), SignerFailed if hopeless else SignerUnavailable)
    name, said = name_of(error), str(error)
    translated = kind(f"{name}: {row.reason if said in ('', name) else said}", place=place)
    translated.__cause__ = error
    return translated
