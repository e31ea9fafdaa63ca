"""What the exporter says of its files: a file written last, checksums."""

import os
import subprocess

import pytest

from appliance.ingest.spec import ImportRefused
from tests.factory import import_spec, run_import


def test_ready_file(spec, folder, tmp_path):
    ready = tmp_path / "customers.ok"
    spec = import_spec(source=spec.source.path, ready_file=ready)
    with pytest.raises(ImportRefused, match="is not there yet"):
        run_import(spec, folder)
    ready.touch()
    os.utime(ready, (1, 1))
    with pytest.raises(ImportRefused, match=r"customers\.csv is newer than .*customers\.ok"):
        run_import(spec, folder)
    os.utime(spec.source.path, (1, 1))
    assert run_import(spec, folder).rows == 6


@pytest.mark.parametrize("binary", [" ", "*"])
def test_checksum_file(binary, spec, folder, tmp_path):
    sums = tmp_path / "SHA256SUMS"
    spec = import_spec(source=spec.source.path, checksum_file=sums)
    digest = subprocess.run(["sha256sum", spec.source.path], capture_output=True, check=True).stdout[:64].decode()
    sums.write_text(f"{'0' * 64}  other.csv\n{digest.upper()} {binary}customers.csv\n")
    assert run_import(spec, folder).rows == 6
    content = spec.source.path.read_bytes()
    spec.source.path.write_bytes(content.replace(b"Ann Lee", b"Ann Lea"))
    with pytest.raises(ImportRefused, match="does not have the checksum"):
        run_import(spec, folder)
    sums.write_text("nonsense\n")
    with pytest.raises(ImportRefused, match=r"has no line for customers\.csv"):
        run_import(spec, folder)


@pytest.mark.parametrize("proof", ["ready_file", "checksum_file"])
def test_a_proven_file_needs_no_last_line_end(proof, spec, folder, tmp_path):
    content = spec.source.path.read_bytes().removesuffix(b"\r\n")
    spec.source.path.write_bytes(content)
    with pytest.raises(ImportRefused, match="may be cut short"):
        run_import(spec, folder)
    mark = tmp_path / "mark"
    sums = subprocess.run(["sha256sum", spec.source.path], capture_output=True, check=True).stdout
    mark.write_bytes(sums)
    assert run_import(import_spec(source=spec.source.path, **{proof: mark}), folder).rows == 6
