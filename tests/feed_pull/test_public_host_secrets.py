"""The public host holds no secret of the CA's: not in its files, nor in the environment or memory of its processes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.prepared_home import ROOT, PreparedHome, command, copy_of, environment
from tests.feed_pull.two_homes import PublicHome, admitted, feed_of
from tests.processes import children_of, open_files, opened_as

_MAPPING = re.compile(rb"^([0-9a-f]+)-([0-9a-f]+) r")
_O_ACCMODE = 0o3
_PIECE = 1 << 20
_LONGEST = 4_096
"""Octets of the longest secret: pieces of memory overlap by so much."""


@pytest.fixture(scope="module")
def home(prepared: PreparedHome, tmp_path_factory: pytest.TempPathFactory) -> PreparedHome:
    home = copy_of(prepared, tmp_path_factory.mktemp("secrets") / "copy")
    home.sealmint("run", "start", 1)
    home.sealmint("ocsp", "presign")
    home.sealmint("crl", "publish")
    return home


def secrets_of(home: PreparedHome) -> dict[str, bytes]:
    """What must never leave the CA host, by name: PINs, the front's private key, the objects in the token."""
    found = {path.name: path.read_bytes().strip() for path in (home.path / "secrets").iterdir()}
    key = found.pop("feed-server-key.pem")
    found["feed-server-key"] = key.splitlines()[1]  # the base64 inside
    for path in (home.path / "token").rglob("*.object"):
        found[f"token/{path.name}"] = path.read_bytes()[-256:]
    found["where the CA's home is"] = os.fsencode(home.path)
    return found


def memory_of(pid: int) -> Iterator[bytes]:
    """Yield all that a process has in memory, piece by piece, each with the end of the one before."""
    with (
        Path(f"/proc/{pid}/maps").open("rb") as maps,
        Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory,
    ):
        for line in maps:
            mapping = _MAPPING.match(line)
            if mapping is None or b"[v" in line:  # vvar and vsyscall cannot be read (proc(5))
                continue
            start, end = (int(number, 16) for number in mapping.groups())
            if b"data.mdb" in line:
                continue  # a sparse map of 32 GiB; the file itself is looked through
            for place in range(start, end, _PIECE):
                memory.seek(place)
                try:
                    yield memory.read(min(_PIECE + _LONGEST, end - place))
                except OSError:
                    break  # a guard page


@pytest.mark.cps("2.6.3")
@pytest.mark.cps("6.7")
def test_no_secret_of_the_ca_is_on_the_public_host(home: PreparedHome, tmp_path: Path) -> None:
    public = admitted(home, tmp_path)
    secrets = secrets_of(home)
    assert {"token-pin", "token-so-pin", "feed-server-key"} < set(secrets)
    assert any(name.startswith("token/") for name in secrets)
    with feed_of(home) as url, public.following(url) as following:
        arguments = (
            "serve",
            "--home",
            public.path,
            "--ocsp",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--json",
        )
        with subprocess.Popen(
            command(*arguments), env=environment(), cwd=ROOT, stdout=subprocess.PIPE
        ) as serving:
            try:
                assert serving.stdout is not None
                assert serving.stdout.readline()
                processes = [following.process.pid, serving.pid, *children_of(serving.pid)]
                assert len(processes) >= 4  # the puller, the supervisor, a listener, the web front
                if os.geteuid() == 0:  # nobody else may look into a process that forbids cores
                    # Here they are found, where they are known to be:
                    assert any(secrets["token-so-pin"] in piece for piece in memory_of(os.getpid()))
                    for pid in processes:
                        look_into(pid, secrets, home, public)
            finally:
                serving.terminate()
    files = [path for path in public.path.rglob("*") if path.is_file()]
    assert {path.name for path in (public.path / "secrets").iterdir()} == {"feed-key.pem"}
    for path in files:
        content = path.read_bytes()
        assert [name for name, secret in secrets.items() if secret in content] == [], path


def look_into(pid: int, secrets: dict[str, bytes], home: PreparedHome, public: PublicHome) -> None:
    """Look through the environment, the arguments, the memory and the open files of a process."""
    process = Path(f"/proc/{pid}")
    told = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
    pieces = [told, *memory_of(pid)]
    found = {name for name, secret in secrets.items() if any(secret in piece for piece in pieces)}
    assert found == set(), (process / "cmdline").read_bytes()
    for descriptor, target in open_files(pid).items():
        assert not target.startswith(str(home.path))
        if target.startswith(str(public.path / "repository")) and pid not in writers_of(public):
            flags = opened_as(pid, descriptor)
            assert flags is None or flags & _O_ACCMODE == os.O_RDONLY, target


def writers_of(public: PublicHome) -> set[int]:
    """The processes that hold the lock of the copies' writer."""
    holder = (public.path / "locks" / "status-store.lock").read_text()
    return {int(holder.rpartition(" ")[2])}
