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
from appliance.checks.context import Ground
from appliance.checks.finding import Finding, fault, not_checked, ok, warning
from appliance.config.files import read_card
from appliance.config.schema import App, ConfigError
from appliance.ingest.dry_run import Trial
from appliance.ingest.spec import Refused

_LISTED = 5


def customers(ground: Ground) -> Iterator[Finding]:
    """Read the customers and their related rows as an import would, and compare them with the last good copy."""
    trial = ground.trial
    if isinstance(ground.last_import, OSError):
        yield not_checked(
            f"{ground.last_import.filename}: the last good copy cannot be read by this user, so nothing was compared"
            " with it; run this as root, or as the service's user"
        )
    if isinstance(trial, Refused):
        yield fault(str(trial))
        yield from (fault(str(row)) for row in trial.bad[:_LISTED])
        return
    source = ground.plan.source
    for file in trial.unread:
        yield not_checked(f"{file} is large and a database, so it was not read; `sidebard import` reads it")
    if source not in trial.unread:
        yield _read(ground, trial)
        if trial.rows and not trial.with_address:
            names = " or ".join(f'"{name}"' for name in ground.plan.addresses)
            yield warning(f"{source}: no customer has an address in {names}; name the right columns in addresses")
    if trial.bad_rows:
        yield warning(f"{trial.bad_rows:,} bad rows would be left out; mend them, or they have no card")
        yield from (warning(str(row)) for row in trial.bad[:_LISTED])
    if trial.unclear_rows:
        yield warning(f"{trial.unclear_rows:,} rows have a value beside an address that is not one; it is ignored")
        yield from (warning(str(row)) for row in trial.unclear[:_LISTED])


def _read(ground: Ground, trial: Trial) -> Finding:
    source = ground.plan.source
    if trial.whole:
        return ok(f"{source}: {trial.rows:,} customers, {trial.with_address:,} with an address")
    return ok(
        f"{source}: the first {trial.rows:,} customers and the end of the file are good; it is large, so the rest was"
        " not read, nor compared with the last good copy: `sidebard import` does that"
    )


def card(ground: Ground) -> Iterator[Finding]:
    """Try each app's card on customers, and look for the columns that it names."""
    trial = ground.trial
    for app in ground.settings.apps:
        try:
            made = card_of(ground.settings, app)
        except ConfigError as error:
            yield from (fault(str(each)) for each in error.faults)
            continue
        yield from map(warning, _removed(app))
        if isinstance(trial, Refused) or not trial.columns:
            yield not_checked(f"{app.name}: the customers were not read, so there is nobody to try the card on")
        elif made.template is None or app.card is None:
            yield ok(f"{app.name}: the built-in card")
        else:
            yield from _try(ground, trial, app, made.template, made.vary)
    if isinstance(trial, Trial) and trial.columns:
        yield from (warning(str(each)) for each in column_faults(ground.settings, trial))


def _removed(app: App) -> Iterator[str]:
    """Say what Help Scout removes of an app's own card."""
    text = read_card(app)
    if text is not None and make_protocol(app, ()).removes_html:
        yield from sentences(str(app.card), removals_of(text))


def _try(ground: Ground, trial: Trial, app: App, template: CardTemplate, vary: Vary) -> Iterator[Finding]:
    file = app.card or Path()
    now = datetime.fromtimestamp(ground.now, ground.settings.server.timezone)
    faults = faults_of(template, trial.sample, trial.relations, vary=vary, as_of=now, now=now)
    yield from (fault(f"{file.parent}/{each}") for each in faults)
    if faults:
        return
    cleaned = make_protocol(app, ()).removes_html
    if is_always_blank(template, trial.sample, vary=vary, as_of=now, now=now, cleaned=cleaned):
        yield warning(
            f"{file}: the card is empty, so agents see nothing; write what it is to show, or remove app.card for the"
            " built-in card"
        )
    else:
        yield ok(f"{file}: tried on {len(trial.sample)} customers")
