"""An import that takes its time, and what ends meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.coverage_env import COVERAGE
from tests.daemon import ROOT, Daemon, alive, children, until
from tests.factory import CUSTOMERS, write_csv


@pytest.fixture
def importing(tmp_path: Path) -> Iterator[tuple[Daemon, int, int]]:
    """Return a service in its first import, its steward and the importing process."""
    rows = [("email", "name"), *((f"customer{number}@example.com", "Somebody") for number in range(200_000))]
    write_csv(tmp_path / "customers.csv", rows)
    with Daemon(tmp_path, customers=False) as daemon:
        steward = until(lambda: children(daemon.pid), "the steward")[0]
        yield daemon, steward, until(lambda: children(steward), "the import")[0]


def test_nothing_is_accepted_before_the_first_import_has_ended(importing: tuple[Daemon, int, int]) -> None:
    daemon, steward, _ = importing
    assert children(daemon.pid) == [steward]
    daemon.wait_for("serving")
    assert "Somebody" in daemon.ask("customer7@example.com")


def test_an_import_ends_with_its_steward_and_is_begun_again(importing: tuple[Daemon, int, int]) -> None:
    daemon, steward, importer = importing
    os.kill(steward, signal.SIGKILL)
    daemon.wait_for("steward_died")
    until(lambda: not alive(importer), "the end of the import")
    daemon.wait_for("serving")  # without data, rather than not at all
    daemon.wait_for("import")
    until(lambda: "Somebody" in daemon.ask("customer7@example.com"), "the data")


def test_an_import_is_broken_off_at_the_end(importing: tuple[Daemon, int, int]) -> None:
    daemon, _, importer = importing
    assert daemon.stop() == 0
    assert not alive(importer)
    assert [line["event"] for line in daemon.rest()][-2:] == ["stopping", "stopped"]


def test_an_importer_that_is_killed_is_a_refusal(importing: tuple[Daemon, int, int]) -> None:
    daemon, _, importer = importing
    os.kill(importer, signal.SIGKILL)
    assert "killed by signal 9" in str(daemon.wait_for("import_refused")["why"])
    daemon.wait_for("import")
    until(lambda: "Somebody" in daemon.ask("customer7@example.com"), "the data")


def test_nothing_of_an_import_survives_the_supervisor(importing: tuple[Daemon, int, int]) -> None:
    daemon, steward, importer = importing
    os.kill(daemon.pid, signal.SIGKILL)
    until(lambda: not alive(steward) and not alive(importer), "the end of all")


def test_an_import_by_hand_clears_the_refusal(tmp_path):
    """As docs/customers.md has it: raise max_shrink, import, set it back; health must know."""
    with Daemon(tmp_path) as daemon:
        daemon.wait_for("serving")
        rows = (CUSTOMERS[0], ("ann@example.com", "Ann " * 100, "Pro"))  # fewer, and no fewer bytes: it is read at once
        write_csv(tmp_path / "new.csv", rows).rename(tmp_path / "customers.csv")
        daemon.wait_for("import_refused")
        assert "the last import was refused" in str(daemon.health()["reasons"])
        by_hand = tmp_path / "by_hand.toml"
        by_hand.write_text(daemon.config.read_text().replace("[admin]", 'max_shrink = "100%"\n[admin]'))
        command = [sys.executable, "-m", "appliance", "import", "--config", str(by_hand)]
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            env={**COVERAGE, "PATH": "/usr/bin", "HOME": str(tmp_path)},
            cwd=ROOT,
        )
        daemon.healthy()
        until(lambda: daemon.ask("help@helpscout.net").startswith("<h4>Not a customer"), "the new data")
