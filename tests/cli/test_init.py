"""`sidebard init` by its options: a config that works or one sentence, nothing overwritten, nothing left behind."""

import json
import os
import re
import stat
from contextlib import closing
from sqlite3 import connect

import pytest
import trustme
from click.testing import CliRunner

from appliance.bootstrap.settings import load
from appliance.checks.registry import all_checks
from appliance.cli import init
from appliance.errors import SidebardError
from tests.cli.init_files import SOURCES, write
from tests.commands import run
from tests.daemon import ROOT

SUDO = "" if os.geteuid() == 0 else "sudo "  # port 443 is root's
GOOD = b"Name,E-Mail,Help Scout ID\nAnn,ann@example.com,7\nBob,bob@example.com,8\n"


@pytest.fixture
def customers(tmp_path):
    file = tmp_path / "customers.csv"
    file.write_bytes(GOOD)
    return file


def start(folder, *words):
    return run("init", *words, "--config", folder / "sidebard.toml", HOME=str(folder))


def test_from_a_file_to_a_card(customers, tmp_path):
    result = start(tmp_path, customers, "--yes", "--server-name", "https://Sidebar.example.com/", "--certificate=later")
    assert (result.returncode, result.stderr) == (0, b"")
    said = result.stdout.decode()
    secret = (tmp_path / "secret").read_text().strip()
    assert re.fullmatch("[A-Za-z0-9]{40}", secret)
    assert "customers.csv: 2 customers\n" in said
    assert "\n    Ann\n" in said
    assert f"Callback URL  https://sidebar.example.com/helpscout\n  Secret key    {secret}\n" in said
    assert said.endswith(f"Next: {SUDO}sidebard serve --config {tmp_path / 'sidebard.toml'}\n")
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("secret", "sidebard.toml")}
    assert modes == {"secret": 0o600, "sidebard.toml": 0o644}
    settings = load(tmp_path / "sidebard.toml", {"HOME": str(tmp_path)})
    assert (settings.customers.addresses, settings.helpscout.column) == (("E-Mail",), "Help Scout ID")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["customers.csv", "secret", "sidebard.toml"]


def test_json_has_all_but_the_secret(customers, tmp_path):
    result = start(tmp_path, customers, "--json")
    said = json.loads(result.stdout)
    assert said["addresses"] == ["E-Mail"]
    assert said["check"]["status"] in ("warning", "fault")  # a certificate for trying; another test may have the port
    assert said["secret_file"] == str(tmp_path / "secret")
    assert said["url"] == "https://127.0.0.1:8443/helpscout"
    assert (tmp_path / "secret").read_text().strip() not in result.stdout.decode()


def test_never_over_a_config_and_copies_with_force(customers, tmp_path):
    (tmp_path / "sidebard.toml").write_text("mine")
    (tmp_path / "secret").write_text("their secret, 23 bytes.")
    result = start(tmp_path, customers, "--yes")
    assert result.returncode == 1
    assert b"exists; add --force" in result.stderr
    assert (tmp_path / "sidebard.toml").read_text() == "mine"
    assert start(tmp_path, customers, "--yes", "--force").returncode == 0
    again = start(tmp_path, customers, "--yes", "--force")
    assert b", and kept %b/secret\n" % bytes(tmp_path) in again.stdout
    assert (tmp_path / "sidebard.toml.old").read_text() == "mine"
    assert (tmp_path / "sidebard.toml.old2").read_text() == (tmp_path / "sidebard.toml").read_text()
    assert (tmp_path / "secret").read_text() == "their secret, 23 bytes."


def test_without_a_terminal_it_says_how_to_go_on(customers, tmp_path):
    result = start(tmp_path, customers)
    assert result.returncode == 2
    assert b"add --yes" in result.stderr
    assert not (tmp_path / "secret").exists()


WRONG = {
    "no server": (["--server-name", "my server"], 2),
    "an address": (["--server-name", "192.0.2.1"], 2),
    "an authority's certificate for nobody": (["--certificate", "acme"], 2),
    "no certificate": (["--certificate", "nothing.pem"], 2),
    "a certificate that is none": (["--certificate", str(ROOT / "README.md")], 2),
    "no card": (["--card", "nothing.html"], 2),
    "a public status page": (["--admin", "0.0.0.0:9180"], 2),
    "no such folder": (["--config", "/nowhere/sidebard.toml"], 1),
}


@pytest.mark.parametrize(("options", "code"), WRONG.values(), ids=WRONG)
def test_wrong_options_are_said_and_leave_nothing(options, code, customers, tmp_path):
    result = run("init", customers, "--yes", "--config", tmp_path / "sidebard.toml", *options, HOME=str(tmp_path))
    assert (result.returncode, result.stdout) == (code, b"")
    assert result.stderr
    assert list(tmp_path.iterdir()) == [customers]


@pytest.fixture
def init_in(tmp_path, monkeypatch):
    """Give a function that runs the command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    checks = tuple(each for each in all_checks() if each.name not in ("acme", "sockets"))  # not of this folder
    monkeypatch.setattr("appliance.cli.init.all_checks", lambda: checks)

    def invoke(*words):
        result = CliRunner().invoke(init.command, list(words))
        if isinstance(result.exception, SidebardError):
            return result.exception.exit_code, str(result.exception)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.output

    return invoke


@pytest.mark.parametrize(("file", "content", "others"), SOURCES)
def test_any_source_ends_with_a_good_config_or_one_sentence(file, content, others, init_in, tmp_path):
    write(tmp_path / file, content)
    for name, other in others.items():
        (tmp_path / name).write_bytes(other)
    before = sorted(tmp_path.iterdir())
    code, said = init_in(file, "--json")
    if code:
        assert code == 1
        assert len(said.splitlines()) == 1
        assert str(tmp_path / file) in said
        assert sorted(tmp_path.iterdir()) == before
        return
    assert [each for each in json.loads(said)["check"]["checks"] if each["status"] == "fault"] == []


def test_there_are_enough_sources():
    assert len(SOURCES) >= 200


@pytest.mark.parametrize("source", ["postgresql://a@b/c", "customers.xlsx", "no_such_file.csv", "", "/"])
def test_sources_of_which_nothing_can_be_made(source, init_in, tmp_path):
    code, said = init_in(source, "--yes")
    assert code == 1
    assert len(said.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_without_a_source_or_a_file_it_says_so(init_in, tmp_path):
    code, said = init_in("--yes")
    assert (code, said.partition(";")[0]) == (1, f"{tmp_path}/customers.csv does not exist")


def test_the_only_file_of_a_folder_is_the_source(init_in, tmp_path):
    (tmp_path / "export.csv").write_bytes(GOOD)
    code, said = init_in("--yes")
    assert code == 0
    assert "export.csv: 2 customers" in said


NAMES = {
    "a public name": ("Sidebar.Example.com", ("sidebar.example.com",)),
    "a name in other letters": ("bücher.de", ("xn--bcher-kva.de",)),
    "a name of this network": ("sidebar.local", ()),
    "no name": ("", ()),
}


@pytest.mark.parametrize(("name", "domains"), NAMES.values(), ids=NAMES)
def test_with_a_public_name_the_certificate_is_obtained_automatically(name, domains, init_in, tmp_path):
    (tmp_path / "customers.csv").write_bytes(GOOD)
    code, said = init_in("customers.csv", "--yes", "--server-name", name)
    assert code == 0, said
    settings = load(tmp_path / "sidebard.toml", os.environ)
    assert settings.acme.domains == domains
    assert [str(each) for each in settings.server.listen] == ["0.0.0.0:443" if name else "127.0.0.1:8443"]


def test_a_certificate_and_the_key_beside_it(init_in, tmp_path):
    (tmp_path / "customers.csv").write_bytes(GOOD)
    certificate = trustme.CA().issue_cert("sidebar.example.com")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "fullchain.pem")
    (tmp_path / "key.pem").write_text("of something else")
    certificate.private_key_pem.write_to_path(tmp_path / "fullchain.key")
    code, said = init_in("customers.csv", "--yes", "--certificate", "fullchain.pem")
    assert code == 0, said
    settings = load(tmp_path / "sidebard.toml", os.environ)
    assert (settings.tls.certificate, settings.tls.key) == (tmp_path / "fullchain.pem", tmp_path / "fullchain.key")


def test_an_example_card_is_copied_to_be_changed(init_in, tmp_path):
    for file in (ROOT / "conf" / "cards" / "shop").glob("*.csv"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    code, said = init_in("customers.csv", "--yes", "--card", "shop")
    assert code == 0
    assert "The card failed" not in said
    assert (tmp_path / "card.html").read_bytes() == (ROOT / "conf/cards/shop/card.html").read_bytes()
    settings = load(tmp_path / "sidebard.toml", os.environ)
    assert settings.apps[0].card == tmp_path / "card.html"
    assert [(each.name, each.key, each.on, each.order_by) for each in settings.related] == [
        ("orders", "customer_id", "id", "-placed_at")
    ]


def test_related_rows_that_cannot_be_imported_are_left_out(init_in, tmp_path, monkeypatch):
    monkeypatch.setattr("appliance.ingest.survey.ROWS", 10)
    (tmp_path / "customers.csv").write_bytes(b"id,email\n1,ann@example.com\n2,bob@example.com\n")
    rows = b"1,x\n" * 5000  # more than are looked at
    (tmp_path / "orders.csv").write_bytes(b"customer_id,what\n" + rows + b'1,"open\n')
    code, said = init_in("customers.csv", "--yes")
    assert code == 0, said
    assert load(tmp_path / "sidebard.toml", os.environ).related == ()


def test_tables_of_a_database_beside_the_customers_are_related(init_in, tmp_path):
    with closing(connect(tmp_path / "shop.db")) as database, database:
        database.execute("CREATE TABLE people(id INTEGER PRIMARY KEY, contact)")
        database.execute("INSERT INTO people(contact) VALUES('ann@example.com'), ('bob@example.com')")
        database.execute("CREATE TABLE orders(number, user_id)")
        database.execute("INSERT INTO orders VALUES(10, 1), (11, 1)")
    code, said = init_in("shop.db", "--yes")
    assert code == 0, said
    settings = load(tmp_path / "sidebard.toml", os.environ)
    assert (settings.customers.table, settings.customers.addresses) == ("people", ("contact",))
    assert [(each.name, each.table, each.key, each.on) for each in settings.related] == [
        ("orders", "orders", "user_id", "id")
    ]


def test_an_interrupt_while_it_writes_takes_all_back(customers, tmp_path, init_in, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("appliance.bootstrap.installation.Writing.write_config", interrupted)
    code, _ = init_in("customers.csv", "--yes")
    assert code == 1
    assert list(tmp_path.iterdir()) == [customers]


def test_a_folder_that_cannot_be_written_is_said(customers):
    result = run("init", customers, "--yes", "--config", "/proc/sidebard.toml")  # by root neither
    said = b"/proc/secret cannot be written: No such file or directory; check its folder\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, b"", said)
