"""`sidebard init`: from a file of customers to a config, a secret and the first card."""

from __future__ import annotations

import os
import secrets
import string
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
import msgspec

from appliance.bootstrap.proposal import Proposal, look, render
from appliance.bootstrap.settings import load
from appliance.bootstrap.wiring import make_app, make_protocol
from appliance.cli import check, common
from appliance.cli.card import as_text
from appliance.config.reader import ConfigError
from appliance.config.schema import Settings
from appliance.config.values import shown
from appliance.customers.address_cell import read_cell
from appliance.ingest.sources.base import SourceError
from appliance.sidebar.protocols.base import Conversation, Message

_PACKAGED: Final = Path("/usr/share/doc/sidebard/etc-sidebard.toml")
_LETTERS: Final = string.ascii_letters + string.digits
_SECRET_LENGTH: Final = 40
_ADMIN: Final = "127.0.0.1:9180"
_HIDDEN: Final = (Path("/home"), Path("/root"), Path("/run/user"))
"""Folders that the packaged unit cannot see (ProtectHome)."""


@click.command("init", short_help="Write a config for a file of customers.")
@click.argument("source", required=False)
@click.option("--config", type=click.Path(path_type=Path), metavar="FILE", help="The config to write.")
@click.option("--table", default="customers", metavar="NAME", help="The table of an SQLite file (default: customers).")
@click.option("--server-name", metavar="NAME", help="The name under which Help Scout reaches this server.")
@click.option("--certificate", metavar="FILE", help="The certificate's chain, PEM; without it: later.")
@click.option("--key", metavar="FILE", help="The certificate's private key, PEM.")
@click.option("--card", metavar="FILE", help="A card of your own (default: the built-in one).")
@click.option("--admin", metavar="ADDRESS", help=f"Where the status page listens (default: {_ADMIN}).")
@click.option("--yes", is_flag=True, help="Ask nothing, and take the default of what no option says.")
@click.option("--force", is_flag=True, help="Replace a config that exists, and keep a copy of it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def command(
    source: str | None,
    config: Path | None,
    table: str,
    server_name: str | None,
    certificate: str | None,
    key: str | None,
    card: str | None,
    admin: str | None,
    yes: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Look at SOURCE, a file of customers, and write a config and a secret for it; then check them, and show a card.

    On a terminal, it asks for what no option says. Nothing is written until everything is known, and never over a file
    that exists. The exit code is 1, and nothing is written, if nothing can be made of SOURCE.
    """
    asks = not yes and not as_json
    if asks and not sys.stdin.isatty():
        raise click.UsageError("there is no terminal to ask on; add --yes")
    if source is None and not asks:
        raise click.UsageError("name a SOURCE, the file of customers")
    if (certificate is None) != (key is None):
        raise click.UsageError("--certificate and --key belong together")
    source = source or click.prompt("File of customers", default="customers.csv", err=True)
    file, is_packaged = _config_file(config)
    _refuse_existing(file, force=force)
    customers = Path(source).absolute()
    if is_packaged and any(customers.resolve().is_relative_to(folder) for folder in _HIDDEN):
        raise common.CommandError(
            f"{customers}: the service cannot see this folder; run"
            f" install --group=sidebard --mode=640 {customers} /var/lib/sidebard-data, and name the copy"
        )
    try:
        found = look(customers, table)
    except SourceError as fault:
        raise common.CommandError(str(fault)) from None
    if asks and server_name is None:
        server_name = click.prompt("Name of this server", default="", show_default=False, err=True)
    if asks and certificate is None:
        certificate = click.prompt("Certificate (a PEM file; empty: later)", default="", show_default=False, err=True)
        key = click.prompt("Its private key", err=True) if certificate else None
    if asks and card is None:
        card = click.prompt("Card (a template; empty: built-in)", default="", show_default=False, err=True)
    if asks and admin is None:
        admin = click.prompt("Address of the status page", default=_ADMIN, err=True)
    proposal = Proposal(
        found=found,
        secret="secret",  # noqa: S106  (the name of its file)
        state="/var/lib/sidebard" if is_packaged else "",
        certificate=(str(Path(certificate).absolute()), str(Path(key).absolute())) if certificate and key else None,
        card=str(Path(card).absolute()) if card else "",
        admin=admin or "",
    )
    text = render(proposal)
    first_card = _try(text)
    secret = _write(file, proposal.secret, text, force=force, shared=is_packaged)
    url = f"https://{server_name or 'your.name'}/helpscout"
    start = (
        "systemctl enable --now sidebard.socket sidebard.service" if is_packaged else f"sidebard serve --config {file}"
    )
    if as_json:
        said = {"config": str(file), "secret_file": str(secret), "source": str(customers)}
        click.echo(msgspec.json.encode({**said, "addresses": found.addresses, "url": url, "next": start}))
        return
    click.echo(f"Wrote {file} and its secret.\nAddresses: {', '.join(map(shown, found.addresses))}")
    if found.encoding:
        click.echo(f"The file is not UTF-8; it is read as {found.encoding}.")
    click.echo(f"\nThe first customer's card:\n\n{first_card}\n")
    with suppress(SystemExit):
        click.get_current_context().invoke(check.command, config=file, quiet=True)
    click.echo(f"\nIn Help Scout, for the app:\n  URL:    {url}\n  Secret: {secret.read_text().strip()}\nNext: {start}")


def _config_file(config: Path | None) -> tuple[Path, bool]:
    """Return the config to write, and whether it is the installed package's."""
    packaged = Path(common.DEFAULT_CONFIG)
    file = config or (packaged if os.geteuid() == 0 and packaged.parent.is_dir() else Path("sidebard.toml"))
    return file.absolute(), file.absolute() == packaged


def _refuse_existing(file: Path, *, force: bool) -> None:
    """Raise CommandError if the config must not be written: only the package's own may be replaced."""
    if not file.parent.is_dir():
        raise common.CommandError(f"{file.parent} is not a folder; create it, or name another file with --config")
    if os.path.lexists(file) and not force and not _is_untouched(file):
        raise common.CommandError(f"{file} exists; add --force to replace it and keep a copy, or name another file")


def _is_untouched(file: Path) -> bool:
    try:
        return file.read_bytes() == _PACKAGED.read_bytes()
    except OSError:
        return False


def _try(text: str) -> str:
    """Return the card of the first customer by this config. Raises CommandError if there can be none."""
    with tempfile.TemporaryDirectory(prefix="sidebard-") as folder:
        tried = Path(folder, "sidebard.toml")
        tried.write_text(text, "utf-8")
        try:
            settings = load(tried, {**os.environ, "STATE_DIRECTORY": folder})
        except ConfigError as error:
            raise common.CommandError(error.sentences[0].replace(f"{tried}:", "the config, line ", 1)) from None
        return _first_card(settings)


def _first_card(settings: Settings) -> str:
    try:
        opened = common.open_customers(settings)
    except common.CommandError as error:
        raise common.CommandError(str(error).splitlines()[0]) from None
    app = settings.apps[0]
    made = make_app(settings, app, make_protocol(app, [secrets.token_bytes(20)]))
    made.use(opened)
    addresses = (
        address
        for record in opened.sample(100)
        for name in settings.customers.addresses
        for address in read_cell(record[name]).addresses
    )
    address = next(addresses, "")
    body = made.protocol.sample(Conversation(addresses=(address,), subject=""))
    reply = made.answer(Message(body, made.protocol.sign(body).encode()))
    return as_text(made.protocol.read_card(reply.response.body))


def _write(file: Path, secret_name: str, text: str, *, force: bool, shared: bool) -> Path:
    """Write the secret, unless there is one, and the config; return the secret's file. Raises CommandError.

    What is `shared` belongs to the group of the config's folder, which is the service's.
    """
    secret = file.with_name(secret_name)
    made = False
    try:
        if not os.path.lexists(secret):
            value = "".join(secrets.choice(_LETTERS) for _ in range(_SECRET_LENGTH))
            _create(secret, value + "\n", 0o640 if shared else 0o600, shared=shared)
            made = True
        if os.path.lexists(file):
            if force and not _is_untouched(file):
                os.replace(file, file.with_name(f"{file.name}.old"))
            else:
                file.unlink()
        _create(file, text, 0o640 if shared else 0o644, shared=shared)
    except OSError as error:
        if made:
            secret.unlink(missing_ok=True)
        raise common.CommandError(f"{file} cannot be written: {error.strerror}; correct its folder") from None
    return secret


def _create(file: Path, text: str, mode: int, *, shared: bool) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "w", encoding="utf-8") as stream:
        if shared:
            os.fchown(descriptor, 0, file.parent.stat().st_gid)
        os.fchmod(descriptor, mode)
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
