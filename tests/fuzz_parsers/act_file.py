"""Files of acts on status (`engine/status/act_file.py`)."""

from __future__ import annotations

import tempfile
from pathlib import Path

from engine.errors import InputRejected
from engine.status.act_file import FileRow, read_acts
from engine.status.origins import Verb


def seeds() -> list[bytes]:
    return [
        b"serial,ground,document,reason,invalidity_date\r\n"
        b"4100,not-needed,number 7,superseded,2026-03-02\r\n",
        b'card,origin\nAB00000000000001,subscriber\n"AB00000000000002",subscriber\n',
        b'{"identifier": "22099131", "ground": "entity-ended"}\n'
        b'{"serial": "41", "invalidity_date": "2026-03-02T09:00:00+08:00"}\n',
    ]


def attempt(octets: bytes) -> bool:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "acts"
        path.write_bytes(octets)
        try:
            rows = list(read_acts(path, Verb.REVOKE, {"ground": None}))
        except InputRejected as error:
            assert str(error)
            return False
    return any(isinstance(row, FileRow) for row in rows)
