"""Make the environment that the executable is built in: pinned packages, and PyInstaller built here.

PyInstaller's bootloader is compiled from its pinned source with bootloader.patch, so that it is position-independent
and says in one sentence why it cannot unpack itself, which it does with Zstandard. Usage: install_tools.py FOLDER
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
# What the build needs -> the Debian package that has it; what begins with "/" is a file, anything else a command.
NEEDED = {
    "git": "git",
    "gcc": "gcc",
    "/usr/include/stdlib.h": "libc6-dev",
    "patch": "patch",
    "objdump": "binutils",
    "/usr/include/zlib.h": "zlib1g-dev",
    "/usr/include/zstd.h": "libzstd-dev",
}


def main(folder: Path) -> None:
    """Make the environment in `folder`; one that is there is made anew."""
    require_optimised_python()
    if lacking := missing():
        sys.exit(f"install_tools.py: the build needs more, as root: apt-get install {' '.join(lacking)}")
    venv.create(folder, clear=True, with_pip=True, symlinks=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "install", "--require-hashes", "--requirement", REQUIREMENTS)
    with tempfile.TemporaryDirectory() as place:
        source = patched_source(pip, Path(place))
        environ = {
            **os.environ,
            "PYINSTALLER_COMPILE_BOOTLOADER": "1",
            "CFLAGS": f"-ffile-prefix-map={source}=pyinstaller",
            "LDFLAGS": "-l:libzstd.a",
        }
        run(*pip, "install", "--no-deps", "--no-build-isolation", "--force-reinstall", source, environ=environ)


def missing() -> list[str]:
    """Return the Debian packages that the build lacks, all of them."""
    version = "{}.{}".format(*sys.version_info)
    needed = {
        **NEEDED,
        # Debian has the shared library, which PyInstaller packs, and ensurepip in packages of their own.
        f"{sysconfig.get_config_var('LIBDIR')}/{sysconfig.get_config_var('INSTSONAME')}": f"libpython{version}",
        f"{sysconfig.get_path('stdlib')}/ensurepip/__init__.py": "python3-venv",
    }
    return [package for need, package in needed.items() if not (shutil.which(need) or Path(need).is_file())]


def require_optimised_python() -> None:
    """End this, in one sentence, if the running Python would make a slow executable."""
    if not is_optimised(str(sysconfig.get_config_var("CONFIG_ARGS")), sys.base_prefix):
        name = Path(sys.argv[0]).name
        why = "was compiled without --enable-optimizations --with-lto and would make a slow executable"
        sys.exit(f"{name}: {sys.executable} {why}: use Debian's own, make binary BUILD_PYTHON=/usr/bin/python3")


def is_optimised(arguments: str, prefix: str) -> bool:
    """Whether a Python was compiled with PGO and LTO, from its ./configure arguments and its prefix.

    Debian's is, but does so in its own rules, which leave no trace in the arguments.
    """
    return prefix == "/usr" or ("--enable-optimizations" in arguments and "--with-lto" in arguments)


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
