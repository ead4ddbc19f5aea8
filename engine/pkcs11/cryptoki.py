"""The few structures and functions of Cryptoki that python-pkcs11 does not offer, by ctypes.

Names and layouts are those of PKCS#11 v2.40 (OASIS, pkcs11-base). The functions are taken from the module's own
function list (section 5.4), because a module need not export more than `C_GetFunctionList`. ctypes lets go
of the interpreter lock during every call.
"""

from __future__ import annotations

import ctypes
from ctypes import CFUNCTYPE, POINTER, Structure, c_ubyte, c_ulong, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

CKF_OS_LOCKING_OK = 0x2
CKS_RO_USER_FUNCTIONS = 1
CKS_RW_USER_FUNCTIONS = 3
CKU_SO = 0
CKU_USER = 1
UNAVAILABLE_INFORMATION = 2 ** (8 * ctypes.sizeof(c_ulong)) - 1
"""CK_UNAVAILABLE_INFORMATION: all ones (section 3.2)."""

_FUNCTIONS = [
    "C_Initialize",
    "C_Finalize",
    "C_GetInfo",
    "C_GetFunctionList",
    "C_GetSlotList",
    "C_GetSlotInfo",
    "C_GetTokenInfo",
    "C_GetMechanismList",
    "C_GetMechanismInfo",
    "C_InitToken",
    "C_InitPIN",
    "C_SetPIN",
    "C_OpenSession",
    "C_CloseSession",
    "C_CloseAllSessions",
    "C_GetSessionInfo",
    "C_GetOperationState",
    "C_SetOperationState",
    "C_Login",
    "C_Logout",
    "C_CreateObject",
    "C_CopyObject",
    "C_DestroyObject",
    "C_GetObjectSize",
    "C_GetAttributeValue",
    "C_SetAttributeValue",
    "C_FindObjectsInit",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_EncryptInit",
    "C_Encrypt",
    "C_EncryptUpdate",
    "C_EncryptFinal",
    "C_DecryptInit",
    "C_Decrypt",
    "C_DecryptUpdate",
    "C_DecryptFinal",
    "C_DigestInit",
    "C_Digest",
    "C_DigestUpdate",
    "C_DigestKey",
    "C_DigestFinal",
    "C_SignInit",
    "C_Sign",
]
"""CK_FUNCTION_LIST in its order, as far as the last function used here (section 5.4)."""


class Version(Structure):
    """CK_VERSION."""

    _fields_: ClassVar = [("major", c_ubyte), ("minor", c_ubyte)]


class FunctionList(Structure):
    """The beginning of CK_FUNCTION_LIST."""

    _fields_: ClassVar = [("version", Version), *((name, c_void_p) for name in _FUNCTIONS)]


class InitializeArguments(Structure):
    """CK_C_INITIALIZE_ARGS."""

    _fields_: ClassVar = [
        ("CreateMutex", c_void_p),
        ("DestroyMutex", c_void_p),
        ("LockMutex", c_void_p),
        ("UnlockMutex", c_void_p),
        ("flags", c_ulong),
        ("pReserved", c_void_p),
    ]


class TokenInfo(Structure):
    """CK_TOKEN_INFO."""

    _fields_: ClassVar = [
        ("label", c_ubyte * 32),
        ("manufacturerID", c_ubyte * 32),
        ("model", c_ubyte * 16),
        ("serialNumber", c_ubyte * 16),
        ("flags", c_ulong),
        ("ulMaxSessionCount", c_ulong),
        ("ulSessionCount", c_ulong),
        ("ulMaxRwSessionCount", c_ulong),
        ("ulRwSessionCount", c_ulong),
        ("ulMaxPinLen", c_ulong),
        ("ulMinPinLen", c_ulong),
        ("ulTotalPublicMemory", c_ulong),
        ("ulFreePublicMemory", c_ulong),
        ("ulTotalPrivateMemory", c_ulong),
        ("ulFreePrivateMemory", c_ulong),
        ("hardwareVersion", Version),
        ("firmwareVersion", Version),
        ("utcTime", c_ubyte * 16),
    ]


class SessionInfo(Structure):
    """CK_SESSION_INFO."""

    _fields_: ClassVar = [
        ("slotID", c_ulong),
        ("state", c_ulong),
        ("flags", c_ulong),
        ("ulDeviceError", c_ulong),
    ]


class Mechanism(Structure):
    """CK_MECHANISM."""

    _fields_: ClassVar = [("mechanism", c_ulong), ("pParameter", c_void_p), ("ulParameterLen", c_ulong)]


class PssParameters(Structure):
    """CK_RSA_PKCS_PSS_PARAMS."""

    _fields_: ClassVar = [("hashAlg", c_ulong), ("mgf", c_ulong), ("sLen", c_ulong)]


class Functions:
    """The functions of one loaded module. Each returns a CKR value.

    Args:
        path: the module's shared library. It stays loaded as long as the process lives: ctypes never unloads.

    Raises:
        OSError: the file is missing or no shared library.
        AttributeError: it has no `C_GetFunctionList`.
    """

    def __init__(self, path: Path) -> None:
        listing = POINTER(FunctionList)()
        ctypes.CDLL(str(path)).C_GetFunctionList(ctypes.byref(listing))
        self._list = listing.contents
        text, reference = ctypes.c_char_p, c_void_p
        self.initialize = self._function("C_Initialize", [reference])
        self.get_token_info = self._function("C_GetTokenInfo", [c_ulong, reference])
        self.init_token = self._function("C_InitToken", [c_ulong, text, c_ulong, text])
        self.init_pin = self._function("C_InitPIN", [c_ulong, text, c_ulong])
        self.get_session_info = self._function("C_GetSessionInfo", [c_ulong, reference])
        self.login = self._function("C_Login", [c_ulong, c_ulong, text, c_ulong])
        self.sign_init = self._function("C_SignInit", [c_ulong, reference, c_ulong])
        # The message goes by c_char_p, which passes a pointer into the bytes object itself: no copy. Bytes with
        # zero octets are safe, since the length travels beside it.
        self.sign = self._function("C_Sign", [c_ulong, text, c_ulong, reference, reference])

    # Any: what a ctypes prototype makes is a callable whose type typeshed cannot say
    def _function(self, name: str, arguments: Sequence[Any]) -> Any:
        return CFUNCTYPE(c_ulong, *arguments)(getattr(self._list, name))
