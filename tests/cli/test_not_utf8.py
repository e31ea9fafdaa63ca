"""Names of files and folders that are not UTF-8: one sentence, or no difference, but never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from appliance.cli import cli
from appliance.errors import SidebardError
from tests.daemon import ROOT

ODD = os.fsdecode(b"\xff")
GOOD = b"id,email\n7,ann@example.com\n8,bob@example.com\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make customers by a good name and by an odd one, in a good folder and in an odd one."""
    (tmp_path / ODD).mkdir()
    for folder in (tmp_path, tmp_path / ODD):
        (folder / "customers.csv").write_bytes(GOOD)
        (folder / f"{ODD}.csv").write_bytes(GOOD)
        (folder / "secret").write_bytes(b"k" * 32)
        (folder / "secret").chmod(0o600)
    return tmp_path


class Ended(NamedTuple):
    code: int
    stdout: str
    stderr: str


@pytest.fixture
def invoke(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Return a function that runs a command in this process and ends it as `main` does."""
    for name in ("XDG_STATE_HOME", "INVOCATION_ID"):
        monkeypatch.delenv(name, raising=False)

    def run_here(*words: str, folder: str = "", state: str = "") -> Ended:
        monkeypatch.chdir(home / folder)
        result = CliRunner(env={"HOME": str(home), "STATE_DIRECTORY": state or None}).invoke(cli, words)
        if isinstance(result.exception, SidebardError):
            return Ended(result.exception.exit_code, result.stdout, str(result.exception))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run_here


def says_it_once(result: Ended) -> None:
    """Hold that a command said that a name is not UTF-8, and nothing else but how it is used."""
    (line,) = [line for line in result.stderr.splitlines() if "UTF-8" in line]
    assert "is not UTF-8" in line
    assert "rename" in line
    assert len(result.stderr.splitlines()) <= 4, result
    result.stderr.encode("utf-8", "strict")


INIT = {
    "source": ([f"{ODD}.csv"], ""),
    "source, absolute": (["HOME/\udcff.csv"], ""),
    "a folder above the source": ([f"{ODD}/customers.csv"], ""),
    "this folder": (["customers.csv"], ODD),
    "config": (["customers.csv", "--config", f"{ODD}.toml"], ""),
    "card": (["customers.csv", "--card", f"{ODD}.html"], ""),
    "certificate": (["customers.csv", "--certificate", f"{ODD}.pem"], ""),
    "key": (["customers.csv", "--key", f"{ODD}.pem"], ""),
    "name of the server": (["customers.csv", "--server-name", ODD], ""),
    "table": (["customers.csv", "--table", ODD], ""),
    "password": (["postgresql://a@127.0.0.1:1/b", "--table", "x", "--password", f"file:{ODD}"], ""),
    "user of a database": ([f"postgresql://{ODD}@127.0.0.1:1/b", "--table", "x"], ""),
}


@pytest.mark.parametrize(("words", "folder"), INIT.values(), ids=INIT)
def test_init(words: list[str], folder: str, home: Path, invoke: Callable[..., Ended]) -> None:
    result = invoke("init", *(word.replace("HOME", str(home)) for word in words), "--yes", folder=folder)
    says_it_once(result)
    assert (result.code, result.stdout) == (2, "")
    assert not (home / folder / "sidebard.toml").exists()


def test_init_passes_over_related_files_with_such_names(home: Path, invoke: Callable[..., Ended]) -> None:
    (home / f"orders{ODD}.csv").write_bytes(b"customer_id,what\n7,x\n8,y\n")
    result = invoke("init", "customers.csv", "--json")
    assert (result.code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["related"] == {}


def test_init_proposes_no_file_with_such_a_name(home: Path, invoke: Callable[..., Ended]) -> None:
    (home / "customers.csv").unlink()
    result = invoke("init", "--yes")
    assert (result.code, result.stderr.partition(";")[0]) == (1, f"{home}/customers.csv does not exist"), result


FLAGS = {
    "card": ["card", "ann@example.com"],
    "preview": ["preview", "--no-browser"],
    "requests": ["requests", "--secret-file", "secret", "--count", "1"],
}


@pytest.mark.parametrize("words", FLAGS.values(), ids=FLAGS)
def test_customers(words: list[str], invoke: Callable[..., Ended]) -> None:
    result = invoke(*words, "--customers", f"{ODD}.csv")
    says_it_once(result)
    assert result.code == 78


@pytest.mark.parametrize("where", ["the config", "its folder", "this folder", "the state folder"])
@pytest.mark.parametrize("command", ["check", "check --json", "import", "card x@example.com", "preview"])
def test_config(command: str, where: str, home: Path, invoke: Callable[..., Ended]) -> None:
    config = '[customers]\nsource = "customers.csv"\naddresses = ["email"]\n[[app]]\nsecrets = ["file:secret"]\n'
    for file in (home / "sidebard.toml", home / f"{ODD}.toml", home / ODD / "sidebard.toml"):
        file.write_text(config)
    named = {"the config": ["--config", f"{ODD}.toml"], "its folder": ["--config", f"{ODD}/sidebard.toml"]}
    words = [*command.split(), *named.get(where, ["--config", "sidebard.toml"])]
    folder = ODD if where == "this folder" else ""
    result = invoke(*words, folder=folder, state=str(home / ODD) if where == "the state folder" else "")
    if command == "check --json":
        (finding,) = json.loads(result.stdout)["checks"][0]["findings"]
        assert "is not UTF-8" in finding["sentence"]
    else:
        says_it_once(result)
    assert result.code == 78


def test_a_link_to_such_a_name_is_read(home: Path, invoke: Callable[..., Ended]) -> None:
    with closing(connect(home / f"{ODD}.db")) as database, database:
        database.execute("CREATE TABLE customers(email)")
        database.execute("INSERT INTO customers VALUES('ann@example.com'), ('bob@example.com')")
    (home / "customers.db").symlink_to(f"{ODD}.db")
    (home / "linked.csv").symlink_to(f"{ODD}.csv")
    for source in ("customers.db", "linked.csv"):
        result = invoke("init", source, "--json", "--config", f"{source}.toml")
        assert (result.code, result.stderr) == (0, ""), result
        assert json.loads(result.stdout)["customers"] == 2


def test_a_damaged_database_behind_a_link_is_called_by_the_link(home: Path, invoke: Callable[..., Ended]) -> None:
    (home / f"{ODD}.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    (home / "customers.db").symlink_to(f"{ODD}.db")
    result = invoke("init", "customers.db", "--yes")
    assert result.code == 1
    assert result.stderr.startswith(f"{home}/customers.db cannot be read"), result


def test_a_curl_command_names_such_a_file_as_the_shell_needs_it(home: Path) -> None:
    (home / f"{ODD}.json").write_bytes(b"{}")
    words = ["sign", f"{ODD}.json", "--secret-file", "secret", "--curl", "https://127.0.0.1:1/helpscout"]
    result = run_in(home, *words)
    assert (result.returncode, result.stderr) == (0, b"")
    assert b"@%b/\xff.json" % os.fsencode(home) in result.stdout


def test_such_a_file_in_the_state_folder_hinders_nothing(home: Path, invoke: Callable[..., Ended]) -> None:
    state = home / "state"
    state.mkdir()
    (state / ODD).touch()
    os.utime(state / ODD, (2**32, 2**32))
    assert invoke("init", "customers.csv", "--json").code == 0
    result = run_in(home, "check", STATE_DIRECTORY=str(state))
    assert b"\\udcff has a modification time in the future" in result.stdout, result
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize(
    "words",
    [("--customers", f"{ODD}.csv", "--secret-file", "secret", "--listen", "127.0.0.1:0"), ("--config", f"{ODD}.toml")],
    ids=["customers", "config"],
)
def test_serve(words: list[str], home: Path) -> None:
    result = run_in(home, "serve", *words)
    says_it_once(Ended(result.returncode, result.stdout.decode(), result.stderr.decode()))
    assert result.returncode == 78


def run_in(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-W", "error", "-m", "appliance", *words]
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(command, capture_output=True, cwd=folder, env=environ, timeout=60, check=False)
