"""`sidebard init`: every odd file ends with a config that works or with one sentence; nothing is overwritten."""

import json
import re
import stat
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.bootstrap.proposal import Found, Proposal, look, render
from appliance.bootstrap.settings import load
from appliance.cli import init
from appliance.cli.common import CommandError
from appliance.ingest.sources.base import SourceError
from tests.cli.test_commands import run
from tests.ingest.bad_csv_files import CSV_FILES

GOOD = b"Name,E-Mail,Help Scout ID\nAnn,ann@example.com,7\nBob,bob@example.com,8\n"


@pytest.fixture
def customers(tmp_path):
    file = tmp_path / "customers.csv"
    file.write_bytes(GOOD)
    return file


def start(folder, *words):
    return run("init", *words, "--config", folder / "sidebard.toml", HOME=str(folder))


def test_from_a_file_to_a_card(customers, tmp_path):
    result = start(tmp_path, customers, "--yes", "--server-name", "sidebar.example.com")
    assert (result.returncode, result.stderr) == (0, b"")
    said = result.stdout.decode()
    secret = (tmp_path / "secret").read_text().strip()
    assert re.fullmatch("[A-Za-z0-9]{40}", secret)
    assert "\nAnn\n" in said
    assert f"URL:    https://sidebar.example.com/helpscout\n  Secret: {secret}\n" in said
    assert said.endswith(f"Next: sidebard serve --config {tmp_path / 'sidebard.toml'}\n")
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("secret", "sidebard.toml")}
    assert modes == {"secret": 0o600, "sidebard.toml": 0o644}
    settings = load(tmp_path / "sidebard.toml", {"HOME": str(tmp_path)})
    assert (settings.customers.addresses, settings.helpscout.column) == (("E-Mail",), "Help Scout ID")


def test_json(customers, tmp_path):
    said = json.loads(start(tmp_path, customers, "--json").stdout)
    assert said["addresses"] == ["E-Mail"]
    assert said["secret_file"] == str(tmp_path / "secret")


def test_never_over_a_config_and_a_copy_with_force(customers, tmp_path):
    (tmp_path / "sidebard.toml").write_text("mine")
    (tmp_path / "secret").write_text("theirs")
    result = start(tmp_path, customers, "--yes")
    assert result.returncode == 1
    assert b"exists; add --force" in result.stderr
    assert (tmp_path / "sidebard.toml").read_text() == "mine"
    assert start(tmp_path, customers, "--yes", "--force").returncode == 0
    assert (tmp_path / "sidebard.toml.old").read_text() == "mine"
    assert (tmp_path / "secret").read_text() == "theirs"


def test_without_a_terminal_it_says_how_to_go_on(customers, tmp_path):
    result = start(tmp_path, customers)
    assert result.returncode == 2
    assert b"add --yes" in result.stderr
    assert not (tmp_path / "secret").exists()


@pytest.mark.parametrize(
    ("content", "addresses", "encoding", "lacks_end"),
    [
        pytest.param(b"a;b\n1;x@example.com\n", ("b",), "", False, id="by contents"),
        pytest.param(b"mail,boss\nx@example.com,y@example.com\n", ("mail",), "", False, id="by name first"),
        pytest.param("email,n\nx@example.com,ü\n".encode("cp1252"), ("email",), "cp1252", False, id="cp1252"),
        pytest.param(b"email,n\nx@example.com,1", ("email",), "", True, id="no line end"),
        pytest.param("email\nx@example.com\n".encode("utf-16"), ("email",), "", False, id="utf-16"),
    ],
)
def test_what_it_sees(content, addresses, encoding, lacks_end, tmp_path):
    file = tmp_path / "c.csv"
    file.write_bytes(content)
    found = look(file, "customers")
    assert (found.addresses, found.encoding, found.lacks_last_end) == (addresses, encoding, lacks_end)


def test_a_database_file(tmp_path):
    from contextlib import closing
    from sqlite3 import connect

    with closing(connect(tmp_path / "c.db")) as database, database:
        database.execute("CREATE TABLE people(id, contact)")
        database.execute("INSERT INTO people VALUES(1, 'ann@example.com')")
    assert look(tmp_path / "c.db", "people").addresses == ("contact",)
    with pytest.raises(SourceError, match='no table or view "customers", only "people"'):
        look(tmp_path / "c.db", "customers")


@pytest.mark.parametrize("source", ["postgresql://a@b/c", "customers.xlsx", "no_such_file.csv"])
def test_sources_of_which_nothing_can_be_made(source, tmp_path):
    result = start(tmp_path, source, "--yes")
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "content", "spec", "sentence"), CSV_FILES)
def test_odd_files(name, content, spec, sentence, tmp_path):
    """A config whose customers can be imported, or one sentence."""
    file = tmp_path / name
    if callable(content):
        content(file)
    else:
        file.write_bytes(content)
    said = "a config"
    try:
        text = render(Proposal(found=look(file, "customers"), secret="secret"))
        with init.click.Context(init.command):
            init._try(text)
    except (SourceError, CommandError) as error:
        said = str(error)
    assert said.count("\n") == 0


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_name_is_rendered_as_toml(column, card):
    try:
        column.encode(), card.encode()
    except UnicodeError:
        return
    found = Found(source=init.Path("/c.csv"), addresses=(column,))
    tree = tomllib.loads(render(Proposal(found=found, secret="secret", card=card)))
    assert (tree["customers"]["addresses"], tree["app"][0]["card"]) == ([column], card)
