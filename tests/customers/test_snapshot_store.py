"""The folder of snapshots: which one is used."""

import pytest

from appliance.customers.snapshot import Snapshot, SnapshotError, file_of, generations
from appliance.customers.snapshot_store import newest
from appliance.ingest.spec import ImportRefused
from tests.factory import import_spec, open_snapshot, run_import, write_csv


def test_a_folder_that_is_none_holds_nothing(spec, tmp_path):
    """Nor does one that cannot be read: who asks for the newest snapshot is told that there is none."""
    (tmp_path / "state").touch()
    for folder in (tmp_path / "state", tmp_path / "state" / "customers"):
        assert (generations(folder), newest(folder, spec.digest())) == ([], None)
        with pytest.raises(
            ImportRefused, match=r"cannot be written: (Not a directory|File exists); correct server\.state"
        ):
            run_import(spec, folder)


def test_the_next_after_99999999_is_used(spec, folder):
    run_import(spec, folder)
    file_of(folder, 1).rename(file_of(folder, 99_999_999))
    run_import(spec, folder)
    assert generations(folder) == [100_000_000, 99_999_999]
    assert open_and_close(folder, spec) == 100_000_000


def open_and_close(folder, spec):
    snapshot = open_snapshot(folder, spec)
    snapshot.close()
    return snapshot.generation


def test_a_snapshot_of_other_settings_is_not_used(spec, folder, tmp_path):
    run_import(spec, folder)
    for other in (
        import_spec(source=write_csv(tmp_path / "other.csv")),
        import_spec(source=spec.source.path, addresses=("name",)),
        import_spec(source=spec.source.path, plus_addressing=True),
        import_spec(source=spec.source.path, gmail_dots=True),
    ):
        assert open_snapshot(folder, other) is None
    assert newest(folder, import_spec(source=spec.source.path, max_shrink=0.5).digest()) is not None


def test_a_damaged_snapshot_is_passed_over(spec, folder):
    run_import(spec, folder)
    run_import(spec, folder)
    file = file_of(folder, 2)
    for damage in (b"", file.read_bytes()[:-4096], b"x" * 8192, b"SQLite format 3\0" + bytes(4080)):
        file.write_bytes(damage)
        with pytest.raises(SnapshotError):
            Snapshot(file, 2)
        assert open_snapshot(folder, spec).generation == 1
    assert run_import(spec, folder).generation == 3


def test_a_snapshot_of_another_version_is_imported_anew(spec, folder, monkeypatch):
    monkeypatch.setattr("appliance.ingest.snapshot_builder.FORMAT", 999)
    with pytest.raises(ImportRefused, match="format of another version"):  # it reads back what it wrote
        run_import(spec, folder)
