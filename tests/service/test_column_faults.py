"""What `[app.display]` names and the data has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.bootstrap.column_faults import column_faults
from appliance.bootstrap.wiring import import_spec_of
from appliance.config.loader import load
from appliance.customers.snapshot_store import newest
from tests.daemon import Daemon
from tests.factory import run_import, write_csv

CONFIG = """[customers]
source = "customers.csv"
addresses = ["email"]
[related.orders]
source = "orders.csv"
key = "email"
on = "email"
[[app]]
secrets = ["file:secret"]
[app.display]
"""
ORDERS = (("email", "number", "Total"), ("ann@example.com", "7", "1.50"))


def faults(folder: Path, display: str) -> list[str]:
    """Give the faults of these lines, the first of which is line 11."""
    write_csv(folder / "customers.csv")
    write_csv(folder / "orders.csv", ORDERS)
    file = folder / "sidebard.toml"
    file.write_text(CONFIG + display)
    settings = load(file, {"HOME": str(folder)})
    run_import(import_spec_of(settings), folder / "state")
    facts = newest(folder / "state", import_spec_of(settings).digest())
    assert facts is not None
    return [str(fault).replace(f"{folder}/", "") for fault in column_faults(settings, facts)]


@pytest.mark.parametrize(
    "display",
    [
        "",
        'columns = ["PLAN", "orders", "Orders.total"]',
        'titles = { Plan = "x", orders = "y", "orders.Total" = "z" }',
        'links = { name = "https://x.example/{plan}", "orders.number" = "https://x.example/{total}" }',
        'url_column = "name"',
    ],
)
def test_what_is_there_is_no_fault(display: str, tmp_path: Path) -> None:
    assert faults(tmp_path, display) == []


@pytest.mark.parametrize(
    ("display", "sentence"),
    [
        (
            'columns = [\n"plan",\n"pln"]',
            'sidebard.toml:11: app[0].display.columns[1]: "pln" is not a column of the customers; did you mean "plan"?',
        ),
        (
            'columns = ["orders.totl"]',
            'sidebard.toml:11: app[0].display.columns[0]: "totl" is not a column of [related.orders];'
            ' did you mean "orders.Total"?',
        ),
        (
            'titles = { qqq = "x" }',
            'sidebard.toml:11: app[0].display.titles.qqq: "qqq" is not a column of the customers;'
            " the columns are email, name, plan, orders, orders.email, orders.number, orders.Total",
        ),
        (
            '[app.display.links]\nname = "https://x.example/{nam}"',
            'sidebard.toml:12: app[0].display.links.name: "nam" is not a column of the customers; did you mean "name"?',
        ),
        (
            'url_column = "profile"',
            'sidebard.toml:11: app[0].display.url_column: "profile" is not a column of the customers;'
            " the columns are email, name, plan, orders, orders.email, orders.number, orders.Total",
        ),
    ],
)
def test_what_is_not_there_is_named_with_its_line(display: str, sentence: str, tmp_path: Path) -> None:
    assert faults(tmp_path, display) == [sentence]


def test_a_service_warns_and_leaves_it_out(tmp_path: Path) -> None:
    with Daemon(tmp_path, app='[app.display]\ncolumns = ["plan", "pln"]') as daemon:
        (why,) = daemon.wait_for("column_missing")["why"]
        daemon.wait_for("serving")
        assert why.endswith('"pln" is not a column of the customers; did you mean "plan"?')
        assert daemon.ask().count("c-sb-list-item__label") == 1
