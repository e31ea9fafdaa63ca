"""The customers' files, and the cards over what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from appliance.config import App, ConfigError
from appliance.customers.plan import Refused
from appliance.customers.trial import Trial
from appliance.service.checks.finding import Finding, fault, not_checked, ok, warning
from appliance.service.checks.ground import Ground
from appliance.service.wiring import make_template
from appliance.sidebar.template import CardTemplate, TemplateFault

_LISTED = 5


def customers(ground: Ground) -> Iterator[Finding]:
    """Read the customers and their related rows as an import would."""
    trial = ground.trial
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


def _read(ground: Ground, trial: Trial) -> Finding:
    source = ground.plan.source
    if trial.whole:
        return ok(f"{source}: {trial.rows:,} customers, {trial.with_address:,} with an address")
    return ok(
        f"{source}: the first {trial.rows:,} customers and the end of the file are good; it is large, so the rest was"
        " not read: `sidebard import` reads it"
    )


def card(ground: Ground) -> Iterator[Finding]:
    """Compile each app's own card, and try it on customers."""
    for app in ground.settings.apps:
        try:
            template = make_template(app)
        except ConfigError as error:
            yield from (fault(str(each)) for each in error.faults)
            continue
        yield ok(f"{app.name}: the built-in card") if template is None else _try(ground, app, template)


def _try(ground: Ground, app: App, template: CardTemplate) -> Finding:
    """Render a card for each customer of the trial import, up to the first that it fails on."""
    trial = ground.trial
    if isinstance(trial, Refused) or not trial.sample:
        return not_checked(f"{app.card}: it compiles, and there are no customers to try it on")
    as_of = datetime.fromtimestamp(ground.now, ground.settings.server.timezone)
    for record in trial.sample:
        try:
            template.render((record,), (), as_of)
        except TemplateFault as error:
            return fault(f"{app.card}: {error}; correct the card, or the file's header")
    return ok(f"{app.card}: tried on {len(trial.sample)} customers")
