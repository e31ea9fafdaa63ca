"""What commands take if nothing is named: the config of this folder, the columns of addresses by their contents."""

import pytest
from click.testing import CliRunner

from appliance.cli import card, common
from appliance.config.reader import ConfigError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("appliance.bootstrap.installation.PACKAGED", tmp_path / "etc" / "sidebard.toml")
    return tmp_path


def test_the_config_of_this_folder(folder):
    (folder / "c.csv").write_text("mail\nann@example.com\n")
    (folder / "sidebard.toml").write_text(
        '[customers]\nsource = "c.csv"\naddresses = ["mail"]\n[[app]]\nsecrets = ["file:secret"]\n'
    )
    result = CliRunner().invoke(card.command, ["ann@example.com"])
    assert (result.exit_code, result.output) == (0, "ann@example.com\nMail: ann@example.com\n")


def test_without_any_it_says_how_to_make_one(folder):
    with pytest.raises(ConfigError, match=r"no sidebard\.toml in this folder; make one with sidebard init, or name"):
        common.find_settings(None)


def test_one_that_cannot_be_read_is_not_one_that_is_missing(folder):
    (folder / "etc").write_text("in the way")
    with pytest.raises(ConfigError, match=r"etc/sidebard\.toml: cannot be read: Not a directory"):
        common.find_settings(None)


CUSTOMERS = {
    "by contents": ("c.csv", b"id;E-Mail\n1;ann@example.com\n", ("E-Mail",)),
    "called email": ("c.csv", b"work,Email\nbob@example.com,ann@example.com\n", ("email",)),
    "none": ("c.csv", b"id\n1\n", ("email",)),
    "no file": ("c.csv", None, ("email",)),
    "a database": ("c.db", b"", ("email",)),
}


@pytest.mark.parametrize(("name", "content", "addresses"), CUSTOMERS.values(), ids=CUSTOMERS)
def test_the_columns_of_addresses(name, content, addresses, folder):
    if content is not None:
        (folder / name).write_bytes(content)
    settings = common.settings_without_secret(None, folder / name)
    assert settings.customers.addresses == addresses
