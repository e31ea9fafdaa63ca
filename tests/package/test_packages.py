"""What is in dist/: the same bytes from any folder, a bill of what is inside, and packages that an auditor takes."""

from __future__ import annotations

import configparser
import gzip
import hashlib
import io
import json
import os
import re
import stat
import subprocess
import tarfile
from typing import Any

from appliance.cli import COMMANDS
from tests.daemon import ROOT
from tests.package.conftest import DIST


def output(*command: Any, **options: Any) -> str:
    return str(subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout)


def test_two_builds_in_two_folders_give_the_same_bytes(executable, package, tmp_path):
    """The other has tools of its own, with a bootloader that was compiled there; its umask lets only the owner read."""
    other = tmp_path / "a folder of another name"
    output("git", "clone", "--quiet", ROOT, other, umask=0o077)
    changed = output("git", "diff", "--name-only", "HEAD", cwd=ROOT).split()
    for name in changed:  # at a desk; in CI nothing is
        (other / name).write_bytes((ROOT / name).read_bytes())
    output("make", "deb", cwd=other, env={**os.environ, "MAKEFLAGS": ""}, umask=0o077)
    assert (other / "dist/SHA256SUMS").read_text() == (DIST / "SHA256SUMS").read_text()
    output("dpkg-deb", "--extract", package, tmp_path / "deb")
    output("diff", "--recursive", tmp_path / "deb/usr/lib/sidebard", other / "build/out/folder")


def test_everybody_may_read_what_the_packages_install(package, tmp_path):
    """As the service does, which is not root. All of it has the time of the commit, and not that of a checkout."""
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        deb = [(one.name.removeprefix("."), one.isdir(), one.mode, one.mtime) for one in tar if not one.issym()]
    (file,) = DIST.glob("*.rpm")
    query = ("--queryformat", "[%{FILEMODES:octal} %{FILEMTIMES} %{FILENAMES}\n]")
    said = output("rpm", "--query", "--package", file, *query, env={**os.environ, "HOME": str(tmp_path)})
    rows = [(name, int(mode, 8), int(time)) for mode, time, name in map(str.split, said.splitlines())]
    rpm = [(name, stat.S_ISDIR(mode), stat.S_IMODE(mode), time) for name, mode, time in rows if not stat.S_ISLNK(mode)]
    for inside in (deb, rpm):
        runs = {name for name, folder, _, _ in inside if folder or name == "/usr/lib/sidebard/sidebard"}
        odd = [(name, oct(mode)) for name, _, mode, _ in inside if mode != (0o755 if name in runs else 0o644)]
        assert odd == []
        assert len({time for *_, time in inside}) == 1


def test_the_hashes_are_those_of_the_files(executable):
    rows = [line.split("  ") for line in (DIST / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in rows} == {file.name for file in DIST.iterdir()} - {"SHA256SUMS"}
    for digest, name in rows:
        assert hashlib.sha256((DIST / name).read_bytes()).hexdigest() == digest, name


def test_the_bill_names_every_library_and_both_copies_of_openssl(executable):
    bill = json.loads((DIST / "sidebard.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    names = {component["name"].lower().replace("_", "-") for component in bill["components"]}
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    wanted = re.findall(r"^([\w-]+)", config["options"]["install_requires"].strip(), re.MULTILINE)
    assert set(wanted) <= names
    assert {"openssl (of python's ssl)", "openssl (of cryptography)", "cpython"} <= names
    references = [component["bom-ref"] for component in bill["components"]]
    assert sorted(set(references)) == references == bill["dependencies"][0]["dependsOn"]
    assert all(component["version"] and component["purl"].startswith("pkg:") for component in bill["components"])


def test_the_package_has_no_error_for_lintian(package):
    ended = subprocess.run(["lintian", "--allow-root", package], capture_output=True, text=True, check=False)
    assert [line for line in ended.stdout.splitlines() if line.startswith("E:")] == []
    assert ended.returncode == 0, ended.stderr


def test_the_settings_are_the_operators(package):
    found = output("dpkg-deb", "--info", package, "conffiles").split()
    assert sorted(found) == ["/etc/logrotate.d/sidebard", "/etc/sidebard/sidebard.toml"]


def test_the_manual_names_every_command_and_option(package, tmp_path):
    output("dpkg-deb", "--extract", package, tmp_path)
    manual = gzip.decompress((tmp_path / "usr/share/man/man1/sidebard.1.gz").read_bytes()).decode()
    for command in COMMANDS:
        assert f".SS sidebard {command} " in manual
    said = subprocess.run(["man", "--warnings", "-l", "-"], input=manual, capture_output=True, text=True, check=True)
    assert said.stderr == ""


def test_the_rpm_holds_the_same(package, tmp_path):
    (rpm,) = DIST.glob("*.rpm")
    inside = set(
        output("rpm", "--query", "--package", "--list", rpm, env={**os.environ, "HOME": str(tmp_path)}).split()
    )
    output("dpkg-deb", "--extract", package, tmp_path / "deb")
    files = {f"/{file.relative_to(tmp_path / 'deb')}" for file in (tmp_path / "deb").rglob("*") if file.is_file()}
    assert files - {"/usr/share/lintian/overrides/sidebard"} <= inside
    config = output("rpm", "--query", "--package", "--configfiles", rpm).split()
    assert sorted(config) == ["/etc/logrotate.d/sidebard", "/etc/sidebard/sidebard.toml"]


def test_the_documents_are_in_the_package_and_in_the_archive(package, tmp_path):
    output("dpkg-deb", "--extract", package, tmp_path)
    (archive,) = DIST.glob("*.tar.gz")
    output(
        "tar", "--extract", f"--file={archive}", f"--directory={tmp_path}", "--strip-components=1", "--one-top-level"
    )
    documents = {file.name for file in (ROOT / "docs").glob("*.md")}
    unpacked = tmp_path / archive.name.removesuffix(".tar.gz")
    for folder in (tmp_path / "usr/share/doc/sidebard", unpacked):
        assert {file.name for file in (folder / "docs").glob("*.md")} == documents, folder
        assert (folder / "docs/pictures/status.png").stat().st_mode & 0o777 == 0o644
        installed = (tmp_path / "etc/sidebard/sidebard.toml").read_bytes()
        assert (folder / "etc-sidebard.toml").read_bytes() == installed


def test_there_is_one_service():
    assert [file.name for file in (ROOT / "packaging").rglob("*.service")] == ["sidebard.service"]
