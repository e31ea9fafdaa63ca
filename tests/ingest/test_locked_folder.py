"""The folder of snapshots: locked, and its owner's alone."""

import os

import pytest

from appliance.ingest.spec import ImportRefused
from tests.factory import run_import


def test_one_import_at_a_time(spec, folder):
    with pytest.raises(ImportRefused, match="another import is running") as caught:
        run_import(spec, folder, progress=lambda rows, share: run_import(spec, folder))
    assert caught.value.transient


def test_the_folder_cannot_be_made(spec, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ImportRefused, match=r"cannot be written: File exists; correct server\.state"):
        run_import(spec, tmp_path / "file" / "state")


def test_nobody_else_can_read_it(spec, folder):
    run_import(spec, folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_imports_belongs_to_the_folders_owner(spec, folder):
    folder.mkdir()
    os.chown(folder, 12345, 12346)
    run_import(spec, folder)
    assert {(file.stat().st_uid, file.stat().st_gid) for file in folder.iterdir()} == {(12345, 12346)}
