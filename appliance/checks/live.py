"""Whether a running service answers as it should: `sidebard check --self URL`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Final

import msgspec

from appliance.bootstrap.state_folder import snapshot_folder
from appliance.bootstrap.wiring import make_app
from appliance.cards.builtin import not_loaded
from appliance.checks.config import is_hidden
from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, fault, not_checked, ok, warning
from appliance.checks.http_probe import Answer, Target, UnreachableError, ask
from appliance.config.files import read_secrets
from appliance.config.schema import App
from appliance.customers.address import domain_of
from appliance.customers.address_cell import read_cell
from appliance.customers.snapshot import Snapshot, SnapshotFault, file_of, generations
from appliance.customers.snapshot_store import open_newest
from appliance.ingest.fingerprint import fingerprint
from appliance.outcomes import CARD_STATUS, Refusal
from appliance.sidebar.app import SidebarApp
from appliance.sidebar.protocols.signature import Secret, Verifier

# All that something in between may change on the way: escapes of both kinds, white space, line ends.
_BODY: Final = '{"ticket": {"id":"0","number":"0",\r\n "subject":"sidebard check \\/ \\u00e9 é"},"customer":%s}'
_PLAIN: Final = b"{}"
"""A body in which nothing can be written in another way."""

_NOBODY: Final = "nobody@sidebard.invalid"
_NOT_LOADED: Final = msgspec.json.encode({"html": not_loaded()})
_REFUSALS: Final = {(refusal.reply.status, refusal.reply.body): refusal for refusal in Refusal}
_SEARCHED: Final = 100


def check_live(context: CheckContext, target: Target) -> Iterator[Finding]:
    """Send a signed message about a customer of the newest snapshot, and compare the answer with the one made here."""
    app = _app_at(context, target)
    if any(is_hidden(source, context) for source in app.secrets):
        yield not_checked("systemd passes the secret to the service alone, so nothing can be signed")
        return
    secrets = [Secret(value) for value in read_secrets(app, context.environ)]
    newest, address = _somebody(context)
    try:
        yield from _ask_about(address, newest, context, target, app, secrets)
    finally:
        if newest is not None:
            newest.close()


def _ask_about(
    address: str, newest: Snapshot | None, context: CheckContext, target: Target, app: App, secrets: Sequence[Secret]
) -> Iterator[Finding]:
    body = (_BODY % msgspec.json.encode({"email": address}).decode()).encode()
    path = target.path or app.path
    try:
        answers = [ask(target, path, body, app.signature_header, secret.sign(body)) for secret in secrets]
        first = plain = answers[0]
        if first.status != CARD_STATUS:
            plain = ask(target, path, _PLAIN, app.signature_header, secrets[0].sign(_PLAIN))
    except UnreachableError as error:
        yield fault(str(error))
        return
    yield from _certificate(context, first)
    if first.status != CARD_STATUS:
        yield fault(_refused(context, target, answers, plain))
        return
    here = make_app(context.settings, app, Verifier(secrets), b"")
    here.use(newest)
    yield _compare(context, first, here, (body, secrets[0].sign(body)))
    if newest is not None and newest.facts.fingerprint != fingerprint(context.plan):
        yield warning(f"{context.plan.source} has changed since its import; wait, or see import_refused in the log")


def _app_at(context: CheckContext, target: Target) -> App:
    """Give the app whose path the URL has, or else the first: its answer will tell."""
    apps = context.settings.apps
    return next((app for app in apps if app.path == target.path), apps[0])


def _somebody(context: CheckContext) -> tuple[Snapshot | None, str]:
    """Give the newest snapshot, and an address of somebody in it; without any, one that nobody has."""
    ignored = context.settings.customers.ignore_domains
    try:
        newest = open_newest(snapshot_folder(context.settings), context.plan.digest())
        sample = newest.sample(_SEARCHED) if newest else ()
    except (OSError, SnapshotFault):
        return None, _NOBODY
    cells = (read_cell(record[name]) for record in sample for name in context.plan.addresses)
    for address in (address for cell in cells for address in cell.addresses):
        if domain_of(address) not in ignored:
            return newest, address
    return newest, _NOBODY


def _certificate(context: CheckContext, answer: Answer) -> Iterator[Finding]:
    if answer.validity is not None:
        now = datetime.fromtimestamp(context.now, UTC)
        sentence = f"its certificate is accepted, {answer.validity.days_left(now):.0f} days left"
        yield warning(f"{sentence}; renew it") if answer.validity.is_near_end(now) else ok(sentence)


def _refused(context: CheckContext, target: Target, answers: Sequence[Answer], plain: Answer) -> str:
    """Say what an answer that is no card means, and what to do.

    `answers` are those to the same message, signed with each secret; `plain` is the one to a message that nothing in
    between has a reason to change.
    """
    first = answers[0]
    refusal = _REFUSALS.get((first.status, first.body))
    if refusal is None:
        return (
            f"a {first.status} that is not sidebard's; look at what answers there, or stands in between: Help Scout's"
            " message must reach sidebard without a redirect, log-in or filter"
        )
    if refusal is Refusal.NOT_FOUND:
        paths = ", ".join(app.path for app in context.settings.apps)
        return f"it serves nothing at {target.path or '/'}, and the config has {paths}; correct the URL, or reload it"
    if refusal is not Refusal.BAD_SIGNATURE:
        return f"it says {first.status}: {first.body.decode().strip()} Look at its log"
    if any(answer.status == CARD_STATUS for answer in answers):
        return "it takes the second secret and not the first; reload it, so that it reads the new one"
    if plain.status == CARD_STATUS:
        return (
            "the secret is right, but the body is changed on the way, so its signature is wrong; have the proxy or"
            " firewall in between pass it on byte by byte"
        )
    return (
        "it refuses the signature: it has another secret, or something in between takes the signature's header away;"
        " give it this secret and reload it, or look for wrong_signature in its log"
    )


def _compare(context: CheckContext, answer: Answer, here: SidebarApp, message: tuple[bytes, bytes]) -> Finding:
    """Judge a card by the one that is made here."""
    try:
        html = msgspec.json.decode(answer.body, type=dict[str, str])["html"]
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError):
        return fault("it answers with no card, so it is not sidebard; correct the URL, or look at the proxy")
    expected = here.answer(*message).body
    if answer.body == expected:
        return ok(f"it answers as it should, after {answer.seconds * 1000:.0f} ms")
    if html == msgspec.json.decode(expected, type=dict[str, str])["html"]:
        return warning("the card is right, but something in between writes the answer anew; have it not do so")
    if expected == _NOT_LOADED:
        return not_checked("it answers with a card; there is no snapshot here to compare it with")
    return fault(_why_other(context, answer, here, message))


def _why_other(context: CheckContext, answer: Answer, here: SidebarApp, message: tuple[bytes, bytes]) -> str:
    """Say why a card may not be the one made here, and what to do."""
    if answer.body == _NOT_LOADED:
        return "it has no customers yet; its log says why (import_refused), and `sidebard check`"
    folder = snapshot_folder(context.settings)
    for number in generations(folder)[1:]:
        with suppress(SnapshotFault), closing(Snapshot(file_of(folder, number), number)) as old:
            here.use(old)
            if here.answer(*message).body == answer.body:
                return f"it answers from old data, generation {number}; restart it, and report this"
    return (
        "its card is not the one made here: it has other customers or another card; compare its config, and reload it"
    )
