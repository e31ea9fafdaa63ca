"""A large file is read in a process of its own."""

import os
import signal

import pytest

from appliance.ingest.spec import ImportRefused
from tests.factory import run_import
from tests.ingest.imports import names, write


def many(count):
    return [("email", "name"), *((f"a{n}@example.com", f"Name {n}") for n in range(count))]


def test_a_large_file_gives_what_a_small_one_does(spec, folder, tmp_path, monkeypatch):
    """It is read in another process, with bad rows and several addresses in some of its many portions."""
    rows = many(9000)
    rows[7000] = ("none", "No Address")
    rows[8000] = ("x@example.com y@example.com", "Two")
    write(spec, rows)
    reports = []
    for large, state in ((-1, folder), (1 << 40, tmp_path / "other")):
        monkeypatch.setattr("appliance.ingest.snapshot_builder._LARGE", large)
        reports.append(run_import(spec, state))
        assert names(state, spec, "a17@example.com", "y@example.com", "a8998@example.com") == [
            "Name 17",
            "Two",
            "Name 8998",
        ]
    assert reports[0] == reports[1]
    assert (reports[0].rows, reports[0].addresses, reports[0].bad[0].line) == (8999, 9000, 7001)


def test_the_reading_process_is_killed(spec, folder, monkeypatch):
    monkeypatch.setattr("appliance.ingest.snapshot_builder._LARGE", -1)

    def killed(spec, copy):
        yield os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("appliance.ingest.snapshot_builder.read_customers", killed)
    with pytest.raises(ImportRefused, match="the reader process was killed") as caught:
        run_import(spec, folder)
    assert caught.value.transient
