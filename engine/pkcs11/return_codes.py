"""The CKR values, each with its name and the python-pkcs11 exception class that stands for it.

python-pkcs11 raises these classes for its own calls and does not offer the mapping, so the calls that this room
makes itself (`cryptoki.py`, `sign_call.py`) need it here; that way one table of dispositions serves both. Where
python-pkcs11 has no class, it raises its base class, and so do we. Values: PKCS#11 v2.40, pkcs11t.h.
"""

from __future__ import annotations

from pkcs11 import exceptions as raised

CKR_OK = 0
CKR_USER_ALREADY_LOGGED_IN = 0x100

_CODES: dict[int, tuple[str, type[raised.PKCS11Error]]] = {
    0x002: ("CKR_HOST_MEMORY", raised.HostMemory),
    0x003: ("CKR_SLOT_ID_INVALID", raised.SlotIDInvalid),
    0x005: ("CKR_GENERAL_ERROR", raised.GeneralError),
    0x006: ("CKR_FUNCTION_FAILED", raised.FunctionFailed),
    0x007: ("CKR_ARGUMENTS_BAD", raised.ArgumentsBad),
    0x008: ("CKR_NO_EVENT", raised.NoEvent),
    0x010: ("CKR_ATTRIBUTE_READ_ONLY", raised.AttributeReadOnly),
    0x011: ("CKR_ATTRIBUTE_SENSITIVE", raised.AttributeSensitive),
    0x012: ("CKR_ATTRIBUTE_TYPE_INVALID", raised.AttributeTypeInvalid),
    0x013: ("CKR_ATTRIBUTE_VALUE_INVALID", raised.AttributeValueInvalid),
    0x020: ("CKR_DATA_INVALID", raised.DataInvalid),
    0x021: ("CKR_DATA_LEN_RANGE", raised.DataLenRange),
    0x030: ("CKR_DEVICE_ERROR", raised.DeviceError),
    0x031: ("CKR_DEVICE_MEMORY", raised.DeviceMemory),
    0x032: ("CKR_DEVICE_REMOVED", raised.DeviceRemoved),
    0x040: ("CKR_ENCRYPTED_DATA_INVALID", raised.EncryptedDataInvalid),
    0x041: ("CKR_ENCRYPTED_DATA_LEN_RANGE", raised.EncryptedDataLenRange),
    0x050: ("CKR_FUNCTION_CANCELED", raised.FunctionCancelled),
    0x054: ("CKR_FUNCTION_NOT_SUPPORTED", raised.FunctionNotSupported),
    0x060: ("CKR_KEY_HANDLE_INVALID", raised.KeyHandleInvalid),
    0x062: ("CKR_KEY_SIZE_RANGE", raised.KeySizeRange),
    0x063: ("CKR_KEY_TYPE_INCONSISTENT", raised.KeyTypeInconsistent),
    0x064: ("CKR_KEY_NOT_NEEDED", raised.KeyNotNeeded),
    0x066: ("CKR_KEY_NEEDED", raised.KeyNeeded),
    0x067: ("CKR_KEY_INDIGESTIBLE", raised.KeyIndigestible),
    0x068: ("CKR_KEY_FUNCTION_NOT_PERMITTED", raised.PKCS11Error),
    0x069: ("CKR_KEY_NOT_WRAPPABLE", raised.KeyNotWrappable),
    0x06A: ("CKR_KEY_UNEXTRACTABLE", raised.KeyUnextractable),
    0x070: ("CKR_MECHANISM_INVALID", raised.MechanismInvalid),
    0x071: ("CKR_MECHANISM_PARAM_INVALID", raised.MechanismParamInvalid),
    0x082: ("CKR_OBJECT_HANDLE_INVALID", raised.ObjectHandleInvalid),
    0x090: ("CKR_OPERATION_ACTIVE", raised.OperationActive),
    0x091: ("CKR_OPERATION_NOT_INITIALIZED", raised.OperationNotInitialized),
    0x0A0: ("CKR_PIN_INCORRECT", raised.PinIncorrect),
    0x0A1: ("CKR_PIN_INVALID", raised.PinInvalid),
    0x0A2: ("CKR_PIN_LEN_RANGE", raised.PinLenRange),
    0x0A3: ("CKR_PIN_EXPIRED", raised.PinExpired),
    0x0A4: ("CKR_PIN_LOCKED", raised.PinLocked),
    0x0B0: ("CKR_SESSION_CLOSED", raised.SessionClosed),
    0x0B1: ("CKR_SESSION_COUNT", raised.SessionCount),
    0x0B3: ("CKR_SESSION_HANDLE_INVALID", raised.SessionHandleInvalid),
    0x0B4: ("CKR_SESSION_PARALLEL_NOT_SUPPORTED", raised.PKCS11Error),
    0x0B5: ("CKR_SESSION_READ_ONLY", raised.SessionReadOnly),
    0x0B6: ("CKR_SESSION_EXISTS", raised.SessionExists),
    0x0B7: ("CKR_SESSION_READ_ONLY_EXISTS", raised.SessionReadOnlyExists),
    0x0B8: ("CKR_SESSION_READ_WRITE_SO_EXISTS", raised.SessionReadWriteSOExists),
    0x0C0: ("CKR_SIGNATURE_INVALID", raised.SignatureInvalid),
    0x0C1: ("CKR_SIGNATURE_LEN_RANGE", raised.SignatureLenRange),
    0x0D0: ("CKR_TEMPLATE_INCOMPLETE", raised.TemplateIncomplete),
    0x0D1: ("CKR_TEMPLATE_INCONSISTENT", raised.TemplateInconsistent),
    0x0E0: ("CKR_TOKEN_NOT_PRESENT", raised.TokenNotPresent),
    0x0E1: ("CKR_TOKEN_NOT_RECOGNIZED", raised.TokenNotRecognised),
    0x0E2: ("CKR_TOKEN_WRITE_PROTECTED", raised.TokenWriteProtected),
    0x0F0: ("CKR_UNWRAPPING_KEY_HANDLE_INVALID", raised.UnwrappingKeyHandleInvalid),
    0x0F1: ("CKR_UNWRAPPING_KEY_SIZE_RANGE", raised.UnwrappingKeySizeRange),
    0x0F2: ("CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", raised.UnwrappingKeyTypeInconsistent),
    CKR_USER_ALREADY_LOGGED_IN: ("CKR_USER_ALREADY_LOGGED_IN", raised.UserAlreadyLoggedIn),
    0x101: ("CKR_USER_NOT_LOGGED_IN", raised.UserNotLoggedIn),
    0x102: ("CKR_USER_PIN_NOT_INITIALIZED", raised.UserPinNotInitialized),
    0x103: ("CKR_USER_TYPE_INVALID", raised.PKCS11Error),
    0x104: ("CKR_USER_ANOTHER_ALREADY_LOGGED_IN", raised.AnotherUserAlreadyLoggedIn),
    0x105: ("CKR_USER_TOO_MANY_TYPES", raised.UserTooManyTypes),
    0x110: ("CKR_WRAPPED_KEY_INVALID", raised.WrappedKeyInvalid),
    0x112: ("CKR_WRAPPED_KEY_LEN_RANGE", raised.WrappedKeyLenRange),
    0x113: ("CKR_WRAPPING_KEY_HANDLE_INVALID", raised.WrappingKeyHandleInvalid),
    0x114: ("CKR_WRAPPING_KEY_SIZE_RANGE", raised.WrappingKeySizeRange),
    0x115: ("CKR_WRAPPING_KEY_TYPE_INCONSISTENT", raised.WrappingKeyTypeInconsistent),
    0x120: ("CKR_RANDOM_SEED_NOT_SUPPORTED", raised.RandomSeedNotSupported),
    0x121: ("CKR_RANDOM_NO_RNG", raised.RandomNoRNG),
    0x130: ("CKR_DOMAIN_PARAMS_INVALID", raised.DomainParamsInvalid),
    0x150: ("CKR_BUFFER_TOO_SMALL", raised.PKCS11Error),
    0x190: ("CKR_CRYPTOKI_NOT_INITIALIZED", raised.PKCS11Error),
    0x191: ("CKR_CRYPTOKI_ALREADY_INITIALIZED", raised.PKCS11Error),
    0x1B5: ("CKR_EXCEEDED_MAX_ITERATIONS", raised.ExceededMaxIterations),
    0x1B8: ("CKR_PIN_TOO_WEAK", raised.PinTooWeak),
    0x1B9: ("CKR_PUBLIC_KEY_INVALID", raised.PublicKeyInvalid),
    0x200: ("CKR_FUNCTION_REJECTED", raised.FunctionRejected),
}

_NAMES = {kind: name for name, kind in _CODES.values() if kind is not raised.PKCS11Error}


def error_for(code: int) -> raised.PKCS11Error:
    """Return, not raise, the exception that stands for a CKR value other than CKR_OK; its text is the name."""
    name, kind = _CODES.get(code, (f"CKR {code:#x}", raised.PKCS11Error))
    return kind(name)


def check(code: int) -> None:
    """Raise what `error_for` returns, unless the value is CKR_OK."""
    if code != CKR_OK:
        raise error_for(code)


def name_of(error: raised.PKCS11Error) -> str:
    """Return the CKR name of an exception, whether this room or python-pkcs11 made it."""
    return _NAMES.get(type(error)) or str(error) or type(error).__name__
