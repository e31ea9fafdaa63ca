"""A database whose writer was killed: SQLite alone could finish or undo its change, and that would write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.ingest.spec import ImportRefused
from tests.factory import import_spec, run_import


def leave_half_a_change(file: Path) -> None:
    """Make `file` as a writer leaves it that was killed in a transaction: with a hot journal beside it."""
    work = file.with_name("work.db")
    with closing(sqlite3.connect(work, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = DELETE")
        writer.execute("PRAGMA synchronous = OFF")
        writer.execute("CREATE TABLE customers(email, name)")
        writer.execute("BEGIN")
        writer.executemany("INSERT INTO customers VALUES(?, 'old')", [(f"a{n}@example.com",) for n in range(2000)])
        writer.execute("COMMIT")
        writer.execute("PRAGMA cache_size = 1")  # so that pages are written before the end of the transaction
        writer.execute("BEGIN")
        writer.execute("UPDATE customers SET name = 'new'")
        for suffix in ("", "-journal"):
            Path(f"{file}{suffix}").write_bytes(Path(f"{work}{suffix}").read_bytes())
        writer.execute("ROLLBACK")


def test_a_change_that_was_never_ended_is_refused_and_left_alone(tmp_path: Path) -> None:
    source = tmp_path / "c.db"
    leave_half_a_change(source)
    before = [file.read_bytes() for file in (source, tmp_path / "c.db-journal")]
    with pytest.raises(
        ImportRefused, match=r"c\.db was left in the middle of a change; open it once with the program"
    ) as caught:
        run_import(import_spec(source=source), tmp_path / "state")
    assert caught.value.transient
    assert [file.read_bytes() for file in (source, tmp_path / "c.db-journal")] == before


def test_it_is_read_once_its_writer_has_opened_it_again(tmp_path: Path) -> None:
    source = tmp_path / "c.db"
    leave_half_a_change(source)
    with closing(sqlite3.connect(source)) as writer:
        assert writer.execute("SELECT DISTINCT name FROM customers").fetchall() == [("old",)]
    assert run_import(import_spec(source=source), tmp_path / "state").rows == 2000
