"""A snapshot, by its name and its path."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from appliance.customers.snapshot import Relation, SnapshotError, file_of, generation_of, related_keys
from tests.factory import import_spec, open_snapshot, related_spec, run_import, write_csv


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("00000001.db", 1),
        ("99999999.db", 99_999_999),
        ("100000000.db", 100_000_000),
        ("999999999999999999.db", 10**18 - 1),
        ("000000001.db", None),
        ("0000001.db", None),
        ("1000000000000000000.db", None),
        ("٠٠٠٠٠٠٠١.db", None),
        ("00000001.db.tmp", None),
    ],
)
def test_a_snapshot_has_its_number_for_a_name_and_no_other(name, generation):
    assert generation_of(Path(name)) == generation
    if generation is not None:
        assert file_of(Path(), generation).name == name


@pytest.mark.parametrize("done", ["nothing", "removed", "made anew", "folder removed"])
def test_a_snapshot_knows_whether_its_path_is_still_its_own(done, spec, folder, tmp_path):
    run_import(spec, folder)
    snapshot = open_snapshot(folder, spec)
    if done == "folder removed":
        folder.rename(tmp_path / "removed")
    elif done != "nothing":
        file_of(folder, 1).unlink()
    if done == "made anew":
        run_import(spec, folder)
    assert snapshot.in_place() is (done == "nothing")
    assert snapshot.find(("ann@example.com",))
    snapshot.close()


@pytest.mark.parametrize("record", ['["ann@example.com"]', '["1","2","3","4"]', '{"name":"Ann"}', "[", "[7,7,7]"])
def test_a_record_that_is_not_what_the_header_says_is_damage(record, spec, folder):
    run_import(spec, folder)
    with closing(sqlite3.connect(file_of(folder, 1))) as database, database:
        database.execute("UPDATE customer SET record = ?", (record,))
    snapshot = open_snapshot(folder, spec)
    with pytest.raises(SnapshotError, match="generation 1 is damaged"):
        snapshot.find(("ann@example.com",))
    snapshot.close()


def test_a_record_without_the_value_that_joins_related_rows_is_damage(folder, tmp_path):
    source = write_csv(tmp_path / "orders.csv", [["customer"], ["Ann Lee"]])
    orders = related_spec(name="orders", source=source, table="", key="customer", on="name")
    spec = import_spec(source=write_csv(tmp_path / "customers.csv"), related=(orders,))
    test_a_record_that_is_not_what_the_header_says_is_damage('["ann@example.com"]', spec, folder)


@pytest.mark.parametrize("text", ["(16 bytes)", " (1,048,577 bytes) ", "", " "])
def test_what_has_no_value_of_its_own_matches_no_related_row(text: str) -> None:
    """Binary keys of different customers are shown alike."""
    relation = Relation(name="orders", columns=(), on="id", by_address=False, key="user_id")
    assert related_keys(text, relation) == []
    assert related_keys("16 bytes", relation) == ["16 bytes"]
