"""The command line: one module a command, imported only when it is called, so that `--version` stays fast."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Final, NoReturn

import click

from appliance import __version__

# Command -> module here that holds it as `command`.
COMMANDS: Final = {"serve": "serve", "check": "check", "import": "import_", "card": "card", "sign": "sign"}

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


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        import ssl

        import tornado

        python = sys.version.partition(" ")[0]
        click.echo(f"sidebard {__version__} (Python {python}, {ssl.OPENSSL_VERSION}, Tornado {tornado.version})")
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show versions and exit.",
)
def cli() -> None:
    """Answer Help Scout sidebar requests from a local customer list, over HTTPS.

    Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 the answer is no, 2 wrong usage,
    3 the start failed, 70 a bug, 78 the config is wrong.
    """


def main() -> NoReturn:
    """Run the command line and exit with its code."""
    try:
        cli.main(prog_name="sidebard", standalone_mode=True)
    except Exception as error:
        # standalone_mode has dealt with usage and with our own faults; what is left is a bug.
        traceback.print_exc()
        click.echo(f"sidebard: a bug, {type(error).__name__}; please report it with the lines above", err=True)
        sys.exit(BUG)
    sys.exit(0)
