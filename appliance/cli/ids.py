"""`sidebard ids`: what is known of the help desk's ids of customers."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import click

from appliance.bootstrap.state_folder import ids_folder
from appliance.cli import common, counted
from appliance.customers.address import normalise
from appliance.customers.id_map import IdMap
from appliance.customers.ids import MAX_ID, Change, Kind, Known, Source
from appliance.errors import FAILURE
from appliance.service.id_channel import PATIENCE, store

_ADDRESS: Final = "--address"


@click.command("ids", short_help="Show or forget ids of customers.")
@click.argument("customer", required=False, type=click.IntRange(1, MAX_ID))
@common.config_option
@click.option(_ADDRESS, metavar="ADDRESS", help="Show the ids that stand for this address.")
@click.option("--forget", is_flag=True, help="Forget what is shown. The service must be running.")
@click.option("--export", is_flag=True, help="Print everything that is known, an id a line, as JSON.")
def command(customer: int | None, config: Path | None, address: str | None, forget: bool, export: bool) -> None:
    """Show which addresses Help Scout's id of a CUSTOMER stands for, as webhooks have told.

    Without a CUSTOMER, show how many ids are known. What the customers' own column of ids says is not shown here. The
    exit code is 1 if nothing is known.
    """
    if (customer is not None) + (address is not None) + export > 1:
        raise click.UsageError(f"CUSTOMER, {_ADDRESS} and --export cannot be combined")
    if forget and customer is None and address is None:
        raise click.UsageError(f"--forget requires a CUSTOMER or {_ADDRESS}")
    folder = ids_folder(common.find_settings(config))
    try:
        ids = IdMap(folder)
        if customer is None and address is None and not export:
            click.echo(f"{counted(ids.count(), 'id')} of customers known, in {folder}")
            return
        if customer is not None:
            held = ids.find(customer)
            found = [(customer, held)] if held is not None else []
        else:
            found = list(_found(ids.all(), address))
    except OSError as error:
        raise common.CommandError(f"{folder}: {error.strerror}; run this as root, or as the service's user") from None
    for number, known in found:
        click.echo(_line(number, known) if export else _sentence(number, known))
    if not found and not export:
        click.echo("nothing is known of it")
        sys.exit(FAILURE)
    if forget:
        _forget(folder, [number for number, _ in found])


def _found(entries: Iterable[tuple[int, Known]], address: str | None) -> Iterable[tuple[int, Known]]:
    """Yield what is known of the ids of an address, or of all; marks of what was deleted are not."""
    wanted = normalise(address) if address is not None else None
    if address is not None and wanted is None:
        raise click.UsageError("ADDRESS is not an email address")
    for number, known in entries:
        if known.addresses is not None and (wanted is None or wanted in known.addresses):
            yield number, known


def _sentence(customer: int, known: Known) -> str:
    if known.addresses is None:
        return f"{customer}: deleted"
    return f"{customer}: {', '.join(known.addresses) or 'no address'}"


def _line(customer: int, known: Known) -> str:
    return json.dumps({"id": customer, "addresses": known.addresses, "as_of": known.as_of, "seen": known.seen})


def _forget(folder: Path, customers: Iterable[int]) -> None:
    """Have the steward forget these ids. Raises CommandError if it does not confirm."""
    for customer in customers:
        if not asyncio.run(store(folder, Change(customer, Kind.DELETE, (), time.time(), Source.OPERATOR))):
            raise common.CommandError(
                f"{customer}: not forgotten: the service has not confirmed it within {PATIENCE:.0f} seconds; start it,"
                " with [app.page] in its config, and run this as root or as its user"
            )
    click.echo("forgotten; for a week only a newer word of Help Scout's brings it back")
