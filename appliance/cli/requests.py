"""`sidebard requests`: signed requests about the customers, for tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from random import Random

import click

from appliance.bootstrap.wiring import make_protocol
from appliance.cli import common
from appliance.config.files import read_secrets
from appliance.config.values import InvalidValueError, parse_share
from appliance.customers.snapshot import SnapshotError
from appliance.replay.corpus import CustomerSampler, make_lines
from appliance.replay.corpus_line import write_line


def _share(_context: click.Context, _parameter: click.Parameter, text: str) -> float:
    try:
        return parse_share(text)
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
    seed: int,
) -> None:
    """Print signed requests about the customers, one per line, for sidebard replay.

    They contain customers' addresses, so protect them like the customers file.
    """
    settings = common.find_settings(config, customers, secret_file)
    app = common.find_app(settings, app_name)
    protocol = make_protocol(app, read_secrets(app, os.environ))
    snapshot = common.open_customers(settings)
    random = Random(seed)  # noqa: S311  # it draws examples
    drawn = CustomerSampler(
        snapshot, settings.customers.addresses, random, fold_plus=settings.customers.plus_addressing
    )
    try:
        for line in make_lines(drawn, random, protocol, path=app.path, count=count, unknown=unknown):
            sys.stdout.buffer.write(write_line(line))
        sys.stdout.buffer.flush()
    except SnapshotError as error:
        raise common.CommandError(f"{error}; run sidebard import") from None
