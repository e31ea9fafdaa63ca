"""What the commands share: finding the settings, and turning faults into sentences and exit codes."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click

from appliance.bootstrap.settings import load
from appliance.bootstrap.state_folder import snapshot_folder
from appliance.bootstrap.wiring import plan_of
from appliance.cli import CONFIG_WRONG, FAILED, START_FAILED
from appliance.config.schema import App, ConfigError, Settings, from_flags
from appliance.config.values import BadValue, parse_duration
from appliance.customers.snapshot import Snapshot
from appliance.customers.snapshot_store import open_newest
from appliance.ingest.importer import import_customers
from appliance.ingest.spec import Plan, Refused

DEFAULT_CONFIG: Final = "/etc/sidebard/sidebard.toml"

_FILE: Final = click.Path(path_type=Path, readable=False)  # that it can be read is for whoever opens it to say

config_option: Final = click.option("--config", type=_FILE, metavar="FILE", help=f"Default: {DEFAULT_CONFIG}")
customers_option: Final = click.option(
    "--customers", type=_FILE, metavar="FILE", help='A customers file with a column "email", instead of a config.'
)
secret_option: Final = click.option(
    "--secret-file", type=click.Path(path_type=Path), metavar="FILE", help="A file that holds the shared secret."
)
ca_option: Final = click.option("--ca", type=_FILE, metavar="FILE", help="Trust the authorities in it alone.")
insecure_option: Final = click.option("--insecure", is_flag=True, help="Trust any certificate.")
app_option: Final = click.option("--app", "app_name", metavar="NAME", help="Which [[app]]; default: the first.")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: "1 fault", "3 faults"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class Duration(click.ParamType[float]):
    """A time above zero, in seconds, written as in the config; a number alone is in units of `bare`."""

    name = "duration"
    _UNITS: Final = {"s": "seconds", "ms": "milliseconds"}

    def __init__(self, bare: str = "s") -> None:
        self._bare = bare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse one; click reports what cannot be read."""
        try:
            return parse_duration(value + self._bare if value[-1:].isdigit() else value)
        except BadValue as bad:
            self.fail(
                f"it {bad.why}; write a number and its unit, such as 500ms, 30s, 10m or 1h;"
                f" a number alone is {self._UNITS[self._bare]}.",
                param,
                ctx,
            )


class Stop(click.ClickException):
    """A fault that ends the command with exit code 1: sentences on stderr that say where and what to do."""

    exit_code = FAILED

    def show(self, file: Any = None) -> None:
        """Print the sentences as they are."""
        click.echo(self.message, err=True)


class ConfigStop(Stop):
    """The settings cannot be used: every fault, one a line, and exit code 78."""

    exit_code = CONFIG_WRONG

    def __init__(self, error: ConfigError, end: str = "") -> None:
        """`end` is what to say behind the number of faults."""
        super().__init__(f"{error}\n{counted(len(error.faults), 'fault')}{end}")


class StartStop(Stop):
    """The start failed: exit code 3."""

    exit_code = START_FAILED


def find_settings(config: Path | None, customers: Path | None = None, secret_file: Path | None = None) -> Settings:
    """Read the config file, or make settings from --customers and --secret-file alone.

    Raises ConfigError and UsageError.
    """
    if config is not None and (customers or secret_file):
        raise click.UsageError("--config names a file that says all; leave out --customers and --secret-file")
    if customers is None:
        return load(config or Path(DEFAULT_CONFIG), os.environ)
    if secret_file is None:
        raise click.UsageError("--customers needs --secret-file FILE, the secret that Help Scout signs with")
    return from_flags(customers, secret_file, os.environ, Path.cwd())


def settings_without_secret(config: Path | None, customers: Path | None) -> Settings:
    """Read the config file, or make settings from --customers alone, for commands that sign with a secret of their own.

    Raises ConfigError and UsageError.
    """
    if customers is None:
        return find_settings(config)
    if config is not None:
        raise click.UsageError("--config names a file that says all; leave out --customers")
    return from_flags(customers, Path(os.devnull), os.environ, Path.cwd())  # the secret is never read


def find_app(settings: Settings, name: str | None) -> App:
    """Give the app of this name, or the first. Raises UsageError if there is none of this name."""
    for app in settings.apps:
        if name is None or app.name == name:
            return app
    names = ", ".join(app.name for app in settings.apps)
    raise click.UsageError(f'there is no app "{name}"; the config has {names}')


def trust(context: ssl.SSLContext, ca: Path | None, *, insecure: bool) -> ssl.SSLContext:
    """Have a client's context trust what --ca or --insecure says, or else what this machine does. Raises UsageError."""
    if ca is not None and insecure:
        raise click.UsageError("--ca and --insecure exclude each other")
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(ca)
        except ssl.SSLError:
            raise click.UsageError(f"{ca}: --ca names no PEM file with certificates; convert it") from None
        except OSError as error:
            raise click.UsageError(f"{ca}: --ca cannot be read: {error.strerror}") from None
    return context


def read_input(file: str) -> bytes:
    """Read a file's bytes, or stdin's for "-". Raises UsageError."""
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file}: {error.strerror}") from None


def open_customers(settings: Settings) -> Snapshot:
    """Return the snapshot that the service answers from, or one made of the source for this once. Raises Stop.

    It is closed when the command ends.
    """
    plan = plan_of(settings)
    opened = open_newest(snapshot_folder(settings), plan.digest()) or _import_for_once(plan)
    click.get_current_context().call_on_close(opened.close)
    return opened


def _import_for_once(plan: Plan) -> Snapshot:
    with tempfile.TemporaryDirectory(prefix="sidebard-") as folder:
        try:
            import_customers(plan, Path(folder), clock=time.time, timer=time.monotonic)
        except Refused as refused:
            raise Stop("\n".join([str(refused), *map(str, refused.bad)])) from None
        opened = open_newest(Path(folder), plan.digest())  # stays readable when the folder is gone
    if opened is None:
        raise Stop(f"{plan.source} was read, but not written to {tempfile.gettempdir()}; look at that disk")
    return opened
