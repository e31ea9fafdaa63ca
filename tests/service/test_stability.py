"""How long the customers' files must not have been written to before they are read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.customers.snapshot_store import newest
from appliance.ingest.fingerprint import fingerprint
from appliance.service.stability import QUIET_PERIOD, WARN_AFTER, StabilityCheck
from tests.factory import CUSTOMERS, NOW, Timer, import_spec, related_spec, run_import, write_csv


class OpenFiles:
    """What is known of writers."""

    def __init__(self) -> None:
        self.files: set[Path] = set()

    def poll(self) -> None:
        """Nothing changes by polling."""

    def is_open(self, file: Path) -> bool:
        return file in self.files


class Made:
    """A source of two files that were imported, and the time."""

    def __init__(self, folder: Path, **more: object) -> None:
        self.file = write_csv(folder / "customers.csv")
        self.related = write_csv(folder / "orders.csv", [("email", "total"), ("ann@example.com", "12")])
        orders = related_spec(name="orders", source=self.related, table="", key="email", on="email")
        self.plan = import_spec(source=self.file, related=(orders,), max_shrink=1.0, **more)
        for file in self.plan.files:
            os.utime(file, (NOW - 1000, NOW - 1000))
        run_import(import_spec(source=self.file, related=(orders,)), folder / "state")
        self.imported = newest(folder / "state", self.plan.digest())
        self.writes, self.timer, self.clock = OpenFiles(), Timer(), Timer(NOW)
        self.check = StabilityCheck(self.plan, self.writes, self.timer, self.clock)  # type: ignore[arg-type]

    def write(self, file: Path, content: bytes) -> None:
        """Write it now."""
        file.write_bytes(content)
        os.utime(file, (self.clock.now, self.clock.now))

    def is_stable(self, seconds: float = 0.0) -> bool:
        """Look, after some time."""
        self.timer.now += seconds
        self.clock.now += seconds
        return self.check.is_stable(fingerprint(self.plan), self.imported)


LARGER = CUSTOMERS[0][0].encode() * 100 + b"\n"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_a_larger_file_needs_no_long_rest(made: Made) -> None:
    made.write(made.file, LARGER)
    assert made.is_stable()


def test_a_smaller_file_does(made: Made) -> None:
    made.write(made.file, b"email\n")
    assert [made.is_stable(seconds) for seconds in (0, QUIET_PERIOD - 0.5, 0.5)] == [False, False, True]


def test_so_does_a_larger_one_that_is_being_written(made: Made) -> None:
    made.write(made.file, LARGER)
    made.writes.files.add(made.file)
    assert [made.is_stable(seconds) for seconds in (0, QUIET_PERIOD - 0.5)] == [False, False]
    made.writes.files.clear()
    assert made.is_stable()


def test_every_write_begins_it_anew_also_one_to_another_file(made: Made) -> None:
    made.write(made.file, b"email\n")
    assert not made.is_stable()
    assert not made.is_stable(QUIET_PERIOD - 1)
    made.write(made.related, LARGER)
    assert not made.is_stable(QUIET_PERIOD - 1)
    assert made.is_stable(1)


def test_a_related_file_counts_as_well(made: Made) -> None:
    made.write(made.related, b"email,total\n")
    assert [made.is_stable(seconds) for seconds in (0, QUIET_PERIOD)] == [False, True]


def test_a_smaller_file_that_is_old_already_has_had_its_rest(made: Made) -> None:
    made.file.write_bytes(b"email\n")
    os.utime(made.file, (NOW - QUIET_PERIOD, NOW - QUIET_PERIOD))
    assert made.is_stable()


@pytest.mark.parametrize("mark", ["ready_file", "checksum_file"])
def test_with_a_mark_nothing_is_guessed(mark: str, tmp_path: Path) -> None:
    made = Made(tmp_path, **{mark: tmp_path / "mark"})
    made.write(made.file, b"email\n")
    made.writes.files.add(made.file)
    assert made.is_stable()


def test_a_database_is_read_in_a_transaction(tmp_path: Path) -> None:
    database = tmp_path / "customers.db"
    database.write_bytes(b"a database, held open")
    writes = OpenFiles()
    writes.files.add(database)
    plan = import_spec(source=database)
    assert StabilityCheck(plan, writes, Timer(), Timer(NOW)).is_stable(fingerprint(plan), None)  # type: ignore[arg-type]


def test_what_is_gone_is_for_the_import_to_say(made: Made) -> None:
    made.file.unlink()
    assert made.is_stable()


def test_a_clock_that_was_set_back_stops_nothing(made: Made) -> None:
    made.write(made.file, b"email\n")
    made.clock.now -= 100_000
    assert [made.is_stable(seconds) for seconds in (0, QUIET_PERIOD)] == [False, True]


def test_a_file_that_is_never_at_rest_is_told_of(made: Made) -> None:
    made.writes.files.add(made.file)
    while made.timer.now < WARN_AFTER:
        assert made.check.warning == ""
        made.write(made.file, LARGER + os.urandom(8))
        assert not made.is_stable(QUIET_PERIOD - 1)
    made.write(made.file, LARGER)
    assert not made.is_stable(QUIET_PERIOD - 1)
    assert made.check.warning.startswith(
        f"{made.file} has been written to for 10 minutes, never pausing for 10 seconds"
    )
    assert made.is_stable(QUIET_PERIOD)
    assert made.check.warning == ""
