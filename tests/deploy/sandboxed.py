"""Runs a command under what a service's unit forbids the kernel to do for it, without systemd.

`python -P -m tests.deploy.sandboxed UNIT COMMAND...` sets NoNewPrivileges, UMask, LimitCORE, the filter of system calls
and address families, and MemoryDenyWriteExecute as the unit says, then becomes the command. Which calls a group such as
@system-service has, systemd-analyze says.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from struct import pack

from deploy.unit_files import UNITS, Unit, read_unit

NUMBERS = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")

# linux/prctl.h, linux/seccomp.h, linux/filter.h, linux/audit.h
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_MDWE, _PR_GET_MDWE = 38, 22, 65, 66
_SECCOMP_MODE_FILTER, _ALLOW, _ERRNO, _KILL = 2, 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_AUDIT_ARCH_X86_64 = 0xC000003E
_EPERM, _EAFNOSUPPORT = 1, 97
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}


def in_sandbox(unit: str, *words: str) -> list[str]:
    """Return the command that runs another one in a service's sandbox, from the project's directory."""
    return [sys.executable, "-m", "tests.deploy.sandboxed", unit, *words]


def main() -> None:
    """Set what the unit says, and become the command."""
    unit = read_unit(UNITS / sys.argv[1])
    os.umask(int(unit.one("UMask"), 8))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    program = filter_program(
        allowed_calls(unit), [_FAMILIES[name] for name in unit.words("RestrictAddressFamilies")]
    )
    libc = ctypes.CDLL(None, use_errno=True)
    assert unit.one("MemoryDenyWriteExecute") == unit.one("NoNewPrivileges") == "yes"
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _prctl(libc, _PR_SET_MDWE, 1)
    _set_filter(libc, program)
    os.execv(sys.argv[2], sys.argv[2:])


def why_not() -> str | None:
    """Say why there is no sandbox here; None if there is."""
    if platform.machine() != "x86_64" or not NUMBERS.exists():
        return "the filter is written for x86-64 with its headers"
    return None if _kernel_denies_write_execute() else "PR_SET_MDWE came with Linux 6.3"


def _kernel_denies_write_execute() -> bool:
    found: int = ctypes.CDLL(None).prctl(_PR_GET_MDWE, 0, 0, 0, 0)
    return found >= 0


def allowed_calls(unit: Unit) -> set[int]:
    """Return the numbers of the system calls that the unit's filter allows."""
    groups = _groups()
    allowed: set[str] = {"execve"}  # always, systemd.exec(5)
    for value in unit.all("SystemCallFilter"):
        named = {call for name in value.removeprefix("~").split() for call in _calls(name, groups)}
        allowed = allowed - named if value.startswith("~") else allowed | named
    numbers = dict(re.findall(r"^#define __NR_(\w+) (\d+)$", NUMBERS.read_text(), re.MULTILINE))
    return {int(numbers[name]) for name in allowed if name in numbers}  # the rest are other machines' calls


def _groups() -> dict[str, list[str]]:
    done = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, check=True
    )
    groups: dict[str, list[str]] = {}
    for line in done.stdout.decode().splitlines():
        if line.startswith("@"):
            name = line.split()[0]
            groups[name] = []
        elif (word := line.strip()) and not word.startswith("#"):
            groups[name].append(word)
    return groups


def _calls(name: str, groups: dict[str, list[str]]) -> Iterable[str]:
    if not name.startswith("@"):
        return [name]
    return [call for inner in groups[name] for call in _calls(inner, groups)]


def filter_program(calls: set[int], families: list[int]) -> bytes:
    """Return a seccomp program: what is not allowed fails, with the error that systemd's would."""
    socket = 41  # asm/unistd_64.h
    lines = [
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 1, 0, _AUDIT_ARCH_X86_64),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    for call in sorted(calls - {socket}):
        lines += [(_EQUAL, 0, 1, call), (_RETURN, 0, 0, _ALLOW)]
    lines += [(_EQUAL, 1, 0, socket), (_RETURN, 0, 0, _ERRNO | _EPERM), (_LOAD, 0, 0, _FIRST_ARGUMENT_AT)]
    for family in families:
        lines += [(_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    lines.append((_RETURN, 0, 0, _ERRNO | _EAFNOSUPPORT))
    return b"".join(pack("=HBBI", *line) for line in lines)


def _set_filter(libc: ctypes.CDLL, program: bytes) -> None:
    octets = ctypes.create_string_buffer(program, len(program))
    header = pack("@HP", len(program) // 8, ctypes.addressof(octets))  # struct sock_fprog
    _prctl(libc, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header)


def _prctl(libc: ctypes.CDLL, option: int, first: int, second: bytes | int = 0) -> None:
    if libc.prctl(option, ctypes.c_ulong(first), second, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


if __name__ == "__main__":
    main()
