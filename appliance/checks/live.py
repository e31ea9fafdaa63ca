"""Whether a running service answers correctly: `sidebard check --self URL`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Final

from appliance.bootstrap.state_folder import snapshot_folder
from appliance.bootstrap.wiring import make_app, make_protocol
from appliance.cards.builtin import not_loaded
from appliance.checks.config import is_hidden
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, fault, not_checked, ok, warning
from appliance.checks.http_probe import Answer, Target, ask
from appliance.checks.live_page import check_page
from appliance.config.files import read_secrets
from appliance.config.schema import App
from appliance.customers.address import domain_of
from appliance.customers.address_cell import read_cell
from appliance.customers.snapshot import Snapshot, SnapshotError, file_of, generations
from appliance.customers.snapshot_store import open_newest
from appliance.edge.refusals import Refusal
from appliance.http_client import UnreachableError
from appliance.ingest.fingerprint import fingerprint
from appliance.outcomes import CARD_STATUS, Outcome
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.inquiry import Answer as FoundAnswer
from appliance.sidebar.protocols.base import BAD_PAYLOAD, BAD_SIGNATURE, HelpDesk, Message

_NOBODY: Final = "nobody@sidebard.invalid"
_REFUSALS: Final = {
    (reply.response.status, reply.response.body): reply
    for reply in (BAD_SIGNATURE, BAD_PAYLOAD, *(refusal.reply for refusal in Refusal))
}
_SEARCHED: Final = 100


def check_live(context: CheckContext, target: Target) -> Iterator[Finding]:
    """Send a signed message about a customer of the newest snapshot, and compare the answer with the one made here."""
    app = _app_at(context, target)
    if any(is_hidden(source, context) for source in app.secrets):
        yield not_checked("systemd passes the secret only to the service, so this command cannot sign a request")
        return
    secrets = read_secrets(app, context.environ)
    protocol = make_protocol(app, secrets)
    newest, address = _somebody(context)
    try:
        yield from _ask_about(address, newest, context, target, app, protocol, len(secrets))
    finally:
        if newest is not None:
            newest.close()
    yield from check_page(context, target, app)


def _ask_about(
    address: str,
    newest: Snapshot | None,
    context: CheckContext,
    target: Target,
    app: App,
    protocol: HelpDesk,
    secrets: int,
) -> Iterator[Finding]:
    """Ask about an address, signed by each of so many secrets."""
    body, unchangeable = protocol.probes(address)
    path = target.path or app.path
    try:
        answers = [
            ask(target, path, body, protocol.header, protocol.sign(body, secret).encode()) for secret in range(secrets)
        ]
        first = plain = answers[0]
        if first.status != CARD_STATUS:
            plain = ask(target, path, unchangeable, protocol.header, protocol.sign(unchangeable).encode())
    except UnreachableError as error:
        yield fault(str(error))
        return
    yield from _certificate(context, first)
    if first.status != CARD_STATUS:
        yield fault(_refused(context, target, answers, plain))
        return
    here = make_app(context.settings, app, protocol)
    here.use(newest)
    yield _compare(context, first, here, Message(body, protocol.sign(body).encode()))
    if newest is not None and newest.metadata.fingerprint != fingerprint(context.spec):
        yield warning(f"{context.spec.source} has changed since its import; wait, or see import_refused in the log")


def _app_at(context: CheckContext, target: Target) -> App:
    """Return the app whose path the URL has, or else the first: the answer will tell."""
    apps = context.settings.apps
    return next((app for app in apps if app.path == target.path), apps[0])


def _somebody(context: CheckContext) -> tuple[Snapshot | None, str]:
    """Return the newest snapshot and the address of a customer in it; without one, an address that no customer has."""
    ignored = context.settings.customers.ignore_domains
    try:
        newest = open_newest(snapshot_folder(context.settings), context.spec.digest())
        sample = newest.sample(_SEARCHED) if newest else ()
    except (OSError, SnapshotError):
        return None, _NOBODY
    cells = (read_cell(record[name]) for record in sample for name in context.spec.addresses)
    for address in (address for cell in cells for address in cell.addresses):
        if domain_of(address) not in ignored:
            return newest, address
    return newest, _NOBODY


def _certificate(context: CheckContext, answer: Answer) -> Iterator[Finding]:
    if not answer.validities:
        return
    now = datetime.fromtimestamp(context.now, UTC)
    own, *issuers = answer.validities
    sentence = f"its certificate is accepted, {own.days_left(now):.0f} days left"
    yield warning(f"{sentence}; renew it") if own.is_near_end(now) else ok(sentence)
    for issuer in issuers:
        if issuer.is_near_end(now):
            yield warning(
                f"a certificate of its chain has {issuer.days_left(now):.0f} days left; use the chain that the"
                " authority issues now"
            )


def _refused(context: CheckContext, target: Target, answers: Sequence[Answer], plain: Answer) -> str:
    """Return what an answer that is not a card means, and what to do.

    `answers` are those to the same message, signed with each secret; `plain` is the one to a message that nothing on
    the way has a reason to change.
    """
    first = answers[0]
    refusal = _REFUSALS.get((first.status, first.body))
    if refusal is None:
        return (
            f"the answer is a {first.status} that sidebard does not send; check what answers there, or what is in"
            " between: the help desk's message must reach sidebard without a redirect, login or filter"
        )
    if refusal is Refusal.NOT_FOUND.reply:
        paths = ", ".join(app.path for app in context.settings.apps)
        path = target.path or "/"
        return f"it serves nothing at {path}, and the config has {paths}; correct the URL, or reload the service"
    if refusal is not BAD_SIGNATURE:
        return f"it answers {first.status}: {first.body.decode().strip()} Check its log"
    if any(answer.status == CARD_STATUS for answer in answers):
        return "it accepts the second secret but not the first; reload the service, so that it reads the new one"
    if plain.status == CARD_STATUS:
        return (
            "the secret is right, but the body is changed in transit, so its signature is wrong; configure the proxy or"
            " firewall in between to pass it on unchanged"
        )
    return (
        "it refuses the signature: it has another secret, or something in between removes the signature's header;"
        " give it this secret and reload it, or see wrong_signature in its log"
    )


def _compare(context: CheckContext, answer: Answer, here: SidebarApp, message: Message) -> Finding:
    """Compare a card with the one that is made here."""
    try:
        html = here.protocol.read_card(answer.body)
    except ValueError:
        return fault("its answer is not a card, so it is not sidebard; correct the URL, or check the proxy")
    expected = here.answer(message).response.body
    if answer.body == expected:
        return ok(f"it answers correctly, after {answer.seconds * 1000:.0f} ms")
    if html == here.protocol.read_card(expected):
        return warning(
            "the card is right, but something in between rewrites the answer; configure it to pass answers on unchanged"
        )
    if expected == _not_loaded(here):
        return not_checked("it answers with a card, and there is no snapshot here to compare it with")
    return fault(_why_other(context, answer, here, message))


def _not_loaded(here: SidebarApp) -> bytes:
    """Return the body of the answer while there are no customers."""
    return here.protocol.render(FoundAnswer(Outcome.NOT_LOADED, not_loaded())).body


def _why_other(context: CheckContext, answer: Answer, here: SidebarApp, message: Message) -> str:
    """Return why a card may differ from the one made here, and what to do."""
    if answer.body == _not_loaded(here):
        return "it has no customers yet; see import_refused in its log, or run `sidebard check` there"
    folder = snapshot_folder(context.settings)
    for number in generations(folder)[1:]:
        with suppress(SnapshotError), closing(Snapshot(file_of(folder, number), number)) as old:
            here.use(old)
            if here.answer(message).response.body == answer.body:
                return f"it answers from old data, generation {number}; restart it, and report this"
    return (
        "its card differs from the one made here: it has other customers or another card; compare the configs, and"
        " reload it"
    )
