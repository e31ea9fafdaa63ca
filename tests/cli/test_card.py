"""`sidebard card`, as an operator types it."""

import json

import pytest

from tests.cli.in_process import run
from tests.cli.test_commands import BODY, files

__all__ = ["files"]  # a fixture


def test_card_as_text(files):
    result = run("card", "ANN@example.com", "--config", files / "sidebard.toml")
    assert result.returncode == 0
    assert result.stdout.decode().splitlines() == ["Ann Lee", "Email: ann@example.com", "Plan: Pro"]


@pytest.mark.parametrize("flags", [(), ("--html",)], ids=["text", "html"])
def test_a_name_cannot_command_the_terminal(flags, tmp_path):
    customers = tmp_path / "customers.csv"
    customers.write_text("name,email\n\x1b]0;title\x07Ann\x9b31m,ann@example.com\n", "utf-8")
    result = run("card", "ann@example.com", "--customers", customers, *flags, HOME=str(tmp_path))
    assert "\ufffd]0;title\ufffdAnn\ufffd31m" in result.stdout.decode()


def test_card_needs_no_config_and_no_secret():
    result = run("card", "ada@example.com", "--customers", "conf/customers.csv", HOME="/nonexistent")
    assert result.returncode == 0
    assert result.stdout.decode().startswith("Ada Lovelace\n")


def test_card_of_a_stranger(files):
    result = run("card", "nobody@example.com", "--config", files / "sidebard.toml")
    assert result.returncode == 1
    assert result.stdout.decode().startswith("Not a customer\n")


def test_card_of_a_message(files):
    result = run("card", "--payload", "-", "--html", "--config", files / "sidebard.toml", stdin=BODY)
    assert result.returncode == 0
    assert result.stdout.startswith(b"<h4>Ann Lee</h4>")


def test_card_of_what_is_no_message(files):
    result = run("card", "--payload", "-", "--config", files / "sidebard.toml", stdin=b"[]")
    assert (result.returncode, result.stdout) == (1, b"The body is not a JSON object.\n")


def test_card_as_the_exact_bytes(files):
    result = run("card", "ann@example.com", "--response", "--config", files / "sidebard.toml")
    assert set(json.loads(result.stdout)) == {"html"}
    assert not result.stdout.endswith(b"\n")


def test_card_without_customers(files):
    (files / "customers.csv").unlink()
    result = run("card", "ann@example.com", "--config", files / "sidebard.toml")
    assert result.returncode == 1
    assert "customers.csv does not exist; put the file there" in result.stderr.decode()
