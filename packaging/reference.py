"""Write the reference in docs/cli.md from the commands themselves: `make reference`. A test says when to."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click

from appliance.cli import COMMANDS, cli

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"
BEGIN = "<!-- Written by `make reference` from here on. -->\n"


def written(page: str) -> str:
    """Return the page with its reference as the commands are now."""
    top, begin, _ = page.partition(BEGIN)
    if not begin:
        raise ValueError(f"{PAGE.name} has no line {BEGIN!r}")
    return top + begin + "\n" + "\n".join(_reference())


def _reference() -> Iterator[str]:
    top = click.Context(cli, info_name="sidebard")
    for name in COMMANDS:
        command = cli.get_command(top, name)
        assert command is not None, name
        context = click.Context(command, info_name=name, parent=top)
        usage = " ".join(command.collect_usage_pieces(context))
        yield f"## sidebard {name}\n"
        yield f"    sidebard {name} {usage}\n"
        for paragraph in inspect.cleandoc(command.help or "").replace("\b", "").split("\n\n"):
            yield _escaped(" ".join(paragraph.split())) + "\n"
        yield "| option | |"
        yield "|---|---|"
        for parameter in command.params:  # all but --help, which every command has
            if record := parameter.get_help_record(context):
                yield f"| `{record[0].replace('|', chr(92) + '|')}` | {_escaped(record[1])} |"
        yield ""


def _escaped(text: str) -> str:
    """Return text with what Markdown would read as a link, an element or a cell's end made plain."""
    return re.sub(r"([\[\]<|*])", r"\\\1", text)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
