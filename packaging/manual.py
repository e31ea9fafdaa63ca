"""Write the man page sidebard(1) from the command line's own help, so that it cannot say anything else.

Usage: manual.py EPOCH > sidebard.1
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click

from appliance import __version__
from appliance.cli import COMMANDS, cli

FILES = {
    "/etc/sidebard/sidebard.toml": "The settings. Every key: /usr/share/doc/sidebard/sidebard.toml.",
    "/etc/sidebard/secret": "The secret that Help Scout signs with.",
    "/var/lib/sidebard": "The state: the snapshot of the customers, and the key of the log's hashes.",
    "/var/lib/sidebard-data": "A folder for the customers' exports.",
}


def page(epoch: int) -> str:
    """Return the page in man(7)'s language; `epoch` is its date, in seconds since 1970."""
    date = datetime.fromtimestamp(epoch, UTC).date().isoformat()
    top = click.Context(cli, info_name="sidebard")
    lines = [
        f'.TH SIDEBARD 1 "{date}" "sidebard {__version__}" "User Commands"',
        ".SH NAME",
        r"sidebard \- answers Help Scout sidebar requests from a local customer list",
        ".SH SYNOPSIS",
        r".B sidebard",
        r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]",
        ".SH DESCRIPTION",
        *_text(cli.help or ""),
        ".SH OPTIONS",
        *_options(cli, top),
        ".SH COMMANDS",
    ]
    for name in COMMANDS:
        command = cli.get_command(top, name)
        assert command is not None, name
        context = click.Context(command, info_name=name, parent=top)
        usage = " ".join(command.collect_usage_pieces(context))
        lines += [f".SS sidebard {name} {_escape(usage)}", *_text(command.help or ""), *_options(command, context)]
    lines.append(".SH FILES")
    for file, what in FILES.items():
        lines += [".TP", f".I {file}", _escape(what)]
    lines += [".SH SEE ALSO", "/usr/share/doc/sidebard/docs, systemctl(1), journalctl(1)"]
    return "\n".join(lines) + "\n"


def _text(text: str) -> Iterator[str]:
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        yield ".PP"
        yield _escape(" ".join(paragraph.replace("\b", "").split()))


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        if record := parameter.get_help_record(context):
            yield from (".TP", rf"\fB{_escape(record[0])}\fR", _escape(record[1]))


def _escape(text: str) -> str:
    text = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    sys.stdout.write(page(int(sys.argv[1])))
