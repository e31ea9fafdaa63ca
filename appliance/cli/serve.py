"""`sidebard serve`: the daemon."""

from __future__ import annotations

import fcntl
import os
import pwd
import shlex
import sys
import time
from pathlib import Path

import click

from appliance.checks.context import CheckContext
from appliance.checks.registry import log_findings
from appliance.cli import common, counted
from appliance.config.loader import with_overrides
from appliance.config.reader import ConfigError
from appliance.config.schema import Settings
from appliance.errors import INTERNAL_ERROR, SidebardError
from appliance.observe import hooks, logs
from appliance.observe.writer import Writer
from appliance.service.startup import serve
from appliance.service.supervisor import block_signals
from appliance.system import raw_output
from appliance.system.frozen import as_child_of_bootloader


@click.command("serve", short_help="Serve cards until SIGTERM or Ctrl-C.")
@common.config_option
@common.customers_option
@common.secret_option
@click.option("--listen", multiple=True, metavar="ADDR:PORT", help="Listen here instead; can be repeated.")
@click.option("--workers", type=int, metavar="N", help="Number of workers; 0 means one per CPU.")
def command(
    config: Path | None,
    customers: Path | None,
    secret_file: Path | None,
    listen: tuple[str, ...],
    workers: int | None,
) -> None:
    """Serve cards until SIGTERM or Ctrl-C. The log goes to stdout, as JSON unless that is a terminal."""
    block_signals()  # until the supervisor waits for them: none may interrupt a start
    terminal = sys.stdout.isatty()
    journal = logs.is_journal(sys.stdout.fileno(), os.environ)
    # The log has a descriptor of its own: what anything else writes to stdout becomes a line of the log.
    own = fcntl.fcntl(sys.stdout.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    writer = Writer(own, prefix=logs.PRIORITIES[logs.REQUEST_LEVEL] if journal else b"")
    logs.configure(writer, time.time, terminal=terminal, journal=journal)
    hooks.install(time.monotonic)

    def read() -> Settings:
        settings = common.find_settings(config, customers, secret_file)
        settings = _with_flags(settings, listen, workers)
        logs.configure(writer, time.time, level=settings.log.level, terminal=terminal, journal=journal)
        return settings

    # What stops a start first may not be the only problem.
    command_line = ["sidebard", "check", *(["--config", str(config)] if config else [])]
    hint = f"to see everything that is wrong, run {shlex.join(command_line)}" if customers is None else ""
    try:
        with as_child_of_bootloader(os.environ), raw_output.captured(time.monotonic) as raw:
            serve(read, os.environ, writer, raw, _check_start, terminal=terminal)
    except SidebardError as error:
        _report(error, hint)
        raise click.exceptions.Exit(error.exit_code) from None
    except (click.ClickException, click.exceptions.Exit):
        raise
    except Exception as error:
        if terminal:
            raise
        logs.log.critical("crash", **logs.describe(error))
        raise click.exceptions.Exit(INTERNAL_ERROR) from None
    finally:
        writer.close()


def _check_start(settings: Settings, user: pwd.struct_passwd | None) -> None:
    log_findings(CheckContext(settings, os.environ, file_user=user))


def _with_flags(settings: Settings, listen: tuple[str, ...], workers: int | None) -> Settings:
    try:
        return with_overrides(settings, listen or None, workers)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None


def _report(error: SidebardError, hint: str) -> None:
    """Print on stderr why nothing is served: for a person as text, otherwise as lines of the log."""
    is_config = isinstance(error, ConfigError)
    if sys.stderr.isatty():
        count = f"{counted(len(error.sentences), 'fault')}; nothing was started" if is_config else ""
        click.echo("\n".join(filter(None, (str(error), count, hint))), err=True)
        return
    logs.configure(sys.stderr.buffer, time.time, journal=logs.is_journal(sys.stderr.fileno(), os.environ))
    for sentence in error.sentences:
        event = "config_fault" if is_config else "start_failed"
        logs.log.error(event, message=sentence, **({"todo": hint} if hint else {}))
    sys.stderr.flush()
