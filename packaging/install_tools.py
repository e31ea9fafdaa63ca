"""Make the environment that the executable is built in: pinned packages, and PyInstaller built here.

PyInstaller's bootloader is compiled from its pinned source with bootloader.patch, so that it is position-independent
and says in one sentence why it cannot unpack itself. Usage: install_tools.py FOLDER
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
# A command, or a file for the compiler -> the Debian packages that have it.
NEEDED = {
    "gcc": "gcc libc6-dev",
    "patch": "patch",
    "objdump": "binutils",
    "/usr/include/zlib.h": "zlib1g-dev",
}


def main(folder: Path) -> None:
    """Make the environment in `folder`; one that is there is made anew."""
    missing = [package for need, package in NEEDED.items() if not (shutil.which(need) or Path(need).is_file())]
    if missing:
        sys.exit(f"install_tools.py: the build needs more: apt-get install {' '.join(missing)}")
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "--require-hashes", "--requirement", REQUIREMENTS)
    with tempfile.TemporaryDirectory() as place:
        source = patched_source(pip, Path(place))
        environ = {
            **os.environ,
            "PYINSTALLER_COMPILE_BOOTLOADER": "1",
            "CFLAGS": f"-ffile-prefix-map={source}=pyinstaller",
        }
        run(*pip, "install", "--no-deps", "--no-build-isolation", "--force-reinstall", source, environ=environ)


def patched_source(pip: list[str], place: Path) -> Path:
    """Fetch PyInstaller's source archive by its pinned hash, unpack it and apply the patch."""
    pinned = re.search(r"^pyinstaller==(?:.*\\\n)*.*\n", REQUIREMENTS.read_text(), re.MULTILINE)
    assert pinned is not None, REQUIREMENTS
    (place / "pinned.txt").write_text(pinned[0])
    run(
        *(*pip, "download", "--require-hashes", "--no-deps", "--no-build-isolation", "--no-binary=pyinstaller"),
        *("--dest", place, "--requirement", place / "pinned.txt"),
        environ={**os.environ, "PYINSTALLER_COMPILE_BOOTLOADER": "1"},
    )
    (archive,) = place.glob("pyinstaller-*.tar.gz")
    shutil.unpack_archive(archive, place)  # its hash was right
    source = place / archive.name.removesuffix(".tar.gz")
    run("patch", "--strip=1", "--quiet", f"--directory={source}", f"--input={HERE / 'bootloader.patch'}")
    return source


def run(*command: str | Path, environ: dict[str, str] | None = None) -> None:
    """Run a command; what it says of a failure is shown, and ends this."""
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{ended.stdout}{ended.stderr}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
