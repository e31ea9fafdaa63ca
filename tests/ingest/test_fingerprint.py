"""Whether sources have changed, and since when they have not."""

import pytest

from appliance.customers.snapshot_store import newest
from appliance.ingest.spec import ImportRefused
from tests.factory import CUSTOMERS, NOW, import_spec, related_spec, run_import, write_csv
from tests.ingest.imports import write


def test_a_file_that_changes_while_it_is_read(spec, folder):
    def append(rows, share):
        with open(spec.source.path, "a") as text:
            text.write("late@example.com,Late,\n")

    with pytest.raises(ImportRefused, match="changed while it was read") as caught:
        run_import(spec, folder, progress=append)
    assert caught.value.transient
    assert newest(folder, spec.digest()) is None


def test_no_data_is_from_the_future(spec, folder):
    """A clock that was set back: unchanged files were read now at the latest."""
    run_import(spec, folder)
    run_import(spec, folder, clock=lambda: NOW - 5000)
    assert newest(folder, spec.digest()).as_of == NOW - 5000


def test_unchanged_data_does_not_grow_younger(spec, folder):
    run_import(spec, folder)
    run_import(spec, folder, clock=lambda: NOW + 1000)
    assert newest(folder, spec.digest()).as_of == NOW
    write(spec, [*CUSTOMERS, ("new@example.com", "New", "")])
    run_import(spec, folder, clock=lambda: NOW + 2000)
    assert newest(folder, spec.digest()).as_of == NOW + 2000


def test_the_oldest_file_decides_the_age(tmp_path, folder):
    """Neither a new file of orders nor another setting makes old customers young."""
    source = write_csv(tmp_path / "c.csv", [("id", "email"), ("1", "a@example.com")])
    related = related_spec(
        name="orders", source=write_csv(tmp_path / "o.csv", [("id",), ("1",)]), table="", key="id", on="id"
    )
    spec = import_spec(source=source, related=(related,))
    run_import(spec, folder)
    write_csv(tmp_path / "o.csv", [("id",), ("1",), ("1",)])
    run_import(spec, folder, clock=lambda: NOW + 1000)
    assert newest(folder, spec.digest()).as_of == NOW
    other = import_spec(source=source, related=(related,), plus_addressing=True)
    run_import(other, folder, clock=lambda: NOW + 2000)
    assert newest(folder, other.digest()).as_of == NOW
