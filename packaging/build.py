"""Build the executable, test it, and only then put it into dist/ with its archive, bill of materials and hashes.

The same modules are also built as a folder, which package.py puts into the .deb and the .rpm.

Run by `make binary`, in the environment that install_tools.py made. Two builds of one commit on one machine give the
same bytes, in whatever folders.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import bill_of_materials
import documents
import self_test
from install_tools import require_optimised_python

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "packaging" / "sidebard.spec"
WORK = ROOT / "build"
DIST = ROOT / "dist"
FOLDER = WORK / "out" / "folder"
MOST_BYTES = 20_000_000

# What the archive holds beside the executable -> where it is.
BESIDE = {
    "INSTALL": "packaging/INSTALL",
    "LICENSE": "LICENSE",
    "cards": "conf/cards",
    "docs": "build/docs",
    "etc-sidebard.toml": "packaging/etc/sidebard.toml",
    "monitoring": "conf/monitoring",
    "sidebard.toml": "conf/sidebard.toml",
    "sidebard.logrotate": "packaging/etc/sidebard.logrotate",
    "sidebard.service": "packaging/systemd/sidebard.service",
    "sidebard.socket": "packaging/systemd/sidebard.socket",
    "sidebard-http.socket": "packaging/systemd/sidebard-http.socket",
    "sidebard.sysusers": "packaging/systemd/sidebard.sysusers",
    "sidebard.tmpfiles": "packaging/systemd/sidebard.tmpfiles",
}


def main() -> None:
    """Build, test, publish; a fault ends it and leaves dist/ as it was."""
    require_optimised_python()
    epoch = commit_time()
    program = freeze(epoch)
    said = self_test.run(program)
    self_test.run(FOLDER / "sidebard")
    size = program.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"build.py: {program} has {size:,} bytes, over {MOST_BYTES:,}: look for what has come in")
    version = said.split()[1]
    bill = bill_of_materials.make(json.loads((WORK / "sidebard" / "contents.json").read_text()), said, epoch)
    documents.write(WORK / "docs")
    normalise(WORK / "docs", epoch)
    DIST.mkdir(exist_ok=True)
    publish(program, DIST / "sidebard")
    (DIST / "sidebard.cdx.json").write_text(json.dumps(bill, indent=2) + "\n")
    archive = DIST / f"sidebard-{version}-linux-{platform.machine()}.tar.gz"
    pack(archive, epoch)
    made = [DIST / "sidebard", DIST / "sidebard.cdx.json", archive]
    print(f"{said}\n{size / 1e6:.1f} MB; self-test passed\n{write_hashes(made)}", end="")


def commit_time() -> int:
    """Give the time of the commit that is built, in seconds since 1970: the only time that gets into the files."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    git = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return int(subprocess.run(git, check=True, capture_output=True, text=True).stdout)


def freeze(epoch: int) -> Path:
    """Have PyInstaller make the one file and FOLDER; return where the file is."""
    shutil.rmtree(WORK, ignore_errors=True)
    arguments = ["--log-level=WARN", f"--distpath={WORK / 'out'}", f"--workpath={WORK}", str(SPEC)]
    environ = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-m", "PyInstaller", *arguments], check=True, env=environ)
    normalise(FOLDER, epoch)
    (FOLDER / "sidebard").chmod(0o755)  # a library is nothing to run
    return WORK / "out" / "sidebard"


def normalise(folder: Path, epoch: int) -> None:
    """Set the modes and times in a folder, which the packages keep: everybody may read it, whatever the umask here."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (epoch, epoch))


def publish(program: Path, place: Path) -> None:
    """Copy beside and rename: a running file cannot be written over."""
    beside = place.with_suffix(".new")
    shutil.copy(program, beside)
    beside.chmod(0o755)
    beside.replace(place)


def pack(archive: Path, epoch: int) -> None:
    """Write the archive: the executable and what an installation by hand needs."""
    top = archive.name.removesuffix(".tar.gz")

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "root", "root"
        member.mode = 0o755 if member.isdir() or member.name == f"{top}/sidebard" else 0o644
        return member

    with (
        archive.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        tar.add(DIST / "sidebard", f"{top}/sidebard", filter=plain)
        for name, source in BESIDE.items():
            tar.add(ROOT / source, f"{top}/{name}", filter=plain)


def write_hashes(files: Iterable[Path]) -> str:
    """Write SHA256SUMS of what is to be published, and give it."""
    text = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (DIST / "SHA256SUMS").write_text(text)
    return text


if __name__ == "__main__":
    main()
