"""Remote sources: fetched in a child process, whatever the server does, and then imported as files are."""

from __future__ import annotations

import csv
import errno
import hashlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.customers.record import related_of
from appliance.ingest import fetch
from appliance.ingest.importer import Unchanged
from appliance.ingest.sources.base import SourceError
from appliance.ingest.sources.remote import Fetched, FetchedTable, RemoteSource
from appliance.ingest.spec import ImportRefused, ImportSpec, RelatedSpec, Report
from appliance.service.import_child import ImportChild, ImportFailed
from tests.daemon import alive, until
from tests.factory import CUSTOMERS, NOW, open_snapshot, run_import

ORDERS = [["email", "total"], ["ann@example.com", "9"], ["ann@example.com", "30"]]
Fail = Callable[[Path], None]


def _work(_file: Path) -> None:
    """Nothing happens."""


@dataclass(frozen=True)
class Remote(RemoteSource):
    """Rows of this process, as if of a server. `fail` runs in the child once half of the rows are in the file."""

    table: str
    rows: tuple[tuple[str, ...], ...]
    server: str = "db"
    seconds: float = 30.0
    fail: Fail = _work
    mark: str = ""

    def describe(self) -> str:
        return f"toy://{self.server} ({self.table})"

    @property
    def section(self) -> str:
        return self.table

    @property
    def timeout(self) -> float:
        return self.seconds

    @property
    def group(self) -> str:
        return self.server

    def fetch(
        self, group: Sequence[RemoteSource], files: Sequence[Path], known: Sequence[Fetched] = ()
    ) -> tuple[Fetched, ...]:
        if self.mark and {each.mark for each in known} == {self.mark}:
            return tuple(known)
        return tuple(table.write(file) for table, file in zip(group, files, strict=True) if isinstance(table, Remote))

    def write(self, file: Path) -> Fetched:
        half = len(self.rows) // 2
        with file.open("w", newline="") as output:
            csv.writer(output).writerows(self.rows[:half])
            output.flush()
            self.fail(file)
            csv.writer(output).writerows(self.rows[half:])
        content = file.read_bytes()
        return Fetched(len(self.rows) - 1, len(content), hashlib.sha256(content).hexdigest(), self.mark)


def remote(table: str = "customers", rows: Sequence[Sequence[str]] = CUSTOMERS, **changes: object) -> Remote:
    return replace(Remote(table, tuple(map(tuple, rows))), **changes)  # type: ignore[arg-type]


def spec_of(customers: Remote, *related: Remote) -> ImportSpec:
    return ImportSpec(
        source=customers,
        related=tuple(RelatedSpec(name=each.section, source=each, key="email", on="email") for each in related),
    )


def imported(spec: ImportSpec, folder: Path, now: float = NOW) -> Report:
    report = run_import(spec, folder, clock=lambda: now)
    assert [file.suffix for file in folder.iterdir() if file.suffix == ".tmp"] == []
    return report


def refused(spec: ImportSpec, folder: Path) -> ImportRefused:
    """Return why the import was refused; the snapshot of before must be what it was, and nothing else be left."""
    imported(spec_of(remote()), folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(ImportRefused) as caught:
        run_import(spec, folder, clock=lambda: NOW)
    assert sorted(path.name for path in folder.iterdir()) == before
    return caught.value


@pytest.mark.parametrize("large", [False, True], ids=["small", "as if large"])
def test_imported_with_its_related_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    monkeypatch.setattr("appliance.ingest.snapshot_builder._LARGE", -1 if large else 1 << 40)
    spec = spec_of(remote(), remote("orders", ORDERS))
    report = imported(spec, tmp_path)
    assert (report.rows, report.related) == (6, {"orders": 2})
    snapshot = open_snapshot(tmp_path, spec)
    assert snapshot is not None
    (ann,) = snapshot.find(("ann@example.com",))
    assert [order["total"] for order in related_of(ann, "orders")] == ["9", "30"]
    assert [*snapshot.metadata.versions] == ["toy://db (customers)", "toy://db (orders)"]


def test_the_same_rows_have_the_same_fingerprint_and_are_of_now(tmp_path: Path) -> None:
    spec, found = spec_of(remote()), []
    for now in (NOW, NOW + 60):
        imported(spec, tmp_path, now)
        snapshot = open_snapshot(tmp_path, spec)
        assert snapshot is not None
        found.append((snapshot.metadata.fingerprint, snapshot.metadata.as_of))
    assert found == [(found[0][0], NOW), (found[0][0], NOW + 60)]


def test_one_child_for_each_server(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    calls.touch()

    def note(_file: Path) -> None:
        with calls.open("a") as output:
            output.write(f"{os.getpid()} ")

    tables = [remote("orders", ORDERS, fail=note), remote("tickets", ORDERS, server="other", fail=note)]
    imported(spec_of(remote(fail=note), *tables), tmp_path / "state")
    first, second, third = calls.read_text().split()  # customers and orders, then tickets
    assert first == second != third
    assert str(os.getpid()) not in (first, third)


def test_a_file_beside_a_remote_source_is_read_where_it_is(tmp_path: Path) -> None:
    spec = spec_of(remote())
    ready = fetch.fetch(spec, tmp_path).spec
    assert isinstance(ready.source, FetchedTable)
    assert fetch.fetch(ready, tmp_path).spec == ready
    assert (spec.is_fetched, ready.is_fetched) == (True, False)
    assert (ready.digest(), str(ready.source), ready.source.name) == (spec.digest(), str(spec.source), spec.source.name)


def test_a_bad_row_is_named_by_its_number_among_the_rows(tmp_path: Path) -> None:
    rows = [["email", "name"], ["ann@example.com", "Ann\nLee"], ["bob@example.com"], *[["a@example.com", "A"]] * 200]
    report = imported(spec_of(remote(rows=rows)), tmp_path)
    assert [str(row) for row in report.bad] == [
        "toy://db (customers):2: 1 cells, but the header has 2 names; add the rest"
    ]


def test_a_missing_column_is_told_with_the_name_of_the_source(tmp_path: Path) -> None:
    why = str(refused(spec_of(remote(rows=[["mail"], ["ann@example.com"]])), tmp_path))
    assert why.startswith('toy://db (customers):1: there is no column "email", only "mail"')


def _kill(_file: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(_file: Path) -> None:
    os._exit(3)


def _wait(_file: Path) -> None:
    time.sleep(60)


def _refuse(_file: Path) -> None:
    raise SourceError("toy://db: the server refuses", transient=False)


def _full(_file: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _fail(_file: Path) -> None:
    raise KeyError("ann@example.com")


def _fill_memory(_file: Path) -> None:
    raise MemoryError


def _endless(file: Path) -> None:
    with file.open("wb") as output:
        while True:
            output.write(b"x" * 1024)


FAILURES = {
    "killed": (_kill, "toy://db (customers): the fetch was killed by signal 9; see", True),
    "exited": (_exit, "toy://db (customers): the fetch exited with code 3; see", True),
    "refused": (_refuse, "toy://db: the server refuses", False),
    "a bug": (_fail, "the fetch failed with an internal error (KeyError); please report it", True),
    "no memory": (_fill_memory, "the fetch exceeded its memory limit", True),
    "disk full": (_full, "{folder} is full; make room there", True),
    "endless": (_endless, "{folder} is full; make room there", True),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failed_fetch_leaves_the_last_snapshot_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    fail, why, transient = FAILURES[failure]
    monkeypatch.setattr(fetch, "_SHARE_OF_DISK", 1 << 20)
    for tables in ([remote(fail=fail)], [remote(), remote("orders", ORDERS, fail=fail)]):
        error = refused(spec_of(*tables), tmp_path)
        assert str(error).startswith(why.format(folder=tmp_path))
        assert error.transient is transient


def test_nothing_is_fetched_without_room_for_twice_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported(spec_of(remote()), tmp_path)
    disk = os.statvfs_result((4096, 4096, 10**6, 10**6, 5000, 0, 0, 0, 0, 255))
    with (tmp_path / "00000001.db").open("r+b") as file:
        file.truncate(10**8)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    with pytest.raises(ImportRefused, match=r"20 MiB free, and a fetch as large as the last one needs 207 MiB") as no:
        run_import(spec_of(remote(fail=_exit)), tmp_path)
    assert no.value.transient


def test_a_fetch_without_end_is_killed(tmp_path: Path) -> None:
    error = refused(spec_of(remote(fail=_wait, seconds=0.2)), tmp_path)
    assert str(error) == "toy://db (customers): did not finish within 0.2 s; check the network"
    assert error.transient


def test_what_was_not_fetched_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="was not fetched"):
        remote().open({}, tmp_path)


def test_the_same_rows_are_not_imported_again_but_are_of_now(tmp_path: Path) -> None:
    spec = spec_of(remote(), remote("orders", ORDERS))
    imported(spec, tmp_path)
    opened = open_snapshot(tmp_path, spec)
    assert opened is not None
    for later in (60, 120):
        with pytest.raises(Unchanged):
            run_import(spec, tmp_path, clock=lambda later=later: NOW + later, only_if_changed=True)
        opened.read_confirmation()
        newest = open_snapshot(tmp_path, spec)
        assert newest is not None
        assert (newest.generation, newest.as_of, opened.as_of) == (1, NOW + later, NOW + later)
        assert [*tmp_path.glob("*.tmp")] == []


def test_rows_that_a_server_says_are_the_same_are_not_fetched(tmp_path: Path) -> None:
    """Not even if they differ: the server is believed, until all is fetched again."""
    spec = spec_of(remote(mark="a"), remote("orders", ORDERS, mark="a"))
    first = imported(spec, tmp_path).fetch
    assert first is not None
    other = spec_of(remote(rows=CUSTOMERS[:-1], mark="a"), remote("orders", ORDERS, mark="a"))
    with pytest.raises(Unchanged) as caught:
        run_import(other, tmp_path, clock=lambda: NOW + 60, only_if_changed=True, known=first.tables)
    assert (caught.value.fetch.tables, caught.value.fetch.whole) == (first.tables, False)
    newest = open_snapshot(tmp_path, spec)
    assert newest is not None
    assert (newest.generation, newest.as_of, newest.metadata.rows) == (1, NOW + 60, 6)


@pytest.mark.parametrize(
    ("server", "marks"),
    [("db", ("b", "b")), ("db", ("", "")), ("other", ("a", "b"))],
    ids=["changed", "no mark any more", "one server of two"],
)
def test_all_is_fetched_if_a_server_says_that_something_has_changed(
    tmp_path: Path, server: str, marks: tuple[str, str]
) -> None:
    """Also from the other server, whose file would be missing otherwise."""
    first = imported(spec_of(remote(mark="a"), remote("orders", ORDERS, mark="a", server=server)), tmp_path).fetch
    assert first is not None
    spec = spec_of(remote(mark=marks[0]), remote("orders", [*ORDERS, ORDERS[1]], mark=marks[1], server=server))
    report = run_import(spec, tmp_path, only_if_changed=True, known=first.tables)
    assert (report.rows, report.related, report.fetch is not None and report.fetch.whole) == (6, {"orders": 3}, True)


def test_what_is_known_does_not_stand_for_a_snapshot_that_is_gone_or_another(tmp_path: Path) -> None:
    spec = spec_of(remote(mark="a"))
    known = imported(spec, tmp_path).fetch
    assert known is not None
    imported(spec_of(remote(rows=CUSTOMERS[:-1], mark="a")), tmp_path)  # by hand, meanwhile
    assert run_import(spec, tmp_path, only_if_changed=True, known=known.tables).rows == 6
    for file in tmp_path.glob("*.db"):
        file.unlink()
    assert run_import(spec, tmp_path, only_if_changed=True, known=known.tables).rows == 6


def test_progress_of_a_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_PROGRESS", 0.01)
    seen: list[int] = []
    go_on = tmp_path / "go on"

    def wait(_file: Path) -> None:
        while not go_on.exists():
            time.sleep(0.01)

    def look(size: int) -> None:
        seen.append(size)
        if size:
            go_on.touch()

    run_import(spec_of(remote(fail=wait)), tmp_path / "state", fetching=look)
    assert seen[-1] > 0


def test_changed_rows_are_imported_and_old_confirmations_removed(tmp_path: Path) -> None:
    for number in range(4):
        spec = spec_of(remote("customers", [*CUSTOMERS, *[("a@example.com", "A", "Pro")] * number]))
        run_import(spec, tmp_path, clock=lambda: NOW, only_if_changed=True)
        with pytest.raises(Unchanged):
            run_import(spec, tmp_path, clock=lambda: NOW + 5, only_if_changed=True)
    names = sorted(path.name for path in tmp_path.iterdir() if path.suffix in (".db", ".as-of"))
    assert names == ["00000003.as-of", "00000003.db", "00000004.as-of", "00000004.db"]


def test_a_confirmation_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    spec = spec_of(remote())
    imported(spec, tmp_path)
    for text in ("", "yesterday", "1"):
        (tmp_path / "00000001.as-of").write_text(text)
        opened = open_snapshot(tmp_path, spec)
        assert opened is not None
        assert opened.as_of == NOW


def test_an_import_killed_while_it_fetches_leaves_no_file_and_no_process(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def wait(_file: Path) -> None:
        pid.write_text(f"{os.getpid()}")
        time.sleep(60)

    child = ImportChild(spec_of(remote(fail=wait)), tmp_path / "state")
    until(lambda: pid.exists() and pid.read_text(), "the fetch")
    assert [*(tmp_path / "state").glob("*.tmp")]
    child.kill()
    result = child.result()
    assert isinstance(result, ImportFailed)
    assert result.sentence.startswith("the import was killed by signal 9")
    assert [*(tmp_path / "state").glob("*.tmp")] == []
    until(lambda: not alive(int(pid.read_text())), "the end of the fetch")
