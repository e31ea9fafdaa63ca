"""`sidebard import`: reads the customers now, and reports what it found."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec

from appliance.bootstrap.state_folder import become_owner, snapshot_folder
from appliance.bootstrap.wiring import import_spec_of
from appliance.cli import common, counted
from appliance.cli.progress import progress_bar
from appliance.errors import FAILURE
from appliance.ingest.importer import import_customers
from appliance.ingest.spec import MAX_LISTED, BadRow, ImportRefused, ImportSpec, Report
from appliance.service.import_child import limit

_MANY: Final = 100_000
_LARGE: Final = 10_000_000


@click.command("import", short_help="Read the customers file now.")
@common.config_option
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def command(config: Path | None, as_json: bool) -> None:
    """Read the customers file now. A running service uses the result within two seconds.

    The exit code is 1 if the file is refused; the service then keeps the customers that it has.
    """
    settings = common.find_settings(config)
    spec = import_spec_of(settings)
    try:
        become_owner(settings.server)
        folder = snapshot_folder(settings)
        limit(spec, folder)
        with _progress(spec) as (progress, fetching):
            report = import_customers(
                spec, folder, clock=time.time, timer=time.monotonic, progress=progress, fetching=fetching
            )
    except ImportRefused as refused:
        if as_json:
            _print_json({"refused": str(refused), "bad": refused.bad})
        else:
            click.echo(f"refused: {refused}", err=True)
            _list(refused.bad, err=True)
        sys.exit(FAILURE)
    if as_json:
        numbers = {name: value for name, value in msgspec.structs.asdict(report).items() if value is not None}
        if (fetch := numbers.pop("fetch", None)) is not None:
            numbers["fetch_seconds"] = fetch.seconds
        _print_json({**numbers, "rows_per_second": report.rows_per_second})
    else:
        _print(spec, report)


@contextmanager
def _progress(spec: ImportSpec) -> Iterator[tuple[Callable[[int, float], None], Callable[[int], None]]]:
    """Show a bar on a terminal, lines elsewhere; and how much was fetched before."""
    if not sys.stderr.isatty():
        yield _lines(spec), _fetched_lines(spec)
        return
    with progress_bar(spec.source.name) as show:
        yield (
            lambda rows, share: show(share, f"{rows:,} rows"),
            lambda size: show(0.0, f"{size / 1e6:,.1f} MB fetched"),
        )


def _lines(spec: ImportSpec) -> Callable[[int, float], None]:
    """Return a function that prints the progress after each tenth of a large file."""
    printed = 0

    def print_progress(rows: int, share: float) -> None:
        nonlocal printed
        if rows >= _MANY and int(share * 10) > printed:
            printed = int(share * 10)
            click.echo(f"{spec.source.name}: {printed * 10}%, {rows:,} customers", err=True)

    return print_progress


def _fetched_lines(spec: ImportSpec) -> Callable[[int], None]:
    """Return a function that prints how much was fetched, each time that it is twice as much."""
    printed = _LARGE

    def print_progress(size: int) -> None:
        nonlocal printed
        if size >= printed:
            printed = 2 * size
            click.echo(f"{spec.source.name}: {size / 1e6:,.0f} MB fetched", err=True)

    return print_progress


def _print_json(values: dict[str, object]) -> None:
    click.echo(msgspec.json.encode(values).decode())


def _print(spec: ImportSpec, report: Report) -> None:
    lines = [
        f"{spec.source}: {counted(report.rows, 'customer')} with {counted(report.addresses, 'address', 'addresses')}"
        f" in {report.seconds:.1f} s, {report.rows_per_second:,} rows/s",
        *([f"fetched before, in {report.fetch.seconds:.1f} s"] if report.fetch is not None else []),
        *(f"{name}: {counted(rows, 'row')}" for name, rows in report.related.items()),
        f"without an address: {report.without_address:,}",
        f"addresses of more than one customer: {report.shared_addresses:,}",
        *([f"companies, by domain: {report.companies:,}"] if report.companies is not None else []),
        f"bad rows, left out: {report.bad_rows:,}",
    ]
    click.echo("\n".join(lines))
    _list_first(report.bad, report.bad_rows)
    if report.unclear_rows:
        domain = " or domain" if spec.company_domain else ""
        click.echo(f"kept, ignoring a value that is not an email address{domain}: {report.unclear_rows:,}")
        _list_first(report.unclear, report.unclear_rows)


def _list_first(rows: tuple[BadRow, ...], count: int) -> None:
    """List the first rows of `count`, and say how many more there are."""
    _list(rows)
    if count > len(rows):
        click.echo(f"  and {count - MAX_LISTED:,} more")


def _list(bad: tuple[BadRow, ...], *, err: bool = False) -> None:
    for row in bad:
        click.echo(f"  {row}", err=err)
