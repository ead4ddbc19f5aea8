"""Loading a PKCS#11 module so that several threads may use it.

python-pkcs11 calls `C_Initialize(NULL)`, which promises the module that only one thread will ever be inside
(PKCS#11 v2.40 section 5.4), and then lets go of the interpreter lock during every call. On SoftHSM four threads
crash within seconds. So the library object is made here without its own initialisation (its `__cinit__` resolves
the functions, its `__init__` initialises), and `C_Initialize` is called once, by ctypes, with CKF_OS_LOCKING_OK.
`pkcs11.lib()` must never be called for the same module: it would answer CKR_CRYPTOKI_ALREADY_INITIALIZED. The
module is never finalised either: a thread may be stuck inside it, and the end of the process ends its sessions.
"""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pkcs11.exceptions
from pkcs11 import _pkcs11

from engine.errors import ConfigurationInvalid, SignerFailed
from engine.pkcs11.cryptoki import CKF_OS_LOCKING_OK, Functions, InitializeArguments
from engine.pkcs11.return_codes import CKR_OK, error_for, name_of
from engine.pkcs11.softhsm_files import put_back_token_files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Module:
    """One loaded and initialised module.

    Args:
        path: its shared library.
        python_library: python-pkcs11's object for it.
        functions: the functions called by ctypes.
        process: the process that initialised it; a module does not survive a fork (section 5.4).
    """

    path: Path
    python_library: Any  # pkcs11._pkcs11.lib; its type is final and cannot be named by a fake
    functions: Functions
    process: int


_loaded: dict[Path, Module] = {}
_loading = threading.Lock()


def load_module(path: Path, environment: Mapping[str, str] | None = None) -> Module:
    """Load and initialise a PKCS#11 module, once per path and process; later calls return the same object.

    Args:
        path: the module's shared library.
        environment: variables the module reads, like SOFTHSM2_CONF. They are put into this process's environment
            before the first load and stay there; a module reads them once. Never a secret.

    Raises:
        ConfigurationInvalid: the file is missing, is no PKCS#11 module, is loaded already with another environment,
            or was loaded before this process was forked.
        SignerFailed: the module cannot be initialised with operating-system locking.
    """
    path = path.resolve()
    with _loading:
        module = _loaded.get(path)
        if module is None:
            os.environ.update(environment or {})
            module = _loaded[path] = _load(path)
        elif module.process != os.getpid():
            rule = "start processes by spawn"
            raise ConfigurationInvalid("the module was loaded before a fork", place=str(path), rule=rule)
        for name, value in (environment or {}).items():
            if os.environ.get(name) != value:
                rule = "a module reads its environment once"
                message = f"the module is loaded already with another {name}"
                raise ConfigurationInvalid(message, place=str(path), value=value, rule=rule)
        return module


def _load(path: Path) -> Module:
    try:
        functions = Functions(path)
        # The stub knows only __init__, which is what must not run here (see the module's docstring).
        library = _pkcs11.lib.__new__(_pkcs11.lib, str(path))  # type: ignore[call-arg]
    except (OSError, AttributeError, ValueError, pkcs11.exceptions.PKCS11Error) as error:
        # ValueError: C_GetFunctionList gave no list
        raise ConfigurationInvalid(f"this is no PKCS#11 module: {error}", place=str(path)) from error
    put_back_token_files()  # only now is it known which: the environment has just been told
    arguments = InitializeArguments(flags=CKF_OS_LOCKING_OK)
    code = functions.initialize(ctypes.byref(arguments))
    if code != CKR_OK:
        message = f"the module cannot be initialised for several threads: {name_of(error_for(code))}"
        raise SignerFailed(message, place=str(path))
    return Module(path, library, functions, os.getpid())
