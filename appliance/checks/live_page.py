"""The page of a running service: what it answers to a visit as a browser would make it within Help Scout."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPMessage

from appliance.bootstrap.wiring import make_app, make_page, make_protocol
from appliance.checks.config import is_hidden
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, fault, not_checked, ok, warning
from appliance.checks.http_probe import Target, visit
from appliance.config.files import read_page_secrets
from appliance.config.schema import App
from appliance.edge.refusals import Refusal
from appliance.http_client import UnreachableError
from appliance.outcomes import CARD_STATUS
from appliance.sidebar.protocols.base import BAD_SIGNATURE, Conversation
from appliance.sidebar.protocols.query_signed import NOT_FRAMED, OTHER_NETWORK, QuerySigned

_SENTENCES = {
    BAD_SIGNATURE.response.body: (
        "its page refuses the signature: it has another secret for [app.page], or something in between changes the"
        " query; reload it, or see wrong_signature in its log"
    ),
    NOT_FRAMED.response.body: "something in between changes Sec-Fetch-Dest; configure it to pass the header on",
    Refusal.BAD_METHOD.reply.response.body: "it serves no page at this path; reload it, so that it reads [app.page]",
}


def check_page(context: CheckContext, target: Target, app: App) -> Iterator[Finding]:
    """Load the page of a conversation without a customer, and compare it with the one made here."""
    if app.page is None:
        return
    if any(is_hidden(source, context) for source in app.page.secrets or app.secrets):
        yield not_checked("systemd passes the page's secret only to the service, so its page was not loaded")
        return
    page = make_page(app, read_page_secrets(app, context.environ))
    if page is None:
        return
    query = page.signed_query(page.sample(Conversation(is_draft=True)))
    try:
        status, headers, body = visit(target, f"{target.path or app.path}?{query}")
    except UnreachableError as error:
        yield fault(str(error))
        return
    if body == OTHER_NETWORK.response.body:
        yield not_checked(
            "its page is not served to this machine, because of networks in [app.page]; open it in an agent's browser"
        )
    elif status != CARD_STATUS:
        other = f"its page answers {status}, which sidebard does not send there; check what is in between"
        yield fault(_SENTENCES.get(body, other))
    else:
        yield from _compare(context, app, page, query, headers, body)


def _compare(
    context: CheckContext, app: App, page: QuerySigned, query: str, headers: HTTPMessage, body: bytes
) -> Iterator[Finding]:
    here = make_app(context.settings, app, make_protocol(app, ()), page=page)
    expected = here.answer(page.visit(query), page).response
    if "X-Frame-Options" in headers:
        yield fault(
            "something in between adds X-Frame-Options to the page, so browsers do not show it in Help Scout; configure"
            " it to leave that out"
        )
        return
    policy = dict(expected.headers)["Content-Security-Policy"]
    if headers.get("Content-Security-Policy") != policy:
        yield fault(
            "something in between changes the page's Content-Security-Policy, without which any site may frame it;"
            " configure it to pass the header on"
        )
    elif body == expected.body:
        yield ok("its page answers correctly")
    else:
        yield warning(
            "its page differs from the one made here: something in between rewrites it, or it is of another version;"
            " configure it to pass answers on unchanged"
        )
