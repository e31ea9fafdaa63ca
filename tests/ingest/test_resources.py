"""No room on the disk, and none for a larger file."""

import os
import subprocess

import pytest

from appliance.customers.snapshot_store import newest
from appliance.ingest.spec import ImportRefused
from tests.factory import CUSTOMERS, run_import
from tests.ingest.imports import in_child, names, write


def test_no_room(spec, folder, monkeypatch):
    monkeypatch.setattr("appliance.ingest.resources._ROOM", 1 << 62)
    with pytest.raises(ImportRefused, match=r"has [\d,]+ MiB free, and the import needs [\d,]+ MiB; make room there"):
        run_import(spec, folder)


@pytest.mark.parametrize("limit", [1, 4096, 20_000, 60_000])
def test_a_limit_on_file_size(limit, spec, folder):
    """As a full disk, for any user: the old data stays, the sentence says why, and it heals by itself."""
    run_import(spec, folder)
    write(spec, [CUSTOMERS[0], *((f"a{n}@example.com", "Some Name", "Pro") for n in range(2000))])

    def limited():
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            run_import(spec, folder)
        except ImportRefused as refused:
            os._exit(7 if "make room there" in str(refused) and refused.transient else 8)

    assert in_child(limited) == 7
    assert newest(folder, spec.digest()).rows == 6
    assert {file.suffix for file in folder.iterdir()} == {".db", ""}
    assert run_import(spec, folder).rows == 2000


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_full_disk(spec, folder, tmp_path, monkeypatch):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=0700", "tmpfs", folder], check=True)
    monkeypatch.setattr("appliance.ingest.resources._ROOM", 0)
    try:
        run_import(spec, folder)
        filler = folder / "filler"
        filler.write_bytes(b"x" * 300_000)
        write(spec, [CUSTOMERS[0], *((f"a{n}@example.com", "Some Name " * 20, "Pro") for n in range(500))])
        with pytest.raises(ImportRefused, match="make room there") as caught:
            run_import(spec, folder)
        assert caught.value.transient
        assert names(folder, spec, "ann@example.com") == ["Ann Lee"]
        filler.unlink()
        assert run_import(spec, folder).rows == 500
    finally:
        subprocess.run(["umount", folder], check=True)
