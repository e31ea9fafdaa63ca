"""`sidebard card`: the card of one customer, as an agent would get it."""

from __future__ import annotations

import re
import secrets
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import click

from appliance.bootstrap.wiring import make_app, make_protocol
from appliance.cli import common
from appliance.config.schema import Settings
from appliance.customers.address import normalise
from appliance.errors import FAILURE
from appliance.outcomes import CARD_STATUS, Outcome
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.base import Conversation, Message


@click.command("card", short_help="Print the card of a customer.")
@click.argument("address", required=False)
@common.config_option
@common.customers_option
@common.app_option
@click.option("--payload", metavar="FILE", help='Read a message of the help desk instead of an ADDRESS; "-" is stdin.')
@click.option("--html", is_flag=True, help="Print the card's HTML.")
@click.option("--response", is_flag=True, help="Print the exact response that the help desk would get.")
def command(
    address: str | None,
    config: Path | None,
    customers: Path | None,
    app_name: str | None,
    payload: str | None,
    html: bool,
    response: bool,
) -> None:
    """Print the card of the customer with this ADDRESS. The exit code is 1 if there is none."""
    if (address is None) == (payload is None):
        raise click.UsageError("pass either an ADDRESS or --payload FILE")
    if address is not None and normalise(_readable(address)) is None:
        raise click.UsageError("ADDRESS is not an email address")
    if html and response:
        raise click.UsageError("--html cannot be combined with --response")
    app = _make_app(common.settings_without_secret(config, customers), app_name)
    protocol = app.protocol
    if payload:
        body = common.read_input(payload)
    else:
        body = protocol.sample(Conversation(addresses=(_readable(address),), subject=""))
    reply = app.answer(Message(body, protocol.sign(body).encode()))
    if response or reply.response.status != CARD_STATUS:
        sys.stdout.buffer.write(reply.response.body)
    else:
        card = protocol.read_card(reply.response.body)
        click.echo(for_terminal(card if html else as_text(card)))
    if reply.fault:
        click.echo(f"the card failed, so this is the built-in card: {reply.fault}", err=True)
    sys.exit(0 if reply.outcome in (Outcome.FOUND, Outcome.COMPANY) else FAILURE)


def _readable(address: str | None) -> str:
    """Return an argument as text: what a shell passes need not be UTF-8, and then it is not an address."""
    return (address or "").encode("utf-8", "replace").decode()


def _make_app(settings: Settings, app_name: str | None) -> SidebarApp:
    """Make the app as the service does, with a secret of our own."""
    app = common.find_app(settings, app_name)
    made = make_app(settings, app, make_protocol(app, [secrets.token_bytes(20)]))
    made.use(common.open_customers(settings))
    return made


# Anyone can choose a name, and a terminal would obey the control characters in it.
_CONTROLS: Final = re.compile(r"[^\n\t -~\xa0-\U0010ffff]")


def for_terminal(text: str) -> str:
    """Return a text without characters that a terminal would obey."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


class _TextMaker(HTMLParser):
    """Turns a card into lines of text."""

    _BLOCKS = frozenset({"h4", "p", "li", "ul", "ol", "div", "br", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._BLOCKS:
            self.text += "\n"
        elif ("class", "c-sb-list-item__text") in attrs:
            self.text += ": "

    def handle_endtag(self, tag: str) -> None:
        if tag in self._BLOCKS:
            self.text += "\n"

    def handle_data(self, data: str) -> None:
        self.text += data


def as_text(card: str) -> str:
    """Return the text of a card, one item per line."""
    maker = _TextMaker()
    maker.feed(card)
    maker.close()
    return "\n".join(line for line in maker.text.splitlines() if line.strip())
