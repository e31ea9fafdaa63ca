"""The registry of checks: their order, their rows in the docs, and what it takes to add one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.checks import registry
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, Status, ok
from appliance.checks.registry import all_checks, check, run_checks
from appliance.errors import SidebardError, StartError
from tests.checks.running import context, told, write_home
from tests.daemon import ROOT, Daemon
from tests.edge.test_tls import BETWEEN, NOW, leaf, root_is_trusted, write

__all__ = ["root_is_trusted"]  # a fixture that the tests here use

TOY = (sys.executable, "-W", "error", "-m", "tests.checks.toy")
SENTENCE = "toys lie around; tidy them up"


@pytest.fixture
def empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def test_the_order_is_the_one_in_which_results_are_worth_reading() -> None:
    assert [each.name for each in all_checks()] == [
        "config",
        "secrets",
        "sockets",
        "certificate",
        "permissions",
        "acme",
        "customers",
        "card",
        "page",
        "inbox_api",
        "state",
        "space",
        "clock",
        "descriptors",
    ]


def test_the_rows_of_the_docs_are_the_docstrings() -> None:
    """A row is generated of a check; one that differs is copied from here."""
    text = (ROOT / "docs" / "operations.md").read_text("utf-8").partition("\n## Check\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| `.*$", text)
    assert rows == [
        f"| `{each.name}` | {'yes' if each.at_start else ''} | {each.description} |".replace("|  |", "| |")
        for each in all_checks()
    ]


def test_a_good_installation_has_no_fault(tmp_path: Path) -> None:
    write(tmp_path, leaf(), BETWEEN)
    where = context(tmp_path, now=NOW.timestamp(), tls='certificate = "a.crt"\nkey = "a.key"')
    for file in tmp_path.iterdir():
        os.utime(file, (NOW.timestamp(), NOW.timestamp()))
    (tmp_path / "a.key").chmod(0o600)
    assert {result.name: result.status for result in run_checks(where, all_checks())} == {
        check.name: Status.OK for check in all_checks()
    }


def test_the_start_logs_what_is_wrong_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "card.html").write_text("{{ customer.name }}")
    (tmp_path / "card.html").chmod(0o666)
    app = '[[app]]\nname = "other"\npath = "/other"\ncard = "card.html"\nsecrets = ["file:secret"]'
    with Daemon(tmp_path, server="max_connections = 1_000_000", config=app) as daemon:
        daemon.wait_for("serving")
        assert "Ann Lee" in daemon.ask()
        assert daemon.stop() == 0
    found = [line for line in daemon.lines if str(line["event"]).startswith("check_")]
    assert [(line["event"], line["check"]) for line in found] == [
        ("check_fault", "permissions"),
        ("check_warning", "descriptors"),
    ]
    assert "a card is code that runs here; run chmod go-w on it" in str(found[0]["message"])


# What it takes to add one


def toy(*words: object) -> str:
    result = subprocess.run(
        [*TOY, *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        env={"HOME": "/nonexistent"},
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_one_function_is_enough_for_the_command(tmp_path: Path) -> None:
    said = toy("check", "--config", write_home(tmp_path))
    assert f"toy          warning           {tmp_path}/state: {SENTENCE}" in said
    assert said.splitlines()[-1].startswith("15 checks: ")


def test_one_function_is_enough_for_json(tmp_path: Path) -> None:
    found = json.loads(toy("check", "--json", "--config", write_home(tmp_path)))["checks"][-1]
    assert found == {
        "name": "toy",
        "status": "warning",
        "findings": [{"status": "warning", "sentence": f"{tmp_path}/state: {SENTENCE}"}],
    }


def test_one_function_is_enough_for_the_start(tmp_path: Path) -> None:
    with Daemon(tmp_path, program=TOY) as daemon:
        daemon.wait_for("serving")
        assert daemon.stop() == 0
    [line] = [line for line in daemon.lines if line.get("check") == "toy"]
    assert (line["event"], line["level"]) == ("check_warning", "warning")
    assert line["message"] == f"{tmp_path}/state: {SENTENCE}"


def test_two_checks_of_one_name_are_a_bug() -> None:
    with pytest.raises(ValueError, match='two checks named "clock"'):
        check("clock")(lambda _context: [])


# What a check raises


class _TwoThings(SidebardError):
    @property
    def sentences(self) -> tuple[str, ...]:
        return ("one thing", "another")


@pytest.mark.parametrize(
    ("error", "sentences"),
    [
        pytest.param(StartError("it cannot be; change it"), ["it cannot be; change it"], id="one sentence"),
        pytest.param(_TwoThings(), ["one thing", "another"], id="several sentences"),
        pytest.param(PermissionError(13, "Permission denied", "/x"), ["/x: Permission denied; give "], id="the system"),
    ],
)
def test_an_error_that_an_operator_can_mend_is_a_fault(
    error: Exception, sentences: list[str], tmp_path: Path, empty: None
) -> None:
    @check("first")
    def first(_context: CheckContext) -> Iterator[Finding]:
        yield ok("so far")
        raise error

    @check("second")
    def second(_context: CheckContext) -> Iterator[Finding]:
        yield ok("goes on")

    broken, good = run_checks(context(tmp_path), all_checks())
    assert told(broken)[0] == ("ok", "so far")
    assert [status for status, _ in told(broken)[1:]] == ["fault"] * len(sentences)
    for (_, said), sentence in zip(told(broken)[1:], sentences, strict=True):
        assert said.startswith(sentence)
    assert told(good) == [("ok", "goes on")]


def test_a_bug_in_a_check_is_no_finding(tmp_path: Path, empty: None) -> None:
    @check("broken")
    def broken(_context: CheckContext) -> Iterator[Finding]:
        yield ok(str(1 // 0))

    with pytest.raises(ZeroDivisionError):
        list(run_checks(context(tmp_path), all_checks()))
