"""`sidebard check`, as an operator types it: what is wrong is found, and the sentence says what to do."""

import json
import os

import pytest

from tests.cli.test_commands import run
from tests.factory import SECRET, write_csv


@pytest.fixture
def files(tmp_path):
    write_csv(tmp_path / "customers.csv")
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "secret").chmod(0o600)
    (tmp_path / "state").mkdir()
    write_config(tmp_path)
    return tmp_path


def write_config(folder, *, tls="", customers="", more="", app=""):
    (folder / "sidebard.toml").write_text(
        f'[server]\nlisten = ["127.0.0.1:0"]\nstate = "state"\n[tls]\n{tls}\n'
        f'[customers]\nsource = "customers.csv"\naddresses = ["email"]\n{customers}\n'
        f'[admin]\nlisten = ""\n{more}\n[[app]]\nsecrets = ["file:secret"]\n{app}\n'
    )
    (folder / "sidebard.toml").chmod(0o600)


def check(folder, *flags, **environ):
    return run("check", *flags, "--config", folder / "sidebard.toml", HOME=str(folder), **environ)


def statuses(result):
    return {each["name"]: each["status"] for each in json.loads(result.stdout)["checks"]}


def test_all_is_well_but_the_certificate(files):
    before = sorted(os.listdir(files)), sorted(os.listdir(files / "state"))
    result = check(files)
    assert (result.returncode, result.stderr) == (0, b"")
    lines = result.stdout.decode().splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["config", "ok"],
        ["secrets", "ok"],
        ["sockets", "ok"],
        ["certificate", "warning"],
    ]
    assert lines[-1] == "11 checks: 10 ok, 1 warning"
    assert (sorted(os.listdir(files)), sorted(os.listdir(files / "state"))) == before


def test_quiet_says_nothing_of_what_is_well(files):
    result = check(files, "-q")
    assert result.returncode == 0
    assert [line.split()[0] for line in result.stdout.decode().splitlines()] == ["certificate"]


def test_as_json(files):
    result = check(files, "--json")
    document = json.loads(result.stdout)
    assert (result.returncode, document["status"]) == (0, "warning")
    assert set(document) == {"status", "checks"}
    assert document["checks"][0] == {
        "name": "config",
        "status": "ok",
        "findings": [{"status": "ok", "sentence": f"{files}/sidebard.toml"}],
    }


@pytest.mark.parametrize("flags", [[], ["-q"], ["--json"]])
def test_a_config_that_cannot_be_used(flags, files):
    write_config(files, customers="refresh = 60")
    result = check(files, *flags)
    assert result.returncode == 78
    said = result.stdout if flags == ["--json"] else result.stderr
    assert f"{files}/sidebard.toml:9: customers.refresh: must be a duration (got 60)" in said.decode()


def test_a_missing_secret_is_a_fault(files):
    (files / "secret").unlink()
    result = check(files, "-q")
    assert result.returncode == 1
    assert "secrets      FAULT" in result.stdout.decode()
    assert f"put the secret into {files}/secret, readable to sidebard" in result.stdout.decode()


@pytest.mark.parametrize(
    ("trail", "sentence"),
    [
        ("trail", "/trail: the access trail can be written"),
        ("state", "/state is no file; name another in log.trail"),
        ("none/trail", "/none is not there; make it, or name another file in log.trail"),
    ],
)
def test_an_access_trail_is_looked_at_and_not_made(trail, sentence, files):
    write_config(files, more=f'[log]\ntrail = "{trail}"')
    (state,) = (each for each in json.loads(check(files, "--json").stdout)["checks"] if each["name"] == "state")
    assert state["findings"][0]["sentence"] == f"{files}{sentence}"
    assert not (files / "trail").exists()
