"""`sidebard ids`, as an operator types it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from appliance.customers.ids import Change, Kind
from appliance.service.id_store import IdStore
from tests.checks.running import write_home
from tests.cli.in_process import run
from tests.daemon import Daemon

NOW = 1_790_000_000.0


@pytest.fixture
def config(tmp_path: Path) -> Path:
    made = write_home(tmp_path)
    (tmp_path / "state").chmod(0o700)
    store = IdStore(tmp_path / "state" / "ids", NOW)
    told = [(5, ("ann@example.com", "a@x.example")), (6, ()), (7, ("ann@example.com",))]
    store.apply([Change(customer, Kind.REPLACE, addresses, NOW) for customer, addresses in told], NOW)
    store.apply([Change(8, Kind.DELETE, (), NOW)], NOW)
    store.close()
    return made


def ids(config: Path, *words: str) -> tuple[int, str]:
    result: subprocess.CompletedProcess[bytes] = run("ids", *words, "--config", config)
    assert b"Traceback" not in result.stderr
    return result.returncode, (result.stdout + result.stderr).decode()


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 0, "3 ids of customers known, in FOLDER/state/ids\n"),
        (("5",), 0, "5: ann@example.com, a@x.example\n"),
        (("6",), 0, "6: no address\n"),
        (("8",), 0, "8: deleted\n"),
        (("9",), 1, "nothing is known of it\n"),
        (("--address", "ANN@example.com"), 0, "5: ann@example.com, a@x.example\n7: ann@example.com\n"),
        (("--address", "no@example.com"), 1, "nothing is known of it\n"),
    ],
    ids=["count", "addresses", "none", "deleted", "unknown", "address", "unknown address"],
)
def test_shows(words: tuple[str, ...], code: int, text: str, config: Path) -> None:
    assert ids(config, *words) == (code, text.replace("FOLDER", str(config.parent)))


def test_exports(config: Path) -> None:
    code, text = ids(config, "--export")
    assert code == 0
    assert [json.loads(line) for line in text.splitlines()] == [
        {"id": 5, "addresses": ["ann@example.com", "a@x.example"], "as_of": NOW, "seen": int(NOW // 86400)},
        {"id": 6, "addresses": [], "as_of": NOW, "seen": int(NOW // 86400)},
        {"id": 7, "addresses": ["ann@example.com"], "as_of": NOW, "seen": int(NOW // 86400)},
    ]


def test_nothing_was_ever_learned(tmp_path: Path) -> None:
    config = write_home(tmp_path)
    assert ids(config) == (0, f"0 ids of customers known, in {tmp_path}/state/ids\n")
    assert ids(config, "5")[0] == 1
    assert not (tmp_path / "state" / "ids").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("0",), "0 is not in the range"),
        (("x",), "not a valid integer"),
        (("5", "--export"), "cannot be combined"),
        (("--forget",), "--forget requires a CUSTOMER or --address"),
        (("--address", "x"), "ADDRESS is not an email address"),
    ],
)
def test_wrong_usage(words: tuple[str, ...], why: str, config: Path) -> None:
    code, text = ids(config, *words)
    assert (code, why in text) == (2, True), text


def test_forgets_by_the_running_service(tmp_path: Path) -> None:
    with Daemon(tmp_path, app="[app.page]") as daemon:
        daemon.wait_for("serving")
        store = tmp_path / "state" / "ids"
        assert ids(daemon.config, "5") == (1, "nothing is known of it\n")
        assert (store / "00000001.journal").exists()
        # What is not known can be forgotten, too: a late delivery will not bring it back.
        assert daemon.stop() == 0
        daemon.rest()
    opened = IdStore(store, NOW)
    opened.apply([Change(5, Kind.REPLACE, ("ann@example.com",), NOW)], NOW)
    opened.close()
    with Daemon(tmp_path, app="[app.page]") as daemon:
        daemon.wait_for("serving")
        code, text = ids(daemon.config, "--address", "ann@example.com", "--forget")
        assert (code, text.splitlines()[0]) == (0, "5: ann@example.com")
        assert ids(daemon.config, "5") == (0, "5: deleted\n")
        assert daemon.stop() == 0
        daemon.rest()


def test_forgets_nothing_without_the_service(config: Path) -> None:
    code, text = ids(config, "5", "--forget")
    assert (code, "5: not forgotten: the service has not confirmed it" in text) == (1, True)
    assert ids(config, "5")[1].startswith("5: ann@")
