"""The service and its commands, with customers in a real PostgreSQL, and in a real MariaDB."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon import ROOT, Daemon, until
from tests.system.databases.mariadb_server import MariaDB
from tests.system.databases.postgres_server import Postgres
from tests.system.load import within

pytestmark = pytest.mark.system
Database = Postgres | MariaDB
TABLES = """DROP TABLE IF EXISTS customers, orders;
CREATE TABLE customers (id int PRIMARY KEY, email varchar(99) NOT NULL, name varchar(99));
CREATE TABLE orders (customer int, total decimal(9, 2));
INSERT INTO customers VALUES (1, 'ann@example.com', 'Ann Lee');
INSERT INTO orders VALUES (1, 30), (1, 9.50);"""


# What does not depend on the kind of database is tried with one.
with_one = pytest.mark.parametrize("database", ["server"], ids=["postgresql"], indirect=True)


def of_kind(database: Database, postgres: str, mariadb: str) -> str:
    """Return what is of this kind of database."""
    return postgres if isinstance(database, Postgres) else mariadb


class Shop(Daemon):
    """The service, with customers and orders in a database."""

    database: Database
    keys = ""

    def write_config(self, **parts: object) -> None:
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
        self.config.write_text(self.config.read_text().replace('"customers.csv"', f'"{self.database.address}"'))
        password = self.config.parent / "password"
        password.write_text(f"{self.database.password}\n")
        password.chmod(0o600)


@pytest.fixture(params=["server", "mariadb_server"], ids=["postgresql", "mariadb"])
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    running: Database = request.getfixturevalue(request.param)
    fill(running)
    monkeypatch.setattr(Shop, "database", running, raising=False)
    yield running
    assert running.connections() == 0


def fill(database: Database) -> None:
    """Make the tables, which the reader may read."""
    database.sql(TABLES)
    grant(database, "GRANT", "TO")


def grant(database: Database, do: str, whom: str) -> None:
    """Let the reader read, or not any more."""
    database.sql(
        of_kind(
            database,
            f"{do} CONNECT ON DATABASE shop {whom} PUBLIC; {do} SELECT ON customers, orders {whom} reader",
            f"{do} SELECT ON shop.* {whom} reader@'%'",
        )
    )


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "appliance", *command, "--config", str(folder / "sidebard.toml")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder)},
        check=False,
    )


def test_served_and_a_changed_row_is_seen(database: Database, tmp_path: Path) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        card = daemon.ask()
        assert "Ann Lee" in card
        assert "9.50" in card
        database.sql("INSERT INTO customers VALUES (2, 'zoe@example.com', 'Zoe')")
        until(lambda: "Zoe" in daemon.ask("zoe@example.com"), "the new customer")
        assert daemon.stop() == 0
    assert [*(tmp_path / "state").rglob("*.tmp")] == []


@with_one
def test_unchanged_rows_are_not_imported_again_and_stay_new(database: Database, tmp_path: Path) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        began = daemon.healthy()["data"]
        until(lambda: daemon.healthy()["data"]["as_of"] > began["as_of"] + 1, "a fetch of the same rows")
        assert daemon.healthy()["data"]["generation"] == began["generation"] == 1
        daemon.stop()
    assert [line["event"] for line in daemon.lines].count("import") == 1


def changed_key(database: Database) -> str:
    queries = [
        of_kind(
            database,
            f"SELECT count(*), sum(xmin::text::bigint) FROM {table}",
            f"SELECT count(*), sum(crc32(concat_ws(',', {columns}))) FROM {table}",
        )
        for table, columns in (("customers", "id, email, name"), ("orders", "customer, total"))
    ]
    return f"changed = '''\n{' UNION ALL '.join(queries)};\n'''"


def test_the_query_changed_saves_the_fetch(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shop, "keys", changed_key(database))
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


@pytest.mark.parametrize("saved", [False, True], ids=["fetched", "changed"])
def test_a_row_that_a_long_transaction_commits_late_is_seen(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bool
) -> None:
    """What looks only for rows with a newer time than the newest known never finds it."""
    monkeypatch.setattr(Shop, "keys", changed_key(database) if saved else "")
    database.sql("ALTER TABLE customers ADD updated timestamp DEFAULT CURRENT_TIMESTAMP")
    writer = database.session()
    writer.run("BEGIN; UPDATE customers SET name = 'Ann Late', updated = now() WHERE id = 1")
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        database.sql("INSERT INTO customers VALUES (2, 'zoe@example.com', 'Zoe', '2037-01-01')")
        until(lambda: "Zoe" in daemon.ask("zoe@example.com"), "the later row")
        assert "Ann Lee" in daemon.ask()
        writer.run("COMMIT")
        until(lambda: "Ann Late" in daemon.ask(), "the row that was committed late")
        daemon.stop()
    writer.close()


def test_a_refused_login_is_tried_once_until_the_password_changes(database: Database, tmp_path: Path) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        (tmp_path / "password").write_text("wrong")
        why = daemon.wait_for("import_refused")["why"]
        assert "the server rejected the login (" in why
        assert "correct customers.password" in why
        assert "Ann Lee" in daemon.ask()
        assert why in json.dumps(daemon.health())
        refused = database.refused_logins()
        database.sql("UPDATE customers SET name = 'Ann Moe'")
        (tmp_path / "other").write_text(database.password)
        (tmp_path / "other").rename(tmp_path / "password")
        until(lambda: "Ann Moe" in daemon.ask(), "the changed name")
        assert database.refused_logins() == refused
        daemon.stop()


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_the_last_snapshot_serves_while_there_is_no_server(database: Database, tmp_path: Path, how: str) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        if how == "stopped":
            database.stop()
        else:
            database.kill()
        try:
            why = daemon.wait_for("import_refused")["why"]
            assert database.address in why
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


def test_a_first_fetch_that_fails_is_made_good_by_the_next(database: Database, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        database.stop()
        try:
            daemon = stack.enter_context(Shop(tmp_path, customers=False))
            why = daemon.wait_for("import_refused")["why"]
            assert database.address in why
            until(lambda: daemon.health()["fetch"]["error"] == why, "the reason in the health")
            assert [*(tmp_path / "state").rglob("*.tmp")] == []
        finally:
            database.start()
        daemon.wait_for("serving")
        until(lambda: "Ann Lee" in daemon.ask(), "the first card")
        daemon.stop()


@with_one
def test_a_changed_row_is_shown_soon(database: Database, tmp_path: Path) -> None:
    """Within refresh and a tenth, and two seconds for fetch, import and workers."""
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        for number in range(3):
            database.sql(f"UPDATE customers SET name = 'Ann {number}.'")
            began = time.monotonic()
            until(lambda wanted=f"Ann {number}.": wanted in daemon.ask(), "the changed name")
            within(1.1 * 0.2 + 2, time.monotonic() - began, "showing a changed row")
        daemon.stop()


def test_the_last_snapshot_serves_while_the_server_refuses(database: Database, tmp_path: Path) -> None:
    with Shop(tmp_path, customers=False) as daemon:
        daemon.wait_for("serving")
        grant(database, "REVOKE", "FROM")
        try:
            why = daemon.wait_for("import_refused")["why"]
            assert ("this user lacks a privilege" in why) or ("this user has no access to that database" in why)
            assert "SELECT on" in why
            assert "Ann Lee" in daemon.ask()
        finally:
            grant(database, "GRANT", "TO")
        database.sql("UPDATE customers SET name = 'Ann Moe'")
        until(lambda: "Ann Moe" in daemon.ask(), "the changed name")
        assert '"refused": ""' in json.dumps(daemon.healthy())
        daemon.stop()


def test_imported_and_checked(database: Database, tmp_path: Path) -> None:
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
    assert f"{database.address} (customers): 1 customer, 1 with an address" in found["customers"]
    database.sql("DROP TABLE orders")
    shown = run(tmp_path, "import")
    missing = of_kind(database, 'relation "orders" does not exist', "Table 'shop.orders' doesn't exist")
    said = f"{database.address} (related.orders): there is no such table ({missing}"
    assert shown.returncode == 1
    assert said in shown.stderr


@with_one
def test_previewed(database: Database, tmp_path: Path) -> None:
    with Shop(tmp_path, customers=False) as daemon:  # it writes the files
        daemon.wait_for("serving")
        daemon.stop()
    command = [
        sys.executable,
        "-m",
        "appliance",
        "preview",
        "--no-browser",
        "--config",
        str(tmp_path / "sidebard.toml"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as preview:
        assert preview.stdout is not None
        try:
            page = preview.stdout.readline().strip()
            search = f"{page.rpartition('/')[0]}/customers?search=ann"
            until(lambda: b"Ann Lee" in urllib.request.urlopen(search).read(), "the customer")
        finally:
            preview.terminate()
