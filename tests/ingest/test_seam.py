"""The seam of sources: a kind that nothing in the product knows is one file and one line of the registry."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from appliance.bootstrap.settings import load
from appliance.bootstrap.wiring import import_spec_of
from appliance.config.reader import ConfigError
from appliance.config.schema import Settings
from appliance.customers.record import related_of
from appliance.ingest import dry_run, sources
from appliance.preview.examples import DataState
from appliance.preview.session import Session
from tests.daemon import ROOT, Daemon, until
from tests.factory import CUSTOMERS, NOW, SECRET, Timer, body_for, open_snapshot, run_import
from tests.ingest import memory_source

PROGRAM = (sys.executable, "-W", "error", "-m", "tests.ingest.memory_source")
ORDERS = [["email", "total"], ["ann@example.com", "9"], ["ann@example.com", "30"]]


class Shop:
    """An installation whose customers and orders are in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "sidebard.toml"
        self.customers, self.orders = (f"memory:{folder}/{name}" for name in ("customers", "orders"))
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o600)
        self.config.write_text(
            f'[server]\nlisten = ["127.0.0.1:0"]\nstate = "state"\n[admin]\nlisten = ""\n{self.keys()}'
            '[[app]]\nsecrets = ["file:secret"]\n'
        )
        self.config.chmod(0o600)
        self.write([*map(list, CUSTOMERS)])

    def keys(self) -> str:
        return (
            f'[customers]\nsource = "{self.customers}"\naddresses = ["email"]\nrefresh = "200ms"\n'
            f'[related.orders]\nsource = "{self.orders}"\nkey = "email"\non = "email"\norder_by = "-total"\n'
        )

    def write(self, customers: list[list[str]]) -> None:
        for name, rows in (("customers", customers), ("orders", ORDERS)):
            whole = self.folder / f"{name}.new"
            whole.write_text(json.dumps(rows))
            whole.rename(self.folder / name)

    def change(self) -> None:
        self.write([*map(list, CUSTOMERS), ["zoe@example.com", "Zoe", "Pro"]])

    def settings(self) -> Settings:
        return load(self.config, {})

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, *command, "--config", str(self.config)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder)},
            check=False,
        )


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setattr(sources, "KINDS", (*sources.KINDS, memory_source.KIND))
    return Shop(tmp_path)


def test_without_its_line_it_is_refused_with_the_place_in_the_config(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    with pytest.raises(ConfigError) as caught:
        shop.settings()
    assert str(caught.value).startswith(f"{shop.config}:7: customers.source: has none of the endings .csv .tsv")


def test_a_scheme_that_is_none_is_refused_with_those_that_are(shop: Shop) -> None:
    shop.config.write_text(shop.config.read_text().replace("memory:", "memoir:"))
    with pytest.raises(ConfigError, match=r"and begins with none of postgresql: postgres: mysql: mariadb: memory:"):
        shop.settings()


@pytest.mark.parametrize("large", [False, True], ids=["small", "as if large"])
def test_imported_and_as_old_as_its_last_change(shop: Shop, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    monkeypatch.setattr("appliance.ingest.snapshot_builder._LARGE", -1 if large else 1 << 40)
    spec, folder = import_spec_of(shop.settings()), shop.folder / "state"
    assert (spec.files, str(spec.source)) == ((), shop.customers)
    for later, as_of in ((0, NOW), (50, NOW)):
        report = run_import(spec, folder, clock=lambda later=later: NOW + later)
        snapshot = open_snapshot(folder, spec)
        assert snapshot is not None
        assert (report.rows, report.related, snapshot.metadata.as_of) == (6, {"orders": 2}, as_of)
    (ann,) = snapshot.find(("ann@example.com",))
    assert [order["total"] for order in related_of(ann, "orders")] == ["30", "9"]
    shop.change()
    run_import(spec, folder, clock=lambda: NOW + 99)
    newer = open_snapshot(folder, spec)
    assert newer is not None
    assert (newer.metadata.rows, newer.metadata.as_of) == (7, NOW)  # the orders are of before


def test_a_dry_run_of_a_large_one_reads_its_first_rows(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "WHOLE", -1)
    found = dry_run.dry_run(import_spec_of(shop.settings()), shop.folder, clock=lambda: NOW, timer=Timer())
    assert (found.rows, found.whole, found.unread, found.relations[0].columns) == (6, False, (), ("email", "total"))


def test_what_the_source_says_is_what_the_operator_reads(shop: Shop) -> None:
    (shop.folder / "customers").unlink()
    shown = shop.run("import")
    assert (shown.returncode, shown.stderr) == (1, f"refused: {shop.customers} is empty; write the customers there\n")


def test_a_row_of_another_width_is_named_by_its_place(shop: Shop) -> None:
    shop.write([*map(list, CUSTOMERS), ["zoe@example.com"]])
    shown = shop.run("import")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert f"{shop.customers}:8: 1 cells, but the header has 3 names" in shown.stderr


def test_the_import_command(shop: Shop) -> None:
    shown = shop.run("import", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert json.loads(shown.stdout)["rows"] == 6


def test_checked(shop: Shop) -> None:
    shown = shop.run("check", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    found = {each["name"]: [*each["findings"]] for each in json.loads(shown.stdout)["checks"]}
    assert f"{shop.customers}: 6 customers, 6 with an address" in json.dumps(found["customers"])
    assert "fault" not in shown.stdout


def test_previewed_and_again_after_a_change(shop: Shop) -> None:
    settings = shop.settings()
    with closing(Session(settings, settings.apps[0], shop.settings, shop.folder / "imported")) as session:
        session.finish_import()
        assert session.state.rows == 6
        assert session.state.files == ("sidebard.toml", shop.customers, shop.orders)
        assert "Ann Lee" in (session.answer(body_for("ann@example.com"), DataState.LIVE).html or "")
        shop.change()
        assert session.poll()
        session.finish_import()
        assert "Zoe" in (session.answer(body_for("zoe@example.com"), DataState.LIVE).html or "")


class MemoryDaemon(Daemon):
    """The service, with customers in memory."""

    def write_config(self, **parts: object) -> None:
        super().write_config(**parts)  # type: ignore[arg-type]
        text = self.config.read_text().replace('"customers.csv"', f'"memory:{self.folder}/customers"')
        self.config.write_text(text)


def test_served_and_refreshed_after_a_change(shop: Shop) -> None:
    with MemoryDaemon(shop.folder, program=PROGRAM, customers=False) as daemon:
        daemon.wait_for("import")
        daemon.wait_for("serving")
        assert "Ann Lee" in daemon.ask()
        shop.change()
        assert daemon.wait_for("import")["rows"] == 7
        until(lambda: "Zoe" in daemon.ask("zoe@example.com"), "the new customer")
        assert daemon.stop() == 0
