"""What a dry run reads of large files."""

from typing import Any

import pytest

from appliance.ingest import dry_run
from appliance.ingest.spec import ImportRefused
from tests.factory import NOW, Timer, import_spec


def test_a_large_unterminated_file_is_looked_at_by_its_end(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    source = tmp_path / "c.csv"
    source.write_bytes(b"email,name\nann@example.com,Ann")
    clocks: dict[str, Any] = {"clock": lambda: NOW, "timer": Timer()}
    with pytest.raises(ImportRefused, match=r'end it with one, .*unterminated_last_line = "accept"'):
        dry_run.dry_run(import_spec(source=source), folder, **clocks)
    assert dry_run.dry_run(import_spec(source=source, unterminated_last_line="accept"), folder, **clocks).rows == 1


def test_a_large_file_may_end_with_the_mark_of_dos(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    source = tmp_path / "c.csv"
    source.write_bytes(b"email,name\r\nann@example.com,Ann\r\n\x1a")
    tried = dry_run.dry_run(import_spec(source=source), folder, clock=lambda: NOW, timer=Timer())
    assert (tried.rows, tried.bad_rows) == (1, 0)
