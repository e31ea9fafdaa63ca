"""What the documents say of databases, done word for word in real ones, with the tables of the programs they name."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.bootstrap.wiring import import_spec_of
from appliance.config.loader import load
from appliance.customers.record import related_of, values_of
from appliance.ingest.sources import mysql_inspection, postgres_inspection
from tests.daemon import ROOT
from tests.factory import open_snapshot, run_import
from tests.system.databases.fetching import query
from tests.system.databases.mariadb_server import MariaDB
from tests.system.databases.postgres_server import Postgres

pytestmark = pytest.mark.system
DOCS = (ROOT / "docs/databases.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"(?m)^### (.+)\n\n```toml\n((?:.*\n)+?)```$", DOCS))

# The tables of each program, with one customer, and what a card has of it.
TABLES: dict[str, tuple[str, str, dict[str, str], dict[str, list[tuple[str, ...]]]]] = {
    "Easy Digital Downloads 3": (
        """CREATE TABLE wp_edd_customers (id bigint(20) unsigned AUTO_INCREMENT PRIMARY KEY,
            user_id bigint(20) unsigned, email varchar(100), name varchar(255), status varchar(20),
            purchase_value decimal(18,9), purchase_count bigint(20) unsigned, date_created datetime,
            date_modified datetime, uuid varchar(100));
        CREATE TABLE wp_edd_customer_email_addresses (id bigint(20) unsigned AUTO_INCREMENT PRIMARY KEY,
            customer_id bigint(20) unsigned, type varchar(20), status varchar(20), email varchar(100),
            date_created datetime, date_modified datetime, uuid varchar(100));
        CREATE TABLE wp_edd_orders (id bigint(20) unsigned AUTO_INCREMENT PRIMARY KEY, parent bigint(20) unsigned,
            order_number varchar(255), status varchar(20), type varchar(20), user_id bigint(20) unsigned,
            customer_id bigint(20) unsigned, email varchar(100), gateway varchar(100), currency varchar(20),
            total decimal(18,9), date_created datetime, date_completed datetime);
        INSERT INTO wp_edd_customers VALUES (7, 3, 'ada@example.com', 'Ada Lovelace', 'active', 58.000000000, 2,
            '2024-01-31 10:00:00', '2024-01-31 10:00:00', 'x');
        INSERT INTO wp_edd_customer_email_addresses (customer_id, type, email) VALUES (7, 'primary', 'ada@example.com'),
            (7, 'secondary', 'ada@home.example'), (7, 'secondary', 'ada@work.example');
        INSERT INTO wp_edd_orders (order_number, status, type, customer_id, currency, total, date_created) VALUES
            ('12', 'complete', 'sale', 7, 'EUR', 29.000000000, '2024-01-31 10:00:00'),
            ('13', 'complete', 'sale', 7, 'EUR', 29.000000000, '2024-05-01 10:00:00'),
            ('12-R-1', 'complete', 'refund', 7, 'EUR', -29.000000000, '2024-06-01 10:00:00')""",
        "ada@work.example",
        {"name": "Ada Lovelace", "purchases": "2", "spent": "58.00", "customer_since": "2024-01-31"},
        {
            "orders": [
                ("13", "29.00", "EUR", "complete", "2024-05-01"),
                ("12", "29.00", "EUR", "complete", "2024-01-31"),
            ]
        },
    ),
    "WooCommerce": (
        """CREATE TABLE wp_wc_customer_lookup (customer_id bigint(20) unsigned AUTO_INCREMENT PRIMARY KEY,
            user_id bigint(20) unsigned, username varchar(60) DEFAULT '' NOT NULL, first_name varchar(255) NOT NULL,
            last_name varchar(255) NOT NULL, email varchar(100) NULL, date_last_active timestamp NULL,
            date_registered timestamp NULL, country char(2) DEFAULT '' NOT NULL, postcode varchar(20),
            city varchar(100), state varchar(100));
        CREATE TABLE wp_wc_order_stats (order_id bigint(20) unsigned NOT NULL PRIMARY KEY,
            parent_id bigint(20) unsigned DEFAULT 0 NOT NULL, date_created datetime, num_items_sold int(11),
            total_sales double DEFAULT 0 NOT NULL, net_total double, returning_customer tinyint(1),
            status varchar(200) NOT NULL, customer_id bigint(20) unsigned NOT NULL);
        INSERT INTO wp_wc_customer_lookup VALUES (7, 3, 'ada', 'Ada', 'Lovelace', 'ada@example.com', NULL,
            '2024-01-31 10:00:00', 'GB', 'W1', 'London', ''), (8, NULL, '', '', '', '', NULL, NULL, '', '', '', '');
        INSERT INTO wp_wc_order_stats VALUES (101, 0, '2024-02-01 09:00:00', 1, 0.1e0 + 0.2e0, 0.3, 0, 'wc-completed',
            7),
            (102, 101, '2024-03-01 09:00:00', 1, -0.3, -0.3, 0, 'wc-completed', 7)""",
        "ada@example.com",
        {"name": "Ada Lovelace", "country": "GB", "city": "London", "registered": "2024-01-31"},
        {"orders": [("101", "0.30", "completed", "2024-02-01")]},
    ),
    "A copy of Stripe's objects": (
        """CREATE SCHEMA stripe;
        CREATE TABLE stripe.customers (id text PRIMARY KEY, email text, name text, created int, metadata jsonb);
        CREATE TABLE stripe.subscriptions (id text PRIMARY KEY, customer text, status text, current_period_end int);
        CREATE TABLE stripe.invoices (id text PRIMARY KEY, customer text, number text, status text, amount_paid bigint,
            currency text, created int);
        INSERT INTO stripe.customers VALUES ('cus_1', 'ada@example.com', 'Ada Lovelace', 1706695200, '{}');
        INSERT INTO stripe.subscriptions VALUES ('sub_1', 'cus_1', 'active', 1738317600);
        INSERT INTO stripe.invoices VALUES ('in_1', 'cus_1', 'A-1', 'paid', 2950, 'eur', 1706695200),
            ('in_2', 'cus_1', 'A-2', 'open', 0, 'eur', 1706695200);
        GRANT USAGE ON SCHEMA stripe TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA stripe TO reader""",
        "ada@example.com",
        {"name": "Ada Lovelace", "customer_since": "2024-01-31"},
        {"subscriptions": [("active", "2025-01-31")], "invoices": [("A-1", "29.50", "EUR", "2024-01-31")]},
    ),
    "Laravel with Cashier": (
        """CREATE TABLE users (id bigint(20) unsigned AUTO_INCREMENT PRIMARY KEY, name varchar(255) NOT NULL,
            email varchar(255) NOT NULL UNIQUE, email_verified_at timestamp NULL, password varchar(255) NOT NULL,
            remember_token varchar(100), created_at timestamp NULL, updated_at timestamp NULL, stripe_id varchar(255));
        CREATE TABLE subscriptions (id bigint(20) unsigned AUTO_INCREMENT PRIMARY KEY, user_id bigint(20) unsigned,
            type varchar(255), stripe_id varchar(255), stripe_status varchar(255), stripe_price varchar(255),
            quantity int(11), trial_ends_at timestamp NULL, ends_at timestamp NULL, created_at timestamp NULL);
        INSERT INTO users (id, name, email, password, created_at) VALUES
            (7, 'Ada Lovelace', 'ada@example.com', '$2y$10$x', '2024-01-31 10:00:00');
        INSERT INTO subscriptions (user_id, type, stripe_status) VALUES (7, 'default', 'active')""",
        "ada@example.com",
        {"name": "Ada Lovelace", "customer_since": "2024-01-31"},
        {"subscriptions": [("default", "active", "")]},
    ),
    "Rails with Devise": (
        """CREATE TABLE users (id bigserial PRIMARY KEY, email varchar NOT NULL, encrypted_password varchar NOT NULL,
            sign_in_count int DEFAULT 0 NOT NULL, current_sign_in_at timestamp, created_at timestamp(6) NOT NULL);
        INSERT INTO users VALUES (7, 'ada@example.com', '$2a$12$x', 5, '2024-06-01 08:00:00', '2024-01-31 10:00:00');
        GRANT SELECT ON users TO reader""",
        "ada@example.com",
        {"sign_ins": "5", "last_seen": "2024-06-01", "customer_since": "2024-01-31"},
        {},
    ),
    "Django": (
        """CREATE TABLE auth_user (id serial PRIMARY KEY, password varchar(128), last_login timestamptz,
            is_superuser bool, username varchar(150), first_name varchar(150), last_name varchar(150),
            email varchar(254), is_staff bool, is_active bool, date_joined timestamptz);
        INSERT INTO auth_user VALUES (7, 'x', NULL, false, 'ada', 'Ada', 'Lovelace', 'ada@example.com', false, true,
            '2024-01-31 10:00:00+00'), (8, 'x', NULL, false, 'gone', '', '', 'gone@example.com', false, false, now());
        GRANT SELECT ON auth_user TO reader""",
        "ada@example.com",
        {"name": "Ada Lovelace", "last_seen": "", "customer_since": "2024-01-31"},
        {},
    ),
}


def test_every_example_is_tried() -> None:
    assert list(EXAMPLES) == list(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_example(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> None:
    tables, address, fields, related = TABLES[name]
    scheme, database = re.findall(r'source = "(\w+)://sidebard@db.example.com/(\w+)"', EXAMPLES[name])[0]
    running: Postgres | MariaDB = request.getfixturevalue("maria" if scheme == "mysql" else "server")
    if scheme == "mysql":
        running.sql(tables)
        place = "shop"
    else:
        running.sql(f"CREATE DATABASE {database}")
        running.sql(tables, database)
        place = database
    config = EXAMPLES[name].replace(
        f'sidebard@db.example.com/{database}"', f'reader@127.0.0.1:{running.port}/{place}"\npassword = "file:password"'
    )
    (tmp_path / "sidebard.toml").write_text(f'{config}\n[[app]]\nsecrets = ["file:password"]\n')
    (tmp_path / "password").write_text(running.password)
    (tmp_path / "password").chmod(0o600)
    spec = import_spec_of(load(tmp_path / "sidebard.toml", {"HOME": str(tmp_path)}))
    assert run_import(spec, tmp_path / "state").rows == 1
    snapshot = open_snapshot(tmp_path / "state", spec)
    assert snapshot is not None
    (found,) = snapshot.find((address,))
    assert {key: found[key] for key in fields} == fields
    for of, rows in related.items():
        assert [tuple(values_of(row))[1:] for row in related_of(found, of)] == rows


@pytest.mark.parametrize("fixture", ["server", "mariadb_server"], ids=["postgresql", "mariadb"])
def test_the_reader_of_the_document_may_read_and_nothing_else(
    request: pytest.FixtureRequest, tmp_path: Path, fixture: str
) -> None:
    running: Postgres | MariaDB = request.getfixturevalue(fixture)
    statements = re.findall(r"```sql\n(CREATE (?:ROLE|USER).*?)```", DOCS, re.DOTALL)[fixture == "mariadb_server"]
    for name, ours in (("sidebard", "keeper"), ("shop", "kept"), ("192.0.2.7", "127.0.0.1")):
        statements = statements.replace(name, ours)
    running.sql("CREATE DATABASE kept", "postgres" if fixture == "server" else "")
    running.sql(f"CREATE TABLE users (id int); CREATE TABLE orders (id int); {statements}", "kept")
    inspect = postgres_inspection.inspect if fixture == "server" else mysql_inspection.inspect
    queries = [query("SELECT id FROM users"), query("SELECT id FROM orders")]
    reader = running.server("keeper", database="kept", password=lambda: "...")
    found = inspect(reader, queries, [tmp_path / "0.csv", tmp_path / "1.csv"], 1)
    assert [remark.level for remark in found.remarks] == ["ok"] * 3


def test_the_readme_leads_from_a_database_to_a_card(server: Postgres, tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text("utf-8").partition("## Customers in a database\n")[2].partition("\n## ")[0]
    ((_, role), (_, commands)) = re.findall(r"```(sql|sh)\n(.*?)```", section, re.DOTALL)
    server.sql(
        f"""CREATE TABLE users (id int PRIMARY KEY, email text, name text, plan text, password_hash text);
        INSERT INTO users VALUES (1001, 'ada@example.com', 'Ada Lovelace', 'Pro', 'x'); {role}"""
    )
    done = subprocess.run(
        ["bash", "-e", "-u"],
        input=commands.replace("db.example.com", f"127.0.0.1:{server.port}"),
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the query is valid; its columns are id int4, email text, name text, plan text" in done.stdout
    assert "fault" not in done.stdout
    assert done.stdout.endswith("Ada Lovelace\nID: 1001\nEmail: ada@example.com\nPlan: Pro\n")
