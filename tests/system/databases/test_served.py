"""The service and its commands, with customers in a real PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import ROOT, Daemon, until
from tests.system.databases.postgres_server import PASSWORD, Postgres

pytestmark = pytest.mark.system
TABLES = """DROP TABLE IF EXISTS customers, orders;
CREATE TABLE customers (id int PRIMARY KEY, email text NOT NULL, name text);
CREATE TABLE orders (customer int, total numeric);
INSERT INTO customers VALUES (1, 'ann@example.com', 'Ann Lee');
INSERT INTO orders VALUES (1, 30), (1, 9.50);
GRANT SELECT ON customers, orders TO reader;"""


class Shop(Daemon):
    """The service, with customers and orders in a database."""

    database: Postgres
    keys = ""

    def write_config(self, **parts: object) -> None:
        address = f"postgresql://reader@127.0.0.1:{self.database.port}/shop"
        keys = f"""password = "file:password"
tls = "verify"
ca = "{self.database.ca}"
query = '''
SELECT id, email, name
FROM customers ORDER BY id -- all of them
'''
{self.keys}
"""
        orders = '[related.orders]\nkey = "customer"\non = "id"\norder_by = "-total"\n'
        super().write_config(customer_keys=keys, more=orders)
        self.config.write_text(self.config.read_text().replace('"customers.csv"', f'"{address}"'))
        password = self.config.parent / "password"
        password.write_text(f"{PASSWORD}\n")
        password.chmod(0o600)


@pytest.fixture
def database(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    server.sql(TABLES)
    monkeypatch.setattr(Shop, "database", server, raising=False)
    yield server
    assert connections(server) == 0


def connections(server: Postgres) -> int:
    return int(server.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sidebard'"))


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "appliance", *command, "--config", str(folder / "sidebard.toml")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        check=False,
    )


def test_served_and_a_changed_row_is_seen(database: Postgres, tmp_path: Path) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        card = daemon.ask()
        assert "Ann Lee" in card
        assert "9.50" in card
        database.sql("INSERT INTO customers VALUES (2, 'zoe@example.com', 'Zoe')")
        until(lambda: "Zoe" in daemon.ask("zoe@example.com"), "the new customer")
        assert daemon.stop() == 0
    assert [*(tmp_path / "state").rglob("*.tmp")] == []


def test_unchanged_rows_are_not_imported_again_and_stay_new(database: Postgres, tmp_path: Path) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        began = daemon.healthy()["data"]
        until(lambda: daemon.healthy()["data"]["as_of"] > began["as_of"] + 1, "a fetch of the same rows")
        assert daemon.healthy()["data"]["generation"] == began["generation"] == 1
        daemon.stop()
    assert [line["event"] for line in daemon.lines].count("import") == 1


CHANGED = """changed = '''
SELECT count(*), sum(xmin::text::bigint) FROM customers UNION ALL SELECT count(*), sum(xmin::text::bigint) FROM orders;
'''"""


def test_the_query_changed_saves_the_fetch(database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shop, "keys", CHANGED)
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        until(lambda: daemon.healthy()["fetch"]["unchanged"], "a fetch that was saved")
        began = daemon.healthy()["data"]
        until(lambda: daemon.healthy()["data"]["as_of"] > began["as_of"], "another")
        assert daemon.healthy()["data"]["generation"] == began["generation"] == 1
        database.sql("UPDATE orders SET total = 47.11 WHERE total = 30")
        until(lambda: "47.11" in daemon.ask(), "the changed order")
        assert daemon.wait_for("import")["fetch_seconds"] > 0
        until(lambda: (daemon.healthy()["fetch"]["next"] or 0) > began["as_of"], "the time of the next fetch")
        assert "sidebard_fetch_seconds" in daemon.admin("/metrics")[1]
        daemon.stop()
    assert [*(tmp_path / "state").rglob("*.tmp")] == []


@pytest.mark.parametrize("keys", ["", CHANGED], ids=["fetched", "changed"])
def test_a_row_that_a_long_transaction_commits_late_is_seen(
    database: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: str
) -> None:
    """What looks only for rows with a newer time than the newest known never finds it."""
    monkeypatch.setattr(Shop, "keys", keys)
    database.sql("ALTER TABLE customers ADD updated timestamptz DEFAULT now()")
    writer = database.psql()
    writer.run("BEGIN; UPDATE customers SET name = 'Ann Late', updated = now() WHERE id = 1")
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        database.sql("INSERT INTO customers VALUES (2, 'zoe@example.com', 'Zoe', now() + '1 s')")
        until(lambda: "Zoe" in daemon.ask("zoe@example.com"), "the later row")
        assert "Ann Lee" in daemon.ask()
        writer.run("COMMIT")
        until(lambda: "Ann Late" in daemon.ask(), "the row that was committed late")
        daemon.stop()
    writer.close()


def test_a_refused_login_is_tried_once_until_the_password_changes(database: Postgres, tmp_path: Path) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        (tmp_path / "password").write_text("wrong")
        why = daemon.wait_for("import_refused")["why"]
        assert "the server refuses this user (28P01); correct customers.password" in why
        assert "Ann Lee" in daemon.ask()
        assert why in json.dumps(daemon.health())
        log = (database.folder / "log").read_text().count("password authentication failed")
        database.sql("UPDATE customers SET name = 'Ann Moe'")
        (tmp_path / "other").write_text(PASSWORD)
        (tmp_path / "other").rename(tmp_path / "password")
        until(lambda: "Ann Moe" in daemon.ask(), "the changed name")
        assert (database.folder / "log").read_text().count("password authentication failed") == log
        daemon.stop()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_the_last_snapshot_serves_while_there_is_no_server(database: Postgres, tmp_path: Path, how: str) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        if how == "stopped":
            database.stop("fast")
        else:
            database.kill()
        try:
            why = daemon.wait_for("import_refused")["why"]
            assert f"postgresql://reader@127.0.0.1:{database.port}/shop" in why
            assert "Ann Lee" in daemon.ask()
            until(lambda: daemon.health()["fetch"]["error"], "the error in the health")
            assert daemon.health()["status"] == "degraded"
        finally:
            database.start()
        database.sql("UPDATE customers SET name = 'Ann Moe'")
        until(lambda: "Ann Moe" in daemon.ask(), "the changed name")
        assert daemon.healthy()["fetch"]["error"] == ""
        daemon.stop()
    assert [*(tmp_path / "state").rglob("*.tmp")] == []


def test_a_changed_row_is_shown_soon(database: Postgres, tmp_path: Path) -> None:
    """Within refresh and a tenth, and two seconds for fetch, import and workers."""
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        for number in range(3):
            database.sql(f"UPDATE customers SET name = 'Ann {number}.'")
            until(lambda wanted=f"Ann {number}.": wanted in daemon.ask(), "the changed name", patience=1.1 * 0.2 + 2)
        daemon.stop()


def test_the_last_snapshot_serves_while_the_server_refuses(database: Postgres, tmp_path: Path) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        database.sql("REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
        try:
            why = daemon.wait_for("import_refused")["why"]
            assert "this user may not read that (permission denied for database" in why
            assert "Ann Lee" in daemon.ask()
        finally:
            database.sql("GRANT CONNECT ON DATABASE shop TO PUBLIC")
        database.sql("UPDATE customers SET name = 'Ann Moe'")
        until(lambda: "Ann Moe" in daemon.ask(), "the changed name")
        assert '"refused": ""' in json.dumps(daemon.healthy())
        daemon.stop()


def test_imported_and_checked(database: Postgres, tmp_path: Path) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        daemon.stop()
    shown = run(tmp_path, "import", "--json")
    assert (shown.returncode, shown.stderr) == (0, "")
    report = json.loads(shown.stdout)
    assert (report["rows"], report["related"]) == (1, {"orders": 2})
    checked = run(tmp_path, "check", "--json")
    assert checked.stderr == ""
    found = {each["name"]: json.dumps(each["findings"]) for each in json.loads(checked.stdout)["checks"]}
    address = f"postgresql://reader@127.0.0.1:{database.port}/shop"
    assert f"{address} (customers): 1 customer, 1 with an address" in found["customers"]
    database.sql("DROP TABLE orders")
    shown = run(tmp_path, "import")
    said = f'{address} (related.orders): there is no such table (relation "orders" does not exist'
    assert shown.returncode == 1
    assert said in shown.stderr
