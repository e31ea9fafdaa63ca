"""What the commands share: their common options, and finding settings, apps and customers."""

from __future__ import annotations

import os
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click

from appliance.bootstrap.installation import PACKAGED, find_config
from appliance.bootstrap.settings import from_flags, load
from appliance.bootstrap.state_folder import snapshot_folder
from appliance.bootstrap.wiring import import_spec_of
from appliance.config.reader import ConfigError, Fault
from appliance.config.schema import App, Settings
from appliance.config.values import InvalidValueError, parse_duration
from appliance.customers.column_name import name_key, shown_name
from appliance.customers.snapshot import Snapshot
from appliance.customers.snapshot_store import open_newest
from appliance.errors import SidebardError
from appliance.ingest.sources import csv_file
from appliance.ingest.sources.base import SourceError
from appliance.ingest.spec import ImportRefused, ImportSpec

DEFAULT_CONFIG: Final = str(PACKAGED)

_EMAIL: Final = ("email",)

_FILE: Final = click.Path(path_type=Path, readable=False)  # whether it can be read is checked when it is opened

config_option: Final = click.option(
    "--config",
    type=_FILE,
    metavar="FILE",
    help=f"The config file (default: ./sidebard.toml, or else {DEFAULT_CONFIG}; for root the other way round).",
)
customers_option: Final = click.option(
    "--customers",
    type=_FILE,
    metavar="FILE",
    help="Use this customers file instead of a config; its address columns are found automatically.",
)
secret_option: Final = click.option(
    "--secret-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Use the secret in this file, instead of a config.",
)
ca_option: Final = click.option(
    "--ca", type=_FILE, metavar="FILE", help="Trust only the certificate authorities in FILE."
)
insecure_option: Final = click.option("--insecure", is_flag=True, help="Accept any certificate.")
app_option: Final = click.option(
    "--app", "app_name", metavar="NAME", help="Which [[app]] of the config (default: the first)."
)


class Duration(click.ParamType[float]):
    """A duration above zero, in seconds, written as in the config; a bare number is in units of `bare`."""

    name = "duration"
    _UNITS: Final = {"s": "seconds", "ms": "milliseconds"}

    def __init__(self, bare: str = "s") -> None:
        self._bare = bare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse one; click reports what cannot be read."""
        try:
            return parse_duration(value + self._bare if value[-1:].isdigit() else value)
        except InvalidValueError as error:
            self.fail(
                f"it {error.reason}; write a number and its unit, such as 500ms, 30s, 10m or 1h;"
                f" a bare number is in {self._UNITS[self._bare]}.",
                param,
                ctx,
            )


class CommandError(SidebardError):
    """A command cannot do what it was asked to do."""


def find_settings(config: Path | None, customers: Path | None = None, secret_file: Path | None = None) -> Settings:
    """Read the config file, or make settings from --customers and --secret-file alone.

    Raises ConfigError and UsageError.
    """
    if config is not None and (customers or secret_file):
        raise click.UsageError("--config cannot be combined with --customers or --secret-file")
    if customers is None:
        return load(config or _find_config(), os.environ)
    if secret_file is None:
        raise click.UsageError("--customers requires --secret-file FILE, with the secret that the help desk signs with")
    return from_flags(customers, secret_file, os.environ, Path.cwd(), _address_columns(customers))


def _find_config() -> Path:
    """Return the config of a command for which none is named. Raises ConfigError if there is none."""
    file = find_config()
    try:
        file.lstat()
    except FileNotFoundError:
        reason = f"there is no {DEFAULT_CONFIG}, and no {file.name} in this folder"
        hint = "make one with sidebard init, or name another with --config"
        raise ConfigError([Fault(None, None, "", reason, None, hint)]) from None
    except OSError:  # the loader says why
        pass
    return file


def settings_without_secret(config: Path | None, customers: Path | None) -> Settings:
    """Read the config file, or make settings from --customers alone, for commands that do not use the secret.

    Raises ConfigError and UsageError.
    """
    if customers is None:
        return find_settings(config)
    if config is not None:
        raise click.UsageError("--config cannot be combined with --customers")
    secret = Path(os.devnull)  # it is never read
    return from_flags(customers, secret, os.environ, Path.cwd(), _address_columns(customers))


def _address_columns(customers: Path) -> tuple[str, ...]:
    """Return the column "email", or in a text file without one the columns of addresses, and say so.

    If there are none, the import says what is wrong.
    """
    if customers.suffix.lower() not in csv_file.KIND.suffixes:
        return _EMAIL
    from appliance.bootstrap.proposal import choose  # what only those need who have no config
    from appliance.ingest.survey import survey

    try:
        (table,) = survey(str(customers), customers.absolute(), {})
        if any(name_key(name) in _EMAIL for name in table.columns):
            return _EMAIL
        found = choose([table]).addresses
    except SourceError:
        return _EMAIL
    if sys.stderr.isatty():
        click.echo(f"The addresses are those in {', '.join(map(shown_name, found))}.", err=True)
    return found


def find_app(settings: Settings, name: str | None) -> App:
    """Return the app of this name, or the first. Raises UsageError if there is none of this name."""
    for app in settings.apps:
        if name is None or app.name == name:
            return app
    names = ", ".join(app.name for app in settings.apps)
    raise click.UsageError(f'there is no app "{name}"; the config has {names}')


def trust(context: ssl.SSLContext, ca: Path | None, *, insecure: bool) -> ssl.SSLContext:
    """Let a client's context trust what --ca or --insecure says, or else what this machine does. Raises UsageError."""
    if ca is not None and insecure:
        raise click.UsageError("--ca cannot be combined with --insecure")
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(ca)
        except ssl.SSLError:
            raise click.UsageError(f"--ca: {ca} is not a PEM file with certificates; convert it") from None
        except OSError as error:
            raise click.UsageError(f"--ca: {ca} cannot be read: {error.strerror}") from None
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
    """Return the snapshot that the service answers from, or else one that is made of the source for this command.

    It is closed when the command ends. Raises CommandError.
    """
    spec = import_spec_of(settings)
    opened = open_newest(snapshot_folder(settings), spec.digest()) or _import_temporarily(spec)
    click.get_current_context().call_on_close(opened.close)
    return opened


def _import_temporarily(spec: ImportSpec) -> Snapshot:
    from appliance.ingest.importer import import_customers  # the service has a process of its own for that

    with tempfile.TemporaryDirectory(prefix="sidebard-") as folder:
        try:
            import_customers(spec, Path(folder), clock=time.time, timer=time.monotonic)
        except ImportRefused as refused:
            raise CommandError("\n".join([str(refused), *map(str, refused.bad)])) from None
        opened = open_newest(Path(folder), spec.digest())  # stays readable when the folder is gone
    if opened is None:
        raise CommandError(
            f"{spec.source} was read, but the result could not be written to {tempfile.gettempdir()}; check that disk"
        )
    return opened
