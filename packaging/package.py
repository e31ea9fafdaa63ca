"""Make the .deb and the .rpm of the folder that build.py has made.

Run by `make deb`, in the environment of install_tools.py.
"""

from __future__ import annotations

import gzip
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import manual
from appliance import __version__
from build import DIST, FOLDER, ROOT, WORK, commit_time, normalise, write_hashes

PLACE = WORK / "package"
SOURCES = ("conf", "packaging/etc", "packaging/systemd")  # of which the packages hold files as they are
MAINTAINER = "sidebard maintainers <maintainers@sidebard.example>"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # Debian's names; nfpm knows RPM's
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: sidebard
Comment: The executable also holds the packages listed in sidebard.cdx.json, each under the licence named there.

Files: *
Copyright: {owner}
License: Expat
"""


def main() -> None:
    """Write what the packages need besides, make both, and list their hashes with the others."""
    if not (DIST / "sidebard").is_file() or not FOLDER.is_dir():
        sys.exit(f"package.py: there is no dist/sidebard or no {FOLDER}: run make binary first")
    epoch = commit_time()
    shutil.rmtree(PLACE, ignore_errors=True)
    for folder in SOURCES:
        shutil.copytree(ROOT / folder, PLACE / folder)
    shutil.copy(DIST / "sidebard.cdx.json", PLACE)
    compress(PLACE / "sidebard.1.gz", manual.page(epoch))
    compress(PLACE / "changelog.gz", changelog(epoch))
    (PLACE / "copyright").write_text(copyright_file())
    environ = {
        **os.environ,
        "ARCH": ARCHITECTURES[platform.machine()],
        "VERSION": __version__,
        "LIBC": needed_libc(),
        "MTIME": datetime.fromtimestamp(epoch, UTC).isoformat().replace("+00:00", "Z"),
        "SOURCE_DATE_EPOCH": str(epoch),
    }
    config = PLACE / "nfpm.yaml"
    config.write_text(
        re.sub(r"\$\{(\w+)\}", lambda found: environ[found[1]], (ROOT / "packaging/nfpm.yaml").read_text())
    )
    normalise(PLACE, epoch)
    for old in (*DIST.glob("*.deb"), *DIST.glob("*.rpm")):
        old.unlink()
    nfpm = Path(sys.executable).with_name("nfpm")
    for packager in ("deb", "rpm"):
        command = [nfpm, "package", f"--config={config}", f"--packager={packager}", f"--target={DIST}"]
        subprocess.run(command, check=True, cwd=ROOT, env=environ, umask=0o022, stdout=subprocess.DEVNULL)
    for made in (*DIST.glob("*.deb"), *DIST.glob("*.rpm")):
        print(f"{made.name}: {made.stat().st_size / 1e6:.1f} MB")
    print(write_hashes(file for file in sorted(DIST.iterdir()) if file.name != "SHA256SUMS"), end="")


def compress(file: Path, text: str) -> None:
    """Write a text gzipped, without a time or name in it."""
    file.write_bytes(gzip.compress(text.encode(), mtime=0))


def changelog(epoch: int) -> str:
    """Return CHANGELOG.md's newest version as Debian writes a changelog."""
    newest = (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1]
    items = [" ".join(item.split()) for item in re.findall(r"^- (.*(?:\n  .*)*)", newest, re.MULTILINE)]
    date = format_datetime(datetime.fromtimestamp(epoch, UTC))
    wrapped = "".join(textwrap.fill(item, 78, initial_indent="  * ", subsequent_indent="    ") + "\n" for item in items)
    return f"sidebard ({__version__}) stable; urgency=medium\n\n{wrapped}\n -- {MAINTAINER}  {date}\n"


def copyright_file() -> str:
    """Return LICENSE in Debian's machine-readable form."""
    title, owner, *rest = (part.strip() for part in (ROOT / "LICENSE").read_text().split("\n\n"))
    assert title == "MIT License", title
    body = "\n .\n".join("\n".join(f" {line}" for line in part.splitlines()) for part in rest)
    return COPYRIGHT.format(owner=owner.removeprefix("Copyright (c) ")) + body + "\n"


def needed_libc() -> str:
    """Return the newest glibc that anything in the executable asks for, by its versioned symbols."""
    files: list[str] = json.loads((WORK / "sidebard" / "contents.json").read_text())
    found: list[tuple[int, int]] = []
    for file in (str(DIST / "sidebard"), *(one for one in files if ".so" in one)):
        said = subprocess.run(["objdump", "-T", file], capture_output=True, text=True, check=False).stdout
        found += [(int(major), int(minor)) for major, minor in re.findall(r"GLIBC_(\d+)\.(\d+)", said)]
    return ".".join(map(str, max(found)))


if __name__ == "__main__":
    main()
