"""What a packaged executable leaves behind; tests/package has the executable itself."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.system.frozen import (
    EVERY,
    UnpackedWatch,
    as_child_of_bootloader,
    emptied_folder,
    emptied_in,
    is_packaged,
    let_others_read,
    remove_stale,
)
from tests.conftest import Logged
from tests.daemon import ROOT
from tests.factory import Timer

NOBODY = "ffffffff"  # above every pid


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        (f"_MEI{NOBODY}abCD12", False),
        (f"_MEI{os.getpid():08x}abCD12", True),
        (f"_MEI{NOBODY}abCD123", True),
        (f"x_MEI{NOBODY}abCD12", True),
        ("customers", True),
    ],
    ids=["of nobody", "of one that runs", "longer", "another beginning", "another name"],
)
def test_removes_what_nobody_needs(name: str, stays: bool, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "library.so").touch()
    remove_stale(tmp_path)
    assert folder.exists() is stays


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    remove_stale(tmp_path / "none")


def test_from_source_nothing_is_removed(tmp_path: Path) -> None:
    left = tmp_path / f"_MEI{NOBODY}abCD12"
    left.mkdir()
    with as_child_of_bootloader({"CACHE_DIRECTORY": str(tmp_path)}):
        pass
    assert left.exists()


def test_others_may_load_what_was_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"_MEI{NOBODY}abCD12"
    file = folder / "lib" / "module.so"
    file.parent.mkdir(mode=0o700, parents=True)
    file.touch(mode=0o600)
    monkeypatch.setattr(sys, "_MEIPASS", str(folder), raising=False)
    let_others_read()
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, file.parent, file)} == {0o755}


def test_the_folder_of_a_package_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    """Nobody unpacked it, and nobody but the package's manager changes it: an upgrade there is no fault."""
    folder = tmp_path / "_internal"
    folder.mkdir(mode=0o750)
    file = folder / "module.so"
    file.touch(mode=0o640)
    monkeypatch.setattr(sys, "_MEIPASS", str(folder), raising=False)
    assert is_packaged()
    let_others_read()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, file)] == [0o750, 0o640]
    timer = Timer()
    watch = UnpackedWatch(timer)
    file.unlink()
    timer.now += EVERY
    watch.look()  # nothing is said


UNPACK_AND_EMPTY = """
import importlib, importlib.machinery, importlib.util, shutil, sys, zipfile
from pathlib import Path

# As PyInstaller does it: modules compiled, in a zip file; extension modules beside it.
folder = Path(sys.argv[1])
library = folder / "base_library.zip"
with zipfile.ZipFile(library, "w") as file:
    for name, text in (
        ("letters/__init__.pyc", ""), ("letters/a.pyc", "name = 'a'"), ("letters/b/__init__.pyc", "name = 'b'"),
        ("letters/b/c.pyc", "name = 'c'"), ("alone.pyc", "name = 'alone'"),
    ):
        code = compile(text, name, "exec")
        file.writestr(name, importlib._bootstrap_external._code_to_timestamp_pyc(code))
extension = Path(importlib.util.find_spec(sys.argv[2]).origin)
(folder / "lib-dynload").mkdir()
shutil.copy(extension, folder / "lib-dynload")
(folder / "lib-dynload" / "broken.abi3.so").write_bytes(b"no library")
sys.path[:0] = [str(library), str(folder / "lib-dynload"), str(folder)]
sys._MEIPASS = str(folder)
import letters.a

from appliance.system.frozen import keep_files

assert sys.argv[2] not in sys.modules
if sys.argv[3] != "not kept":
    keep_files()
if sys.argv[3] == "replaced":
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        file.with_name("new").write_bytes(b"another version")
        file.with_name("new").rename(file)
else:
    shutil.rmtree(folder)
importlib.invalidate_caches()
for name in ("letters.b", "letters.b.c", "alone"):
    print(importlib.import_module(name).name)
assert importlib.import_module(sys.argv[2]).__file__.startswith(str(folder))
assert letters.a.name == "a"
assert importlib.util.find_spec("letters.d") is None
"""


@pytest.mark.parametrize("fate", ["removed", "replaced", "not kept"])
def test_what_is_imported_after_its_file_is_gone(fate: str, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", UNPACK_AND_EMPTY, str(folder), "_xxtestfuzz", fate],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    if fate == "not kept":
        assert "No module named 'letters.b'" in ended.stderr
    else:
        assert (ended.returncode, ended.stdout.split(), ended.stderr) == (0, ["b", "c", "alone"], "")


def test_the_files_of_the_program_are_read_at_import() -> None:
    """None is read when it is needed first: its folder may be empty by then."""
    sources = {file: ast.parse(file.read_text()) for file in sorted((ROOT / "appliance").rglob("*.py"))}
    places = {
        (".".join(file.relative_to(ROOT).with_suffix("").parts), node.target.id)
        for file, tree in sources.items()
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        if "__file__" in (text := ast.unparse(node)) and ".read_" not in text
    } - {("appliance.bootstrap.installation", "_CARDS")}  # of a checkout only, and of a command that soon ends
    assert {name for _module, name in places} == {"STYLE", "FOLDER", "_FOLDER"}
    late = []
    for file, tree in sources.items():
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        imported = {
            alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if (node.module, alias.name) in places
        }
        known = imported | {name for there, name in places if there == module} | {"__file__"}
        for function in ast.walk(tree):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                names = [name for name in ast.walk(function) if isinstance(name, ast.Name)]
                late += [f"{file}:{name.lineno}" for name in names if name.id in known]
    assert late == []


def test_files_that_are_gone_are_said_once(tmp_path: Path, logged: Logged) -> None:
    for name in ("base_library.zip", "lib-dynload/_ssl.so", "appliance/page.css"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    timer = Timer(100.0)
    watch = UnpackedWatch(timer, tmp_path)
    timer.now += EVERY
    watch.look()  # nothing is said
    (tmp_path / "lib-dynload/_ssl.so").unlink()
    watch.look()  # it is not time to
    timer.now += EVERY
    watch.look()
    said = logged.take("unpacked_files_gone")
    assert said["level"] == "warning"
    assert said["folder"] == str(tmp_path)
    assert said["message"] == "1 of 3 files were removed; the service goes on without them"
    assert "tmpfiles.d: x /tmp/_MEI*" in str(said["todo"])
    (tmp_path / "base_library.zip").unlink()
    timer.now += EVERY
    watch.look()


def test_what_may_not_be_looked_for_is_not_called_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user that root has become may not enter the folder above."""
    (tmp_path / "base_library.zip").touch()
    timer = Timer()
    watch = UnpackedWatch(timer, tmp_path)

    def refuse(_self: Path) -> os.stat_result:
        raise PermissionError

    monkeypatch.setattr(Path, "stat", refuse)
    timer.now += EVERY
    watch.look()  # nothing is said


def test_from_source_nothing_is_looked_at() -> None:
    timer = Timer()
    watch = UnpackedWatch(timer)
    timer.now += EVERY
    watch.look()


MAPS = """\
55e7-55e8 r-xp 00000000 08:01 12  /opt/sidebard{exe}
7f00-7f01 r-xp 00000000 08:01 13  {path}{gone}
7f02-7f03 rw-p 00000000 00:00 0   [heap]
"""


@pytest.mark.parametrize(
    ("path", "exe", "gone", "folder"),
    [
        ("/tmp/_MEI00000a1bxYz123/libssl.so.3", "", " (deleted)", "/tmp/_MEI00000a1bxYz123"),
        (
            "/var/cache/side bard/_MEI00000a1bxYz123/lib/_ssl.so",
            "",
            " (deleted)",
            "/var/cache/side bard/_MEI00000a1bxYz123",
        ),
        ("/tmp/_MEI00000a1bxYz123/libssl.so.3", "", "", ""),
        ("/tmp/_MEI00000a1bxYz123/libssl.so.3", " (deleted)", "", ""),
        ("/usr/lib/libssl.so.3", "", " (deleted)", ""),
        ("/tmp/_MEI12/libssl.so.3", "", " (deleted)", ""),
    ],
    ids=["gone", "a space in its path", "there", "an upgraded executable", "another library", "another name"],
)
def test_a_process_whose_folder_is_emptied(path: str, exe: str, gone: str, folder: str) -> None:
    assert emptied_in(MAPS.format(path=path, exe=exe, gone=gone)) == folder


def test_a_process_of_others_or_none() -> None:
    assert emptied_folder(os.getpid()) == ""
    assert emptied_folder(2**30) == ""
