"""The home directory: where a CA keeps its configuration, store, certificates and secrets.

sealmint.toml    configuration
store.sqlite     the record (unless the configuration names another database)
secrets/         the PIN file; mode 0700
certificates/    root, ca, ocsp, audit, operations (DER) and chain.pem
audit/           checkpoint files
runs/            manifests and reports of each run
locks/           who is at work
run/             sockets of running processes
crl/             published CRLs
status-store/    this host's copy of the status, for OCSP
feed/            who may read the feed, and with what certificate it is served
usage/           what relying parties asked, fetched from the public hosts
capacity/        what sweeps of the token measured
card-centre/     the development card centre, where there is one
token/           the development token, where there is one

The home of a public host has no record, no token and no PIN:

sealmint.toml    configuration, role = "public"
secrets/         the private key with which it asks for the feed; mode 0700
certificates/    root, ca, operations (DER): whom it believes
feed/            its own certificate for asking, and the one the feed is served with
status-store/    the status, for OCSP
crl/             CRLs
repository/      certificate index and documents
usage/           accounts, and what was asked
locks/ run/      who is at work
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import HomeUnusable

_SUBDIRECTORIES = ("secrets", "certificates", "audit", "runs", "locks", "run", "crl", "feed", "usage")
_PUBLIC_SUBDIRECTORIES = ("secrets", "certificates", "locks", "run", "crl", "feed", "repository", "usage")


class Home:
    """A home directory and the names in it.

    Args:
        path: the directory; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def holder(self) -> str:
        """The name under which this home holds leases: `host:/path/of/home`.

        The host's name alone is none: two homes of one machine, or of two containers, may share a record.
        """
        return f"{socket.gethostname()}:{self.path}"

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.path / "sealmint.toml"

    @property
    def pin_file(self) -> Path:
        """The PIN of the development token; mode 0600."""
        return self.path / "secrets" / "token-pin"

    @property
    def security_officer_pin_file(self) -> Path:
        """The security officer's PIN of the development token; mode 0600. Its presence says the token is ours."""
        return self.path / "secrets" / "token-so-pin"

    @property
    def certificates(self) -> Path:
        """The directory of the authority certificates."""
        return self.path / "certificates"

    @property
    def checkpoints(self) -> Path:
        """The directory of the audit checkpoint files."""
        return self.path / "audit"

    @property
    def token(self) -> Path:
        """The directory of the development token."""
        return self.path / "token"

    @property
    def session_slots(self) -> Path:
        """The directory whose locks count the sessions of all processes."""
        return self.path / "locks" / "sessions"

    @property
    def log_in_lock(self) -> Path:
        """The lock under which processes log in to the token, one at a time."""
        return self.path / "locks" / "log-in.lock"

    @property
    def lane_table(self) -> Path:
        """The memory in which all processes on the token tell each other what they have in flight."""
        return self.path / "locks" / "lanes"

    @property
    def capacity(self) -> Path:
        """The directory of what sweeps of the token measured."""
        return self.path / "capacity"

    @property
    def card_centre(self) -> Path:
        """The directory of the development card centre."""
        return self.path / "card-centre"

    def run_directory(self, run_id: int) -> Path:
        """Return the directory of a run's manifest and reports, made if missing."""
        directory = self.path / "runs" / str(run_id)
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def create(self, *, public: bool = False) -> None:
        """Make the directory and what it must contain, readable by its owner only.

        Args:
            public: whether it is to be the home of a public host.

        Raises:
            HomeUnusable: it cannot be made, or is not writable.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.chmod(0o700)  # one that was there may have been open to others
            for name in _PUBLIC_SUBDIRECTORIES if public else _SUBDIRECTORIES:
                (self.path / name).mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise HomeUnusable(
                "the home cannot be made", place=str(self.path), value=error.strerror
            ) from error
        self.check_writable()

    def check_writable(self) -> None:
        """Prove that files can be made in the home.

        Raises:
            HomeUnusable: they cannot.
        """
        probe = self.path / "locks" / f".writable-{os.getpid()}"
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise HomeUnusable(
                "the home is not writable", place=str(self.path), value=error.strerror
            ) from error

    @contextmanager
    def lock(self, name: str, doing: str) -> Iterator[None]:
        """Hold a lock of the home; it falls with the process, however that ends.

        Args:
            name: the lock, such as `home` or `run-1`.
            doing: what it is held for; told to whoever finds it held.

        Raises:
            HomeUnusable: another process holds it.
        """
        path = self.path / "locks" / f"{name}.lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise HomeUnusable("the home is not writable", place=str(path), value=error.strerror) from error
        try:
            _lock_or_refuse(descriptor, path)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{doing}, process {os.getpid()}".encode(), 0)
            yield
        finally:
            os.close(descriptor)


def _lock_or_refuse(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
            raise HomeUnusable("the lock cannot be taken", place=str(path), value=error.strerror) from error
        holder = os.pread(descriptor, 200, 0).decode(errors="replace")
        raise HomeUnusable(
            "another process is at work here; wait for it, or stop it", place=str(path), value=holder
        ) from error


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
