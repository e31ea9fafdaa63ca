"""Whether the pages of Help Scout's current platform can find and show anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from appliance.bootstrap.wiring import make_page
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, not_checked, ok, warning
from appliance.checks.registry import check
from appliance.config.schema import App
from appliance.customers.keys import split
from appliance.customers.record import Columns
from appliance.ingest.spec import ImportRefused

_ID: Final = re.compile(r"[1-9][0-9]{0,19}")
_NUMBER: Final = re.compile(r"[1-9][0-9]*[.,][0-9]+|[0-9.]+[Ee]\+?[0-9]+")


@check("page")
def page(context: CheckContext) -> Iterator[Finding]:
    """Each `[app.page]` can find customers and show the card.

    Reported are a missing `helpscout.column`, one that holds no ids, and what of `vary` a page does not know.
    """
    apps = [app for app in context.settings.apps if app.page is not None]
    column = context.settings.helpscout.column
    if not apps:
        if column:
            yield warning(
                "helpscout.column is used by pages alone, and no app has one; add [app.page] below its [[app]], or"
                " remove the column"
            )
        else:
            yield ok("no app has a page")
        return
    for app in apps:
        yield from _of_app(app)
    if column:
        yield from _ids(context, column)
    elif context.settings.helpscout.api_id is None:
        yield warning(
            "no customer can be found for a page, which gets Help Scout's id and no address; set helpscout.column to"
            " the customers' column that holds the id"
        )


def _of_app(app: App) -> Iterator[Finding]:
    made = make_page(app, ())
    unknown = [name for name in app.vary if made is not None and name not in made.vary]
    if unknown:
        yield warning(
            f'{app.name}: a page does not know {", ".join(unknown)}, so that is "" in its card; in that case let the'
            " card show only what everybody may see"
        )
    else:
        yield ok(f"{app.name}: GET {app.path} is the page")


def _ids(context: CheckContext, column: str) -> Iterator[Finding]:
    """Yield what the column of ids holds, as far as the customers that were read tell."""
    trial = context.dry_run
    if isinstance(trial, ImportRefused) or not trial.columns:
        yield not_checked("the customers were not read, so the ids were not checked")
        return
    table, name = split(column, [relation.name for relation in trial.relations])
    if table or Columns(trial.columns).find_index(name) is None:  # an import says so, or it is a column of related rows
        return
    cells = [cell for record in trial.sample if (cell := record[name].strip())]
    good = [cell for cell in cells if _ID.fullmatch(cell)]
    if len(good) == len(cells) and cells:
        yield ok(f'column "{column}": {len(good)} of the first {len(trial.sample)} customers have an id')
    elif any(_NUMBER.fullmatch(cell) for cell in cells):
        yield warning(
            f'column "{column}" holds numbers with a decimal point or in a short form, as a spreadsheet writes them;'
            " export it as text, or these customers are not found"
        )
    else:
        yield warning(
            f'column "{column}": {len(good)} of the first {len(trial.sample)} customers have one of Help Scout\'s ids,'
            " which are whole numbers; set helpscout.column to the right column"
        )
