"""Whether Help Scout's Inbox API answers."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from contextlib import closing

from appliance.checks.config import is_hidden
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, fault, not_checked, ok, warning
from appliance.checks.registry import check
from appliance.config.files import read_api_credentials
from appliance.inbox_api import wire
from appliance.inbox_api.client import ApiError, Credentials, InboxApi
from appliance.inbox_api.process import ApiProcess


@check("inbox_api")
def inbox_api(context: CheckContext) -> Iterator[Finding]:
    """With `helpscout.api_id`: Help Scout's Inbox API can be reached, and takes the id and the secret.

    It is asked for a token and for one page of customers.
    """
    settings = context.settings
    sources = (settings.helpscout.api_id, settings.helpscout.api_secret)
    if None in sources:
        yield ok("not configured")
        return
    if not any(app.page is not None for app in settings.apps):
        yield warning(
            "helpscout.api_id is used by pages alone, and no app has one; add [app.page] below its [[app]], or remove"
            " api_id and api_secret"
        )
    for source in sources:
        if source is not None and is_hidden(source, context):
            yield not_checked(f"{source}: systemd passes it only to the service when it starts")
            return
    read = read_api_credentials(settings, context.environ)
    if read is None:
        return
    try:
        limit = asyncio.run(_ask(Credentials(*read)))
    except ApiError as error:
        yield (fault if error.trouble.is_refusal else warning)(str(error))
        return
    yield ok(f"it answers; the limit of the account is {limit:,} requests a minute")


async def _ask(credentials: Credentials) -> int:
    """Return how many requests the account has in a minute. Raises ApiError."""
    with closing(ApiProcess(wire.API)) as process:
        api = InboxApi(credentials, process.exchange, timer=time.monotonic, clock=time.time, random=random.random)
        await api.page("")
        return api.limit
