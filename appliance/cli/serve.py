"""`sidebard serve`: the daemon."""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
import time
from pathlib import Path

import click

from appliance.cli import BUG, common
from appliance.config.schema import ConfigError, Settings, with_overrides
from appliance.errors import StartFault
from appliance.observe import hooks, logs
from appliance.observe.writer import Writer
from appliance.service.supervisor import Supervisor, block_signals
from appliance.system import raw_output
from appliance.system.frozen import as_child_of_bootloader


@click.command("serve", short_help="Serve cards until SIGTERM or Ctrl-C.")
@common.config_option
@common.customers_option
@common.secret_option
@click.option("--listen", multiple=True, metavar="ADDR:PORT", help="Listen here instead; may be given more than once.")
@click.option("--workers", type=int, metavar="N", help="How many workers; 0: one a CPU.")
def command(
    config: Path | None,
    customers: Path | None,
    secret_file: Path | None,
    listen: tuple[str, ...],
    workers: int | None,
) -> None:
    """Serve cards until SIGTERM or Ctrl-C. Log lines go to stdout, as JSON unless that is a terminal."""
    block_signals()  # until the supervisor waits for them: none may end a start half-way
    terminal = sys.stdout.isatty()
    journal = logs.is_journal(sys.stdout.fileno(), os.environ)
    # A descriptor of the log's own: what anything else writes to stdout becomes a line of the log.
    own = fcntl.fcntl(sys.stdout.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    writer = Writer(own, prefix=logs.PRIORITIES[logs.REQUEST_LEVEL] if journal else b"")
    logs.configure(writer, time.time, terminal=terminal, journal=journal)
    hooks.install(time.monotonic)

    def read() -> Settings:
        settings = common.find_settings(config, customers, secret_file)
        settings = _with_flags(settings, listen, workers)
        logs.configure(writer, time.time, level=settings.log.level, terminal=terminal, journal=journal)
        return settings

    # What stops a start first may not be all that is wrong.
    command_line = ["sidebard", "check", *(["--config", str(config)] if config else [])]
    todo = f"see all that is wrong with {shlex.join(command_line)}" if customers is None else ""
    try:
        with as_child_of_bootloader(os.environ), raw_output.captured(time.monotonic) as raw:
            Supervisor(read, os.environ, writer, raw, terminal=terminal).run()
    except ConfigError as error:
        config_stop = common.ConfigStop(error, f"; nothing was started\n{todo}".rstrip())
        raise _stop(config_stop, "config_fault", list(map(str, error.faults)), todo) from None
    except StartFault as fault:
        start_stop = common.StartStop(f"{fault}\n{todo}".rstrip())
        raise _stop(start_stop, "start_failed", [str(fault)], todo) from None
    except (click.ClickException, click.exceptions.Exit):
        raise
    except Exception as error:
        if terminal:
            raise
        logs.log.critical("crash", **logs.describe(error))
        raise click.exceptions.Exit(BUG) from None
    finally:
        writer.close()


def _with_flags(settings: Settings, listen: tuple[str, ...], workers: int | None) -> Settings:
    try:
        return with_overrides(settings, listen or None, workers)
    except ConfigError as error:
        raise click.UsageError(str(error)) from None


def _stop(stop: common.Stop, event: str, sentences: list[str], todo: str) -> Exception:
    """Say why on stderr: to a person in plain words, and to whatever collects the log in lines like all others."""
    if sys.stderr.isatty():
        return stop
    logs.configure(sys.stderr.buffer, time.time, journal=logs.is_journal(sys.stderr.fileno(), os.environ))
    for sentence in sentences:
        logs.log.error(event, message=sentence, **({"todo": todo} if todo else {}))
    sys.stderr.flush()
    return click.exceptions.Exit(stop.exit_code)
