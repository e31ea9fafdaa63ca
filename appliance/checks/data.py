"""The customers' files, and the cards over what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from appliance.bootstrap.column_faults import column_faults
from appliance.bootstrap.wiring import card_of, make_protocol
from appliance.cards.help_scout_html import removals_of, sentences
from appliance.cards.template import CardTemplate
from appliance.cards.template_check import faults_of, is_always_blank
from appliance.cards.vary import Vary
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, Status, fault, not_checked, ok, warning
from appliance.checks.registry import check
from appliance.config.files import read_card
from appliance.config.reader import ConfigError
from appliance.config.schema import App
from appliance.ingest.dry_run import DryRun, DryRunRefused
from appliance.ingest.spec import ImportRefused

_LISTED = 5


@check("customers")
def customers(context: CheckContext) -> Iterator[Finding]:
    """The customers and related rows can be imported.

    They are read as an import would read them, and compared with the last good copy: missing columns, bad rows, a file
    that is cut off, too few rows. A database is asked for its first rows, and whether its user may only read.
    """
    if context.asks_no_server:
        yield not_checked(f"{context.spec.source}: not contacted during a reload; see fetch in /healthz")
        return
    dry_run = context.dry_run
    if isinstance(context.last_import, OSError):
        yield not_checked(
            f"{context.last_import.filename}: this user cannot read the last good copy, so nothing was compared with"
            " it; run this as root, or as the service's user"
        )
    if isinstance(dry_run, DryRun | DryRunRefused):
        yield from (Finding(Status(remark.level), remark.sentence) for remark in dry_run.remarks)
    if isinstance(dry_run, ImportRefused):
        if not (isinstance(dry_run, DryRunRefused) and any(remark.level == "fault" for remark in dry_run.remarks)):
            yield fault(str(dry_run))
        yield from (fault(str(row)) for row in dry_run.bad[:_LISTED])
        return
    source = context.spec.source
    for file in dry_run.unread:
        yield not_checked(f"{file} is a large database, so it was not read; `sidebard import` reads it")
    if source not in dry_run.unread:
        yield _read(context, dry_run)
        if dry_run.rows and not dry_run.with_address:
            names = " or ".join(f'"{name}"' for name in context.spec.addresses)
            yield warning(
                f"{source}: no customer has an email address in {names}; name the right columns in customers.addresses"
            )
    if dry_run.bad_rows:
        yield warning(
            f"bad rows, which would be left out: {dry_run.bad_rows:,}; correct them, or these customers have no card"
        )
        yield from (warning(str(row)) for row in dry_run.bad[:_LISTED])
    if dry_run.unclear_rows:
        beside = " or domain" if context.spec.company_domain else " beside one"
        yield warning(
            f"rows with a value that is not an email address{beside}: {dry_run.unclear_rows:,}; the value is ignored"
        )
        yield from (warning(str(row)) for row in dry_run.unclear[:_LISTED])


def _read(context: CheckContext, dry_run: DryRun) -> Finding:
    source = context.spec.source
    if dry_run.whole:
        noun = "customer" if dry_run.rows == 1 else "customers"
        return ok(f"{source}: {dry_run.rows:,} {noun}, {dry_run.with_address:,} with an address")
    if context.spec.is_fetched:
        return ok(
            f"{source}: the first {dry_run.rows:,} customers are good. The rest was neither fetched nor compared with"
            " the last good copy; `sidebard import` does that"
        )
    return ok(
        f"{source}: the first {dry_run.rows:,} customers and the end of the file are good. The file is large, so the"
        " rest was neither read nor compared with the last good copy; `sidebard import` does that"
    )


@check("card")
def card(context: CheckContext) -> Iterator[Finding]:
    """Each card works: a template is tried on a hundred customers.

    Reported are columns that it or `[app.display]` names and the data lacks, HTML that the help desk removes, and
    a card that shows nothing.
    """
    dry_run = None if context.asks_no_server else context.dry_run
    for app in context.settings.apps:
        try:
            made = card_of(context.settings, app)
        except ConfigError as error:
            yield from map(fault, error.sentences)
            continue
        yield from map(warning, _removed(app))
        if not isinstance(dry_run, DryRun) or not dry_run.columns:
            yield not_checked(f"{app.name}: the customers were not read, so the card was not tried")
        elif made.template is None or app.card is None:
            yield ok(f"{app.name}: the built-in card")
        else:
            yield from _try(context, dry_run, app, made.template, made.vary)
    if isinstance(dry_run, DryRun) and dry_run.columns:
        yield from (warning(str(each)) for each in column_faults(context.settings, dry_run))


def _removed(app: App) -> Iterator[str]:
    """Yield what the help desk removes from an app's own card."""
    text = read_card(app)
    if text is not None and make_protocol(app, ()).removes_html:
        yield from sentences(str(app.card), removals_of(text))


def _try(context: CheckContext, dry_run: DryRun, app: App, template: CardTemplate, vary: Vary) -> Iterator[Finding]:
    file = app.card or Path()
    now = datetime.fromtimestamp(context.now, context.settings.server.timezone)
    faults = faults_of(template, dry_run.sample, dry_run.relations, vary=vary, as_of=now, now=now)
    yield from (fault(f"{file.parent}/{each}") for each in faults)
    if faults:
        return
    cleaned = make_protocol(app, ()).removes_html
    if is_always_blank(template, dry_run.sample, vary=vary, as_of=now, now=now, cleaned=cleaned):
        yield warning(
            f"{file}: the card is empty, so agents see nothing; add content, or remove app.card to use the built-in"
            " card"
        )
    else:
        yield ok(f"{file}: tried on {len(dry_run.sample)} customers")
