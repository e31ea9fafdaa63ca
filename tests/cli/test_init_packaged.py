"""`sidebard init` by root where the package is installed: what the service's user can read, and what is said of it."""

from __future__ import annotations

import json
import os
import pwd
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.bootstrap import installation
from appliance.bootstrap.installation import Installation
from appliance.checks.registry import all_checks
from appliance.cli import init
from appliance.cli.init_report import Tried
from appliance.config.loader import load
from appliance.errors import SidebardError
from appliance.ingest.table import Table
from tests.permissions import open_to_others

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")

SERVER = "postgresql://reader@db.example.com/shop"
Invoke = Callable[..., tuple[int, str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Make a folder of root's that nobody else can enter, with customers in it."""
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    (made / "customers.csv").write_text("email\nann@example.com\n")
    return made


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    """Make the folders of the package, whose service is nobody's, and has not run yet."""
    nobody = pwd.getpwnam("nobody")
    for name, mode in (("etc", 0o750), ("data", 0o2750)):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, 0, nobody.pw_gid)
        (tmp_path / name).chmod(mode)
    open_to_others(tmp_path)
    monkeypatch.setattr(installation, "PACKAGED", tmp_path / "etc" / "sidebard.toml")
    monkeypatch.setattr(installation, "_USER", "nobody")
    monkeypatch.setattr(installation, "_HIDDEN", (str(tmp_path / "home"),))
    monkeypatch.setattr(installation, "let_others_read", lambda: None)
    monkeypatch.setattr("appliance.checks.registry.let_others_read", lambda: None)
    monkeypatch.setattr(init, "_STATE", str(tmp_path / "var" / "sidebard"))
    monkeypatch.delenv("INVOCATION_ID", raising=False)
    made = Installation(tmp_path / "etc" / "sidebard.toml", nobody, tmp_path / "data")
    monkeypatch.setattr(init, "find_installation", lambda _config: made)
    return made


@pytest.fixture
def invoke(packaged: Installation, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Return a function that runs the command in this process."""
    names = ("config", "secrets", "permissions", "customers", "state")  # the rest is not of these folders
    checks = tuple(each for each in all_checks() if each.name in names)
    monkeypatch.setattr(init, "all_checks", lambda: checks)

    def run(*words: object) -> tuple[int, str]:
        result = CliRunner().invoke(init.command, [*map(str, words)])
        if isinstance(result.exception, SidebardError):
            return result.exception.exit_code, str(result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return run


@pytest.fixture
def server(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a server with a table of customers, as far as `init` looks at it."""
    table = Table(source=SERVER, name="people", columns=("email",), rows=(("ann@example.com",),))
    monkeypatch.setattr(init, "survey", lambda *_: [table])
    monkeypatch.setattr(init, "_import_and_render", lambda _proposal: Tried(1, "Ann"))
    checks = tuple(each for each in all_checks() if each.name in ("config", "secrets", "permissions"))
    monkeypatch.setattr(init, "all_checks", lambda: checks)


def look(file: Path) -> tuple[int, int, int]:
    facts = file.stat()
    return facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)


def password_in(packaged: Installation) -> Path | None:
    password = load(packaged.config, {}).customers.password
    assert password is not None
    return password.path


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("name", ["password", "secret", "sidebard.toml", "password.db"])
def test_a_password_that_the_service_cannot_read_is_copied(
    name: str, invoke: Invoke, packaged: Installation, home: Path
) -> None:
    """By a name of its own: that of the file may be the one of something else."""
    (home / name).write_text("of the database")
    code, said = invoke(SERVER, "--table", "people", "--password", f"file:{home / name}", "--yes")
    assert code == 0, said
    assert f"Copied {home / name} to {packaged.password}, where the service can read it" in said
    assert packaged.password.read_text() == "of the database"
    assert look(packaged.password) == (0, pwd.getpwnam("nobody").pw_gid, 0o640)
    assert 'password = "file:database-password"\n' in packaged.config.read_text()
    assert password_in(packaged) == packaged.password
    assert packaged.secret.read_text().strip() != "of the database"


@pytest.mark.usefixtures("server")
def test_a_password_that_the_service_can_read_stays_where_it_is(
    invoke: Invoke, packaged: Installation, tmp_path: Path
) -> None:
    own = tmp_path / "vault" / "password"
    own.parent.mkdir(mode=0o755)
    own.write_text("of the database")
    os.chown(own, 0, pwd.getpwnam("nobody").pw_gid)
    own.chmod(0o640)
    code, said = invoke(SERVER, "--table", "people", "--password", f"file:{own}", "--yes")
    assert code == 0, said
    assert "Copied" not in said
    assert password_in(packaged) == own


@pytest.mark.usefixtures("server")
def test_a_password_in_a_variable_is_refused(
    invoke: Invoke, packaged: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "of the database")
    code, said = invoke(SERVER, "--table", "people", "--password", "env:PGPASSWORD", "--yes")
    assert code == 2
    assert "env:PGPASSWORD: systemd starts the service without this variable; put the password into a file" in said
    assert list(packaged.config.parent.iterdir()) == []


def test_a_password_of_a_file_is_refused(invoke: Invoke, packaged: Installation, home: Path) -> None:
    code, said = invoke(home / "customers.csv", "--password", f"file:{home / 'x'}", "--yes")
    assert (code, said) == (1, f"{home}/customers.csv is a file, and --password is for a server; leave it out")
    assert list(packaged.config.parent.iterdir()) == []


def checks_of(said: str) -> dict[str, tuple[str, str]]:
    results = json.loads(said)["check"]["checks"]
    return {each["name"]: (each["status"], each["findings"][-1]["sentence"]) for each in results}


def test_the_check_judges_as_the_services_user(invoke: Invoke, packaged: Installation, home: Path) -> None:
    """What is good is good for that user, too, who owns no state folder before the first start."""
    code, said = invoke(home / "customers.csv", "--json")
    assert code == 0, said
    found = checks_of(said)
    assert found["config"] == ("ok", "checking file access as user nobody (the service's user)")
    assert {name: status for name, (status, _) in found.items()} == dict.fromkeys(found, "ok")
    assert found["state"][1].endswith("var/sidebard will be created for the user nobody at the start")


def test_a_secret_that_was_there_and_the_service_cannot_read(
    invoke: Invoke, packaged: Installation, home: Path
) -> None:
    packaged.secret.write_text("their secret, 23 bytes.")
    packaged.secret.chmod(0o600)
    code, said = invoke(home / "customers.csv", "--json")
    assert code == 0, said
    status, sentence = checks_of(said)["secrets"]
    assert (status, "Permission denied" in sentence) == ("fault", True)
