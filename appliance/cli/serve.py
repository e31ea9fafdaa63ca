"""`sidebard serve`: the daemon."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path

import click

from appliance.cli import BUG, common
from appliance.config import ConfigError, Settings, with_overrides
from appliance.observe import hooks, logs
from appliance.observe.writer import Writer
from appliance.service import raw_output
from appliance.service.supervisor import Supervisor
from appliance.service.unpacked import as_child_of_bootloader
from appliance.service.wiring import StartFault


@click.command("serve")
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
    """Serve cards until SIGTERM. Log lines go to stdout, as JSON unless that is a terminal."""
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

    try:
        with as_child_of_bootloader(os.environ), raw_output.captured(time.monotonic) as raw:
            Supervisor(read, os.environ, writer, raw, terminal=terminal).run()
    except ConfigError as error:
        raise _stop(common.ConfigStop(error), "config_fault", list(map(str, error.faults))) from None
    except StartFault as fault:
        raise _stop(common.StartStop(str(fault)), "start_failed", [str(fault)]) from None
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


def _stop(stop: common.Stop, event: str, sentences: list[str]) -> Exception:
    """Say why on stderr: to a person in plain words, and to whatever collects the log in lines like all others."""
    if sys.stderr.isatty():
        return stop
    logs.configure(sys.stderr.buffer, time.time, journal=logs.is_journal(sys.stderr.fileno(), os.environ))
    for sentence in sentences:
        logs.log.error(event, message=sentence)
    sys.stderr.flush()
    return click.exceptions.Exit(stop.exit_code)
