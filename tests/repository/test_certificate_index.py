"""The certificate index: what is found, in which order, by whom, and what a broken-off writer leaves."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import HomeUnusable, StoreError
from engine.repository.certificate_index import (
    CertificateIndex,
    CertificateIndexWriter,
    IndexPosition,
    PublishedCertificate,
)
from engine.repository.name_bigrams import folded

START = IndexPosition(0, "", None)


def row(
    item: int, name: str, *, number: str | None = None, unit: str | None = None, serial: bytes | None = None
) -> PublishedCertificate:
    return PublishedCertificate(
        item_id=item,
        serial=serial or item.to_bytes(16, "big"),
        subject_kind="company",
        name=name,
        unit_name=unit,
        county=None,
        number=number,
        usage="signature",
        rank="primary",
        not_before=1,
        not_after=2,
        accepted_at=3,
        certificate=b"certificate %d" % item,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "certificates.sqlite"


def fill(path: Path, rows: list[PublishedCertificate], position: IndexPosition = START) -> CertificateIndex:
    with CertificateIndexWriter(path) as writer:
        writer.put(rows, position)
    return CertificateIndex(path)


def items(found: list[PublishedCertificate]) -> list[int]:
    return [one.item_id for one in found]


def all_pages(index: CertificateIndex, text: str, limit: int) -> list[int]:
    found: list[int] = []
    while page := index.by_name(text, found[-1] if found else 0, limit):
        found += items(page)
    return found


LETTERS = "臺台灣水泥股份有限公司 -&.\"'()*^ABabＡ:　１"
NAMES = st.text(LETTERS, min_size=1, max_size=9)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(NAMES, min_size=1, max_size=25), text=st.text(LETTERS, max_size=4), limit=st.integers(1, 9)
)
def test_a_search_finds_what_a_look_at_every_name_finds(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], text: str, limit: int
) -> None:
    path = tmp_path_factory.mktemp("index") / "certificates.sqlite"
    index = fill(path, [row(item, name) for item, name in enumerate(names, 1)])
    wanted = folded(text)
    seen = {item: folded(name) for item, name in enumerate(names, 1)}
    beginning = sorted((name, item) for item, name in seen.items() if wanted and name.startswith(wanted))
    inside = [
        item
        for item, name in seen.items()
        if len(wanted) > 1 and wanted in name and not name.startswith(wanted)
    ]
    assert all_pages(index, text, limit) == [item for _, item in beginning] + inside


def test_names_that_are_the_text_come_first_then_those_that_begin_with_it(path: Path) -> None:
    index = fill(
        path,
        [
            row(1, "大台泥行"),
            row(2, "台泥資訊"),
            row(3, "台泥"),
            row(4, "臺泥"),
            row(5, "台泥", unit="花蓮廠"),
        ],
    )
    assert items(index.by_name("臺泥")) == [3, 4, 5, 2, 1]


def test_a_branch_is_found_by_its_own_name_and_by_both_in_a_row(path: Path) -> None:
    index = fill(path, [row(1, "亞洲水泥股份有限公司", unit="新竹製造廠")])
    for text in ("新竹製造", "亞洲水泥股份有限公司新竹", "亞洲水泥股份有限公司 新竹製造廠"):
        assert items(index.by_name(text)) == [1]


def test_by_serial_and_number(path: Path) -> None:
    index = fill(path, [row(item, "甲", number="11913502") for item in (3, 1, 2)] + [row(4, "乙")])
    assert index.by_serial((2).to_bytes(16, "big")) == [row(2, "甲", number="11913502")]
    assert index.by_serial(bytes(16)) == []
    assert items(index.by_number("11913502", 0, 2)) == [1, 2]
    assert items(index.by_number("11913502", 2, 2)) == [3]
    assert index.by_number("") == []
    assert index.count() == 4


def test_what_is_there_already_is_not_added_again(path: Path) -> None:
    first, second = IndexPosition(5, "a" * 32, 2), IndexPosition(9, "b" * 32, None)
    index = fill(path, [row(1, "甲乙"), row(2, "丙丁")], first)
    fill(path, [row(2, "丙丁"), row(3, "甲乙")], second)
    assert index.count() == 3
    assert items(index.by_name("甲乙")) == [1, 3]
    assert items(index.by_name("丙丁")) == [2]
    with CertificateIndexWriter(path) as writer:
        assert writer.position() == second


def test_a_new_index_begins_at_nothing(path: Path) -> None:
    with CertificateIndexWriter(path) as writer:
        assert writer.position() == START
    assert CertificateIndex(path).count() == 0


def test_two_certificates_of_one_serial_are_refused_and_nothing_is_kept(path: Path) -> None:
    with CertificateIndexWriter(path) as writer:
        with pytest.raises(StoreError, match="serial"):
            writer.put(
                [row(1, "甲乙"), row(2, "丙丁", serial=(1).to_bytes(16, "big"))], IndexPosition(1, "x", None)
            )
        assert writer.position() == START
        assert CertificateIndex(path).count() == 0
        writer.put([row(1, "甲乙")], START)
    assert CertificateIndex(path).count() == 1


def test_certificates_and_position_come_together_or_not_at_all(path: Path) -> None:
    """The writer is killed in the middle of a batch; the next one goes on from where the last one came to."""
    fill(path, [row(1, "甲乙")], IndexPosition(1, "m", None))
    killed = """
import os, sys
from pathlib import Path
from engine.repository.certificate_index import CertificateIndexWriter, IndexPosition
from tests.repository.test_certificate_index import row
def rows():
    yield from (row(item, f"丙丁{item}") for item in range(2, 3000))
    os.kill(os.getpid(), 9)
CertificateIndexWriter(Path(sys.argv[1])).put(rows(), IndexPosition(2, "n", None))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", killed, str(path)], cwd=root, check=False)
    assert done.returncode == -9
    with CertificateIndexWriter(path) as writer:
        assert writer.position() == IndexPosition(1, "m", None)
    index = CertificateIndex(path)
    assert (index.count(), items(index.by_name("丙丁"))) == (1, [])


def test_readers_need_no_right_to_write(path: Path, tmp_path: Path) -> None:
    index = fill(path, [row(1, "甲乙")])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    before = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    path.chmod(0o440)
    tmp_path.chmod(0o550)
    try:
        assert items(index.by_name("甲乙")) == [1]
        assert {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()} == before
    finally:
        tmp_path.chmod(0o750)


def test_an_open_index_cannot_be_written_through_it(path: Path) -> None:
    index = fill(path, [row(1, "甲乙")])
    with index._open() as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM certificate")


def test_a_reader_sees_the_index_that_took_the_name(path: Path, tmp_path: Path) -> None:
    index = fill(path, [row(1, "甲乙")])
    other = tmp_path / "new.sqlite"
    fill(other, [row(1, "甲乙"), row(2, "甲乙")])
    other.rename(path)
    assert items(index.by_name("甲乙")) == [1, 2]


def test_a_reader_is_not_shut_out_by_a_transaction_that_is_not_committed(path: Path) -> None:
    fill(path, [row(1, "甲乙")])
    index = CertificateIndex(path)

    def rows() -> list[PublishedCertificate]:
        return [row(item, f"丙丁{item}", number="11913502") for item in range(2, 2000)]

    with CertificateIndexWriter(path) as writer:
        writer._connection.execute("BEGIN IMMEDIATE")
        for one in rows():
            writer._add(one)
        assert items(index.by_name("甲乙")) == [1]
        writer._connection.rollback()


def test_no_index_and_no_sqlite_are_told_apart(path: Path) -> None:
    with pytest.raises(HomeUnusable, match="feed"):
        CertificateIndex(path).count()
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreError, match="cannot be read"):
        CertificateIndex(path).by_name("甲乙")
    with pytest.raises(StoreError, match="cannot be opened"):
        CertificateIndexWriter(path)


def test_another_version_is_refused(path: Path) -> None:
    fill(path, [])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="another version"):
        CertificateIndexWriter(path)
