"""Databases that are in use, locked, linked to, or in folders of others."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.ingest.fingerprint import fingerprint
from appliance.ingest.spec import ImportRefused
from tests.factory import import_spec, run_import
from tests.ingest.imports import make_database, names
from tests.permissions import open_to_others


def test_a_database_in_use(tmp_path, folder):
    """In WAL mode what is committed is seen, whatever its writer is doing; nothing is left beside the file."""
    source = make_database(tmp_path / "c.db")
    spec = import_spec(source=source)
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO customers VALUES('new@example.com', 'New', '')")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO customers VALUES('later@example.com', 'Later', '')")
    run_import(spec, folder)
    assert names(folder, spec, "new@example.com", "later@example.com") == ["New"]
    writer.execute("COMMIT")
    writer.close()
    assert not list(tmp_path.glob("c.db-*"))
    run_import(spec, folder)
    assert names(folder, spec, "later@example.com") == ["Later"]
    assert not list(tmp_path.glob("c.db-*"))


def test_a_link_to_a_database_in_use(tmp_path, folder):
    """SQLite keeps the log beside the file, not beside the link; looked for there, it would be missed in silence."""
    (tmp_path / "elsewhere").mkdir()
    source = make_database(tmp_path / "elsewhere" / "real.db")
    (tmp_path / "c.db").symlink_to(source)
    spec = import_spec(source=tmp_path / "c.db")
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    before = fingerprint(spec)
    writer.execute("INSERT INTO customers VALUES('new@example.com', 'New', '')")
    assert fingerprint(spec) != before
    run_import(spec, folder)
    assert names(folder, spec, "new@example.com") == ["New"]
    writer.close()


def test_a_locked_database(tmp_path, folder, monkeypatch):
    monkeypatch.setattr("appliance.ingest.sources.sqlite_copy._PATIENCE", 1)
    source = make_database(tmp_path / "c.db")
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with pytest.raises(
        ImportRefused, match=r"c\.db is locked by the program that writes it; it will be tried again"
    ) as caught:
        run_import(import_spec(source=source), folder)
    assert caught.value.transient
    writer.close()
    assert run_import(import_spec(source=source), folder).rows == 6


AS_NOBODY = """
import os, sys, tests.factory
from pathlib import Path
from appliance.ingest.fingerprint import fingerprint
from appliance.customers.address import normalise
from appliance.ingest.spec import ImportRefused
normalise("x@exämple.com")  # loads what nobody may not be able to read
os.setgid(65534); os.setuid(65534)
try:
    tests.factory.run_import(tests.factory.import_spec(Path(sys.argv[1])), Path(sys.argv[2]))
except ImportRefused as refused:
    print(refused)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
@pytest.mark.parametrize(
    ("leave", "sentence"),
    [
        ("wal", "has a -wal file beside it that cannot be read; let sidebard write to its folder"),
        ("closed", ""),
        (
            "unreadable",
            "c.db cannot be opened: Permission denied; let the user nobody read it and enter the folders above it",
        ),
    ],
)
def test_a_folder_that_may_not_be_written(leave, sentence, tmp_path_factory):
    """As the service's own user: a file in WAL mode is read as it lies if its writer is gone."""
    with_permissions = tmp_path_factory.mktemp("data")
    open_to_others(with_permissions)
    state = tmp_path_factory.mktemp("mine")
    os.chown(state, 65534, 65534)
    source = make_database(with_permissions / "c.db")
    writer = sqlite3.connect(source, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("INSERT INTO customers VALUES('new@example.com', 'New', '')")
    if leave == "wal":
        (with_permissions / "copy.db").write_bytes(source.read_bytes())
        (with_permissions / "copy.db-wal").write_bytes((with_permissions / "c.db-wal").read_bytes())
        source = with_permissions / "copy.db"
    writer.close()
    source.chmod(0o600 if leave == "unreadable" else 0o644)
    result = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, str(source), str(state)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"]},  # nobody cannot write what coverage measures
        check=False,
    )
    assert result.stderr == "", result.stderr
    assert sentence in result.stdout
    assert bool(sentence) is bool(result.stdout)
