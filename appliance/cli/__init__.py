"""The command line: one module a command, imported only when it is called, so that `--version` stays fast."""

from __future__ import annotations

import importlib
import sys
import traceback
from contextlib import suppress
from typing import Final, NoReturn

import click

from appliance import __version__
from appliance.cli import interrupts, streams

# Command -> module here that holds it as `command`.
COMMANDS: Final = {
    "serve": "serve",
    "check": "check",
    "import": "import_",
    "card": "card",
    "preview": "preview",
    "sign": "sign",
    "requests": "requests",
    "replay": "replay",
}

_TAKE_INTERRUPTS: Final = ("serve", "preview")  # themselves

FAILED: Final = 1
START_FAILED: Final = 3
BUG: Final = 70
CONFIG_WRONG: Final = 78


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"appliance.cli.{COMMANDS[cmd_name]}")
        command: click.Command = module.command
        return command


def _print_version(*, verbose: bool) -> None:
    import ssl

    import tornado

    python = sys.version.partition(" ")[0]
    click.echo(f"sidebard {__version__} (Python {python}, {ssl.OPENSSL_VERSION}, Tornado {tornado.version})")
    if not verbose:
        return
    import platform
    import sqlite3

    from cryptography.hazmat.backends.openssl import backend

    packaged = "a packaged executable" if hasattr(sys, "_MEIPASS") else "run from source"
    click.echo(f"TLS:          {ssl.OPENSSL_VERSION}")
    click.echo(f"certificates: {backend.openssl_version_text()} (of cryptography)")
    click.echo(f"SQLite:       {sqlite3.sqlite_version}")
    click.echo(f"system:       {platform.platform()}, {packaged}")


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, help="Show versions and exit.")
@click.option("--verbose", is_flag=True, help="With --version: of what is inside, too; both copies of OpenSSL.")
@click.pass_context
def cli(context: click.Context, version: bool, verbose: bool) -> None:
    """Answer Help Scout sidebar requests from a local customer list, over HTTPS.

    Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 the answer is no, 2 wrong usage,
    3 the start failed, 70 a bug, 78 the config is wrong.
    """
    if context.invoked_subcommand not in _TAKE_INTERRUPTS:
        interrupts.allow()
    if version:
        _print_version(verbose=verbose)
        context.exit()
    if verbose:
        raise click.UsageError("--verbose goes with --version")
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    interrupts.block()
    streams.open_missing()
    try:
        try:
            cli.main(prog_name="sidebard", standalone_mode=True)
        finally:
            sys.stdout.flush()
            interrupts.ignore()
    except KeyboardInterrupt:  # at the last moment: click deals with those of before
        interrupts.ignore()
        sys.exit(FAILED)
    except Exception as error:
        # standalone_mode has dealt with usage and with our own faults; what is left is a bug, or nobody to tell it.
        if isinstance(error, OSError) and streams.is_their_fault(error):
            with suppress(OSError):
                if not isinstance(error, BrokenPipeError):
                    click.echo(f"sidebard: the output cannot be written: {error.strerror}", err=True)
            streams.give_up()
            sys.exit(FAILED)
        traceback.print_exc()
        click.echo(f"sidebard: a bug, {type(error).__name__}; please report it with the lines above", err=True)
        sys.exit(BUG)
    sys.exit(0)
