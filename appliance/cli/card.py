"""`sidebard card`: the card of one customer, as an agent would get it."""

from __future__ import annotations

import re
import secrets
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import click
import msgspec

from appliance.bootstrap.wiring import make_app
from appliance.cli import common
from appliance.config.schema import Settings
from appliance.customers.address import normalise
from appliance.errors import FAILURE
from appliance.outcomes import CARD_STATUS, Outcome, Reply
from appliance.sidebar.protocols.signature import Secret, Verifier


@click.command("card", short_help="Print the card of a customer.")
@click.argument("address", required=False)
@common.config_option
@common.customers_option
@common.app_option
@click.option("--payload", metavar="FILE", help='A message of Help Scout\'s, instead of an address; "-": stdin.')
@click.option("--html", is_flag=True, help="Print the card's HTML.")
@click.option("--response", is_flag=True, help="Print the exact bytes that Help Scout would get.")
def command(
    address: str | None,
    config: Path | None,
    customers: Path | None,
    app_name: str | None,
    payload: str | None,
    html: bool,
    response: bool,
) -> None:
    """Print the card of the customer with this ADDRESS. Exits with 1 if there is none."""
    if (address is None) == (payload is None):
        raise click.UsageError("name either one ADDRESS or --payload FILE")
    if address is not None and normalise(_readable(address)) is None:
        raise click.UsageError("the ADDRESS is no e-mail address")
    if html and response:
        raise click.UsageError("--html and --response exclude each other")
    body = common.read_input(payload) if payload else msgspec.json.encode({"customer": {"email": _readable(address)}})
    reply = _answer(common.settings_without_secret(config, customers), app_name, body)
    _print(reply, html=html, response=response)
    if reply.fault:
        click.echo(f"the card failed, so this is the built-in one: {reply.fault}", err=True)
    sys.exit(0 if reply.outcome in (Outcome.FOUND, Outcome.COMPANY) else FAILURE)


def _readable(address: str | None) -> str:
    """Give an argument as text: what a shell passes need not be UTF-8, and then it is nobody's address."""
    return (address or "").encode("utf-8", "replace").decode()


def _answer(settings: Settings, app_name: str | None, body: bytes) -> Reply:
    """Send `body` the way of every request, signed with a secret of our own."""
    secret = Secret(secrets.token_bytes(20))
    app = make_app(settings, common.find_app(settings, app_name), Verifier([secret]), b"")
    app.use(common.open_customers(settings))
    return app.answer(body, secret.sign(body))


def _print(reply: Reply, *, html: bool, response: bool) -> None:
    if response or reply.status != CARD_STATUS:
        sys.stdout.buffer.write(reply.body)
        return
    card = msgspec.json.decode(reply.body, type=dict[str, str])["html"]
    click.echo(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", card if html else as_text(card)))


# Anybody chooses a name, and with these in it a terminal would take commands from it.
_CONTROLS: Final = re.compile(r"[^\n\t -~\xa0-\U0010ffff]")


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
    """Give a card's words, one item a line."""
    maker = _TextMaker()
    maker.feed(card)
    maker.close()
    return "\n".join(line for line in maker.text.splitlines() if line.strip())
