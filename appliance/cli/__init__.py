"""The command line: one module a command, imported only when it is called, so that `--version` stays fast."""

from __future__ import annotations

import gc
import importlib
import sys
import traceback
from contextlib import suppress
from types import ModuleType
from typing import Final, NoReturn

import click

from appliance import __version__
from appliance.cli import interrupts, streams
from appliance.errors import CONFIG_INVALID, FAILURE, INTERNAL_ERROR, SUCCESS, WRONG_USAGE, SidebardError

# Command -> module here that holds it as `command`.
COMMANDS: Final = {
    "init": "init",
    "serve": "serve",
    "check": "check",
    "import": "import_",
    "card": "card",
    "preview": "preview",
    "sign": "sign",
    "ids": "ids",
    "requests": "requests",
    "replay": "replay",
}

_HANDLE_INTERRUPTS: Final = ("serve", "preview")  # themselves


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = _load(f"appliance.cli.{COMMANDS[cmd_name]}").command
        return command


def _load(name: str) -> ModuleType:
    """Import a module; what modules define stays, and to look for garbage among it would be a tenth of the start."""
    if name in sys.modules:
        return sys.modules[name]
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: "1 fault", "3 faults"."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


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

    from appliance.system.frozen import is_packaged, unpacked_folder

    packaged = "run from source"
    if is_packaged():
        packaged = "a packaged executable" if unpacked_folder() else "a packaged folder"
    optimised = "with" if is_packaged() or _is_optimised() else "without"
    click.echo(f"Python:       {python}, {platform.python_compiler()}, compiled {optimised} PGO and LTO")
    click.echo(f"TLS:          {ssl.OPENSSL_VERSION}")
    click.echo(f"certificates: {backend.openssl_version_text()} (used by cryptography)")
    click.echo(f"SQLite:       {sqlite3.sqlite_version}")
    click.echo(f"system:       {platform.platform()}, {packaged}")


def _is_optimised() -> bool:
    """Return whether the running Python was compiled with PGO and LTO; an executable is built of no other.

    Debian's is, but does so in its own rules, which leave no trace in the arguments of ./configure.
    """
    import sysconfig

    arguments = str(sysconfig.get_config_var("CONFIG_ARGS"))
    return sys.base_prefix == "/usr" or ("--enable-optimizations" in arguments and "--with-lto" in arguments)


@click.group(cls=_Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, help="Show versions and exit.")
@click.option(
    "--verbose",
    is_flag=True,
    help="With --version: also the versions of what is inside, such as both copies of OpenSSL.",
)
@click.pass_context
def cli(context: click.Context, version: bool, verbose: bool) -> None:
    """Answer Help Scout sidebar requests from a local customer list, over HTTPS.

    Results go to stdout, everything else to stderr. Exit codes: 0 success, 1 negative result, 2 wrong usage,
    3 start failed, 70 internal error, 78 invalid configuration.
    """
    if context.invoked_subcommand not in _HANDLE_INTERRUPTS:
        interrupts.allow()
    if version:
        _print_version(verbose=verbose)
        context.exit()
    if verbose:
        raise click.UsageError("--verbose requires --version")
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(WRONG_USAGE)


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
    except KeyboardInterrupt:  # at the last moment: click handles earlier ones
        interrupts.ignore()
        sys.exit(FAILURE)
    except SidebardError as error:
        _exit(error.exit_code, _text_of(error))
    except Exception as error:
        # click has handled wrong usage; what is left is an output that cannot be written, or a bug.
        if isinstance(error, OSError) and streams.is_output_error(error):
            is_unread = isinstance(error, BrokenPipeError)  # such as by `head`: then there is nothing to report
            _exit(FAILURE, "" if is_unread else f"sidebard: the output cannot be written: {error.strerror}")
        name = type(error).__name__
        end = f"sidebard: internal error ({name}); please report it with the lines above"
        _exit(INTERNAL_ERROR, f"{traceback.format_exc()}{end}")
    sys.exit(SUCCESS)


def _exit(code: int, text: str = "") -> NoReturn:
    """Exit with this code, also if the text cannot be written to stderr."""
    with suppress(OSError):
        if text:
            click.echo(text, err=True)
    streams.discard_output()
    sys.exit(code)


def _text_of(error: SidebardError) -> str:
    """Return what is wrong, and for a config, which may have many faults, how many there are."""
    if error.exit_code != CONFIG_INVALID:
        return str(error)
    return f"{error}\n{counted(len(error.sentences), 'fault')}"
