"""What `sidebard init` says at its end: what it saw and made, the first card, what to enter where, and what is next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from appliance.bootstrap.installation import PACKAGED, Installation
from appliance.bootstrap.proposal import Choice
from appliance.checks.finding import Result
from appliance.cli import check, counted
from appliance.cli.card import for_terminal


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of trying the config: how many customers there are, and the first one's card as text."""

    rows: int = 0
    first_card: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What was made, for what is said at the end."""

    installation: Installation
    choice: Choice
    copies: Mapping[Path, Path]
    is_new_secret: bool
    has_certificate: bool
    listen: str
    admin: str | None = None
    server_name: str = ""
    tried: Tried = Tried()

    @property
    def url(self) -> str:
        """The URL for Help Scout's forms."""
        return f"https://{self.server_name or self.listen or 'YOUR.NAME'}/helpscout"

    @property
    def secret(self) -> str:
        """What is in the secret's file."""
        return self.installation.secret.read_text("utf-8", "replace").strip()

    @property
    def next_command(self) -> str:
        """What starts the service."""
        config = self.installation.config
        if self.installation.is_packaged:
            return "systemctl enable --now sidebard.socket sidebard.service"
        here = [] if config == Path.cwd() / PACKAGED.name else ["--config", str(config)]
        if not self.listen and os.geteuid() != 0:  # port 443
            return shlex.join(["sudo", "sidebard", "serve", "--config", str(config)])
        return shlex.join(["sidebard", "serve", *here])


def say(made: Made, run_checks: Callable[[], list[Result]]) -> None:
    """Print it for a person; `run_checks` prints what it finds."""
    choice, config = made.choice, made.installation.config
    table = choice.customers
    named = f", table {table.name}" if table.name else ""
    click.echo(f"{table.source}{named}: {counted(made.tried.rows, 'customer')}")
    click.echo(f"  addresses: {_quoted(choice.addresses)}")
    for line in _remarks(choice):
        click.echo(f"  {line}")
    for file, copy in made.copies.items():
        click.echo(f"Copied {file} to {copy}, where the service can read it: put updates there")
    kept = "" if made.is_new_secret else f", and kept {made.installation.secret}"
    click.echo(f"Wrote {config}{f' and {made.installation.secret}' if made.is_new_secret else kept}")
    if made.tried.first_card:
        card = "\n".join(f"    {line}" for line in for_terminal(made.tried.first_card).splitlines())
        click.echo(f"\nThe card of the first customer, {for_terminal(choice.first_address)}:\n\n{card}")
    click.echo("\nsidebard check:")
    results = run_checks()
    if not any(check.needs_attention(result.status) for result in results):
        click.echo("no warnings or faults")
    click.echo(
        "\nIn Help Scout, enter this in each form: custom app, Create App, Webhooks (docs/helpscout.md has every field)"
    )
    click.echo(f"  Callback URL  {made.url}\n  Secret key    {made.secret}")
    for line in _unknown(made):
        click.echo(line)
    click.echo(f"Next: {made.next_command}")


def _remarks(choice: Choice) -> list[str]:
    """Return what else was seen in the source."""
    table, said = choice.customers, []
    if choice.left_out:
        said.append(f"not used as addresses: {_quoted(choice.left_out)}; add to addresses what is the customer's own")
    if choice.id_column:
        said.append(f"Help Scout's id: {_quoted([choice.id_column])}")
    if table.encoding:
        sample = f', such as "{for_terminal(choice.odd_text)[:40]}"' if choice.odd_text else ""
        said.append(f"not UTF-8, so read as {table.encoding}{sample}; if that is wrong, correct customers.encoding")
    if table.skip_lines:
        said.append(f"the header is line {table.skip_lines + 1}")
    if table.lacks_last_end:
        said.append("the last line has no line end, which is accepted")
    said += [
        f"related: {each.table.name or Path(each.table.source).name}, by {_quoted([each.key])} = {_quoted([each.on])}"
        for each in choice.related
    ]
    return said


def _unknown(made: Made) -> list[str]:
    """Return what could not be known, and what to do about it."""
    said = []
    if not made.server_name:
        said.append("Still needed: the name of this server, for the URL and acme.domains (docs/certificates.md)")
    elif not made.has_certificate:
        said.append("Still needed: the certificate; set acme.domains, or tls.certificate and tls.key")
    if made.admin and made.installation.is_packaged:
        said.append(f"The unit must allow {made.admin}: SocketBindAllow= in docs/operations.md")
    if not made.choice.id_column:
        said.append(
            "Still needed, for pages alone: Help Scout's ids of customers, by webhooks or a column (docs/helpscout.md)"
        )
    return said


def as_document(made: Made, results: list[Result]) -> dict[str, Any]:
    """Return it for --json. The secret is only where it belongs, in its file."""
    choice = made.choice
    return {
        "config": str(made.installation.config),
        "secret_file": str(made.installation.secret),
        "source": choice.customers.source,
        "table": choice.customers.name,
        "customers": made.tried.rows,
        "addresses": choice.addresses,
        "id_column": choice.id_column,
        "encoding": choice.customers.encoding,
        "related": {each.name: each.table.source for each in choice.related},
        "copied": {str(file): str(copy) for file, copy in made.copies.items()},
        "card": made.tried.first_card,
        "check": check.as_document(results),
        "url": made.url,
        "next": made.next_command,
    }


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{for_terminal(name)}"' for name in names)
