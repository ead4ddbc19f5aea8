"""Register extracts (`engine/register`): JSON lines, a JSON array, CSV."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from pathlib import Path

from engine.errors import InputRejected
from engine.register.readers import read_register
from engine.register.row import RegisterRow, RowRejected
from tests.register.extracts import company


def seeds() -> list[bytes]:
    rows = [company(), company(Business_Accounting_NO="22099131", Sus_Beg_Date="1140101")]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    texts = ["\n".join(lines), json.dumps(rows, ensure_ascii=False), text.getvalue(), "\ufeff" + lines[0]]
    return [one.encode() for one in texts]


def attempt(octets: bytes) -> bool:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "extract"
        path.write_bytes(octets)
        try:
            outcomes = list(read_register(path))
        except InputRejected as error:
            assert str(error)
            return False
    assert all(isinstance(one, RegisterRow | RowRejected) for one in outcomes)
    return any(isinstance(one, RegisterRow) for one in outcomes)
