"""From settings to the things that do the work. Every command and process puts them together here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from appliance.bootstrap.sources import source_of
from appliance.bootstrap.state_folder import ids_folder
from appliance.cards.layout import title_of
from appliance.cards.template import CardTemplate, TemplateError
from appliance.cards.vary import Vary
from appliance.config.files import read_card, read_page_secrets, read_secrets, read_webhook_secrets
from appliance.config.reader import ConfigError, Fault
from appliance.config.schema import App, Settings, Subject
from appliance.customers.address import normalise_domain
from appliance.customers.id_map import IdMap
from appliance.customers.ids import Ids
from appliance.customers.keys import split
from appliance.edge.site import Mount
from appliance.errors import StartError
from appliance.ingest.spec import ImportSpec, RelatedSpec
from appliance.observe.audit_file import AuditFile
from appliance.sidebar.answer_cache import AnswerCache
from appliance.sidebar.app import Card, Rules, SidebarApp
from appliance.sidebar.protocols import PAGES, PROTOCOLS
from appliance.sidebar.protocols.base import HelpDesk
from appliance.sidebar.protocols.helpscout_webhook import HelpScoutWebhook
from appliance.sidebar.protocols.query_signed import QuerySigned
from appliance.sidebar.subject import SubjectRule


def import_spec_of(settings: Settings) -> ImportSpec:
    """Return what an import has to do by these settings."""
    customers = settings.customers
    return ImportSpec(
        source=source_of(customers, customers),
        addresses=customers.addresses,
        null_values=customers.null_values,
        plus_addressing=customers.plus_addressing,
        gmail_dots=customers.gmail_dots,
        company_domain=customers.company_domain,
        related=tuple(
            RelatedSpec(
                name=related.name,
                source=source_of(related, customers),
                key=related.key,
                on=related.on,
                order_by=related.order_by,
                limit=related.limit,
            )
            for related in settings.related
        ),
        keys=tuple(dict.fromkeys(rule.column for app in settings.apps for rule in app.subject)),
        id_column=settings.helpscout.column,
        max_shrink=customers.max_shrink,
        max_bad_rows=customers.max_bad_rows,
        ready_file=customers.ready_file,
        checksum_file=customers.checksum_file,
    )


def make_protocol(app: App, secrets: Sequence[bytes], others: Mapping[str, Sequence[bytes]] | None = None) -> HelpDesk:
    """Make the protocol of an app with these secrets. `others` are the secrets of each other app by its name."""
    return PROTOCOLS[app.protocol](secrets, header=app.signature_header, vary=app.vary, others=others)


def make_page(
    app: App, secrets: Sequence[bytes], others: Mapping[str, Sequence[bytes]] | None = None
) -> QuerySigned | None:
    """Make the protocol of an app's page with these secrets; None without `[app.page]`. `others` as for a protocol."""
    page = app.page
    if page is None:
        return None
    return PAGES[app.protocol](
        secrets,
        own_parameters=page.own_parameters,
        networks=page.networks,
        inboxes=page.inboxes,
        vary=app.vary,
        others=others,
    )


def make_app(
    settings: Settings,
    app: App,
    protocol: HelpDesk,
    log_key: bytes = b"",
    clock: Callable[[], float] = time.time,
    page: HelpDesk | None = None,
    ids: Ids | None = None,
) -> SidebarApp:
    """Make one app, with its caches still empty and no data. Raises ConfigError if its card cannot be used."""
    cache, customers = settings.cache, settings.customers
    rules = Rules(
        frozenset(normalise_domain(domain, gmail_dots=customers.gmail_dots) for domain in customers.ignore_domains),
        customers.plus_addressing,
        customers.max_age,
        settings.server.timezone,
        customers.addresses,
        customers.gmail_dots,
        settings.helpscout.column,
    )
    return SidebarApp(
        app.name,
        [protocol] if page is None else [protocol, page],
        AnswerCache(
            size=cache.size,
            ttl=cache.ttl,
            unknown_size=cache.unknown_size,
            unknown_ttl=cache.unknown_ttl,
            timer=time.monotonic,
        ),
        clock=clock,
        log_key=log_key,
        rules=rules,
        card=card_of(settings, app),
        names_addresses=settings.log.trail is not None and settings.log.trail_addresses,
        ids=ids,
    )


def card_of(settings: Settings, app: App) -> Card:
    """Give what an app's section says of its card. Raises ConfigError if the template cannot be used."""
    subject = tuple(_subject_rule(settings, app, rule) for rule in app.subject)
    return Card(make_template(app), app.display, Vary(app.vary), subject)


def _subject_rule(settings: Settings, app: App, rule: Subject) -> SubjectRule:
    table, column = split(rule.column, [related.name for related in settings.related])
    title = title_of(table, column, app.display.titles)
    in_a_sentence = title if title[1:2].isupper() else title[:1].lower() + title[1:]
    return SubjectRule(rule.pattern, rule.column, in_a_sentence)


def make_template(app: App) -> CardTemplate | None:
    """Compile an app's template, or give None if it has none. Raises ConfigError with the file and line."""
    text = read_card(app)
    if text is None or app.card is None:
        return None
    try:
        with _unheard():
            return CardTemplate(text, app.card.name)
    except TemplateError as fault:
        why, todo = f"{app.card.parent}/{fault.sentence}", fault.hint or "correct the template"
        raise ConfigError([Fault(None, None, "", why, None, todo)]) from None


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep Tornado from logging the Python that it made of a template, when that does not compile."""
    tornado = logging.getLogger("tornado.application")
    tornado.disabled = True
    try:
        yield
    finally:
        tornado.disabled = False


def make_mounts(settings: Settings, environ: Mapping[str, str], log_key: bytes) -> tuple[Mount, ...]:
    """Make every app, at its path. Raises ConfigError if a secret cannot be read."""
    secrets_of = {app.name: read_secrets(app, environ) for app in settings.apps}
    pages = {f"{app.name}, page": read_page_secrets(app, environ) for app in settings.apps if app.page is not None}
    hooks = {
        f"{app.name}, webhooks": read_webhook_secrets(app, environ) for app in settings.apps if app.page is not None
    }
    ids = IdMap(ids_folder(settings))
    mounts = []
    for app in settings.apps:
        name, of_page, of_hooks = app.name, f"{app.name}, page", f"{app.name}, webhooks"
        protocol = make_protocol(app, secrets_of[name], _without({**secrets_of, **pages, **hooks}, name))
        page = make_page(app, pages.get(of_page, ()), _without({**pages, **secrets_of, **hooks}, of_page))
        made = make_app(settings, app, protocol, log_key, page=page, ids=ids if page is not None else None)
        webhook = None
        if page is not None:
            webhook = HelpScoutWebhook(hooks[of_hooks], _without({**hooks, **secrets_of, **pages}, of_hooks))
        mounts.append(Mount(app.path, protocol.header, made, webhook))
    return tuple(mounts)


def _without(secrets: Mapping[str, tuple[bytes, ...]], name: str) -> dict[str, tuple[bytes, ...]]:
    """Return the secrets of all but `name`, as far as they are others than its own."""
    return {other: theirs for other, theirs in secrets.items() if other != name and theirs != secrets.get(name)}


def trail_file(settings: Settings) -> AuditFile | None:
    """Return the file of the audit trail, not yet opened; None without one."""
    return AuditFile(settings.log.trail) if settings.log.trail is not None else None


def prepare_trail(settings: Settings) -> None:
    """Check that the audit trail can be written, if there is one: no card may be shown before. Raises StartError."""
    file = trail_file(settings)
    if file is None:
        return
    try:
        file.open()
        file.close()
    except OSError as error:
        raise StartError(
            f"{file.path}: the audit trail cannot be written: {error.strerror};"
            " name another file in log.trail, or let the user that runs sidebard write there"
        ) from None
