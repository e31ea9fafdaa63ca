"""`sidebard requests`: signed requests about the customers, for tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random

import click

from appliance.bootstrap.wiring import make_page, make_protocol
from appliance.cli import common
from appliance.config.files import read_page_secrets, read_secrets, read_webhook_secrets
from appliance.config.schema import App
from appliance.config.values import InvalidValueError, parse_share
from appliance.customers.snapshot import SnapshotError
from appliance.replay.corpus import CustomerSampler, Kind, make_lines
from appliance.replay.corpus_line import write_line
from appliance.sidebar.protocols.helpscout_webhook import HelpScoutWebhook

_PAGES, _WEBHOOKS = "--pages", "--webhooks"


def _share(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    try:
        return parse_share(text) if text is not None else None
    except InvalidValueError:
        raise click.BadParameter("write a percentage from 0% to 100%.") from None


@click.command("requests", short_help="Print signed requests for tests.")
@common.config_option
@common.customers_option
@common.secret_option
@common.app_option
@click.option(
    "--count", type=click.IntRange(1), default=10_000, metavar="N", help="Number of requests (default: 10,000)."
)
@click.option(
    "--unknown",
    default="10%",
    callback=_share,
    metavar="SHARE",
    help="Share of requests about people who are not customers (default: 10%).",
)
@click.option(
    _PAGES,
    callback=_share,
    metavar="SHARE",
    help="Share of requests that are visits of the app's page (default: 50% if it has one).",
)
@click.option(
    _WEBHOOKS,
    default="0%",
    callback=_share,
    metavar="SHARE",
    help="Share of requests that are webhooks, which the service stores (default: 0%).",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    metavar="N",
    help="Seed of the random choices: the same seed prints the same bytes (default: 0).",
)
def command(
    config: Path | None,
    customers: Path | None,
    secret_file: Path | None,
    app_name: str | None,
    count: int,
    unknown: float,
    pages: float | None,
    webhooks: float,
    seed: int,
) -> None:
    """Print signed requests about the customers, one per line, for sidebard replay.

    They contain customers' addresses, so protect them like the customers file.
    """
    settings = common.find_settings(config, customers, secret_file)
    app = common.find_app(settings, app_name)
    kinds = _kinds(app, pages, webhooks)
    snapshot = common.open_customers(settings)
    random = Random(seed)  # noqa: S311  # it draws examples
    drawn = CustomerSampler(
        snapshot,
        settings.customers.addresses,
        random,
        fold_plus=settings.customers.plus_addressing,
        id_column=settings.helpscout.column,
    )
    try:
        for line in make_lines(drawn, random, kinds, path=app.path, count=count, unknown=unknown):
            sys.stdout.buffer.write(write_line(line))
        sys.stdout.buffer.flush()
    except SnapshotError as error:
        raise common.CommandError(f"{error}; run sidebard import") from None


def _kinds(app: App, pages: float | None, webhooks: float) -> list[Kind]:
    """Return what is mixed. Raises UsageError for what the app does not have, and ConfigError."""
    if app.page is None:
        if pages or webhooks:
            raise click.UsageError(
                f'{_PAGES if pages else _WEBHOOKS}: the app "{app.name}" has no page; add [app.page] below its [[app]]'
                " in the config"
            )
        return [Kind(make_protocol(app, read_secrets(app, os.environ)), 1.0)]
    pages = (1 - webhooks) / 2 if pages is None else pages
    if pages + webhooks > 1:
        raise click.UsageError(f"{_PAGES} and {_WEBHOOKS} are more than 100% together")
    kinds = []
    if pages + webhooks < 1:
        kinds.append(Kind(make_protocol(app, read_secrets(app, os.environ)), 1 - pages - webhooks))
    if pages and (page := make_page(app, read_page_secrets(app, os.environ))) is not None:
        kinds.append(Kind(page, pages))
    if webhooks:
        kinds.append(Kind(HelpScoutWebhook(read_webhook_secrets(app, os.environ)), webhooks))
    return kinds
