"""docs/cli.md has every command, with the options and the exit codes that it has."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import click

from appliance.cli import COMMANDS, cli
from appliance.errors import CONFIG_INVALID, FAILURE, INTERNAL_ERROR, START_FAILED, SUCCESS, WRONG_USAGE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text("utf-8")


def test_the_reference_is_what_the_commands_say() -> None:
    written = runpy.run_path(str(ROOT / "packaging" / "reference.py"))["written"]
    assert written(PAGE) == PAGE, "run `make reference`"


def test_the_table_has_every_command_and_no_option_that_it_has_not() -> None:
    rows = re.findall(r"(?m)^(\| `sidebard ([a-z]+).*)", PAGE)
    assert [name for _, name in rows] == list(COMMANDS)
    for row, name in rows:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        assert set(re.findall(r"(?<=[` ])--?[a-z][a-z-]*", row)) <= known, row


def test_every_exit_code_is_told() -> None:
    table = PAGE.partition("## Exit codes")[2].partition("<!--")[0]
    codes = [SUCCESS, FAILURE, WRONG_USAGE, START_FAILED, INTERNAL_ERROR, CONFIG_INVALID]
    assert list(map(int, re.findall(r"(?m)^\| (\d+) \|", table))) == codes
