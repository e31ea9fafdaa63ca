"""From settings to the things that do the work. Every command and process puts them together here."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Final

from appliance.config import App, ConfigError, Fault, Settings, Subject
from appliance.config_files import read_card, read_secrets
from appliance.customers.address import normalise_domain
from appliance.customers.keys import split
from appliance.customers.lookup import Lookup
from appliance.customers.plan import Plan, RelatedPlan
from appliance.edge.web import Mount
from appliance.observe.audit_file import AuditFile
from appliance.observe.logs import log
from appliance.sidebar.app import Card, Finished, Rules, SidebarApp, weigh
from appliance.sidebar.diagnosis import Diagnoser
from appliance.sidebar.layout import Display, title_of
from appliance.sidebar.signature import Secret, Verifier
from appliance.sidebar.subject import SubjectRule
from appliance.sidebar.template import CardTemplate, TemplateFault
from appliance.sidebar.vary import Vary

_LOG_KEY_BYTES: Final = 32


class StartFault(Exception):
    """The config is good and the start failed all the same (exit 3); the text is a sentence."""


def plan_of(settings: Settings) -> Plan:
    """Give what an import has to do by these settings."""
    customers = settings.customers
    return Plan(
        source=customers.source,
        table=customers.table,
        addresses=customers.addresses,
        encoding=customers.encoding,
        plus_addressing=customers.plus_addressing,
        related=tuple(
            RelatedPlan(
                name=related.name,
                source=related.source,
                table=related.table,
                key=related.key,
                on=related.on,
                order_by=related.order_by,
                limit=related.limit,
            )
            for related in settings.related
        ),
        keys=tuple(dict.fromkeys(rule.column for app in settings.apps for rule in app.subject)),
        max_shrink=customers.max_shrink,
        max_bad_rows=customers.max_bad_rows,
        ready_file=customers.ready_file,
        checksum_file=customers.checksum_file,
    )


def snapshot_folder(settings: Settings) -> Path:
    """Give where the snapshots are kept."""
    return settings.server.state / "customers"


def certificate_folder(settings: Settings) -> Path:
    """Give where the self-signed certificate is kept."""
    return settings.server.state / "self-signed"


def make_app(
    settings: Settings,
    app: App,
    verifier: Verifier,
    log_key: bytes,
    diagnoser: Diagnoser | None = None,
    clock: Callable[[], float] = time.time,
) -> SidebarApp:
    """Make one app, with its caches still empty and no data. Raises ConfigError if its card cannot be used."""
    cache, customers = settings.cache, settings.customers
    lookup: Lookup[Finished] = Lookup(
        size=cache.size,
        ttl=cache.ttl,
        unknown_size=cache.unknown_size,
        unknown_ttl=cache.unknown_ttl,
        timer=time.monotonic,
        weigh=weigh,
    )
    rules = Rules(
        frozenset(map(normalise_domain, customers.ignore_domains)),
        customers.plus_addressing,
        customers.max_age,
        settings.server.timezone,
        customers.addresses,
    )
    return SidebarApp(
        app.name,
        verifier,
        lookup,
        clock=clock,
        log_key=log_key,
        rules=rules,
        card=card_of(settings, app),
        diagnoser=diagnoser,
        names_addresses=settings.log.trail is not None and settings.log.trail_addresses,
    )


def card_of(settings: Settings, app: App) -> Card:
    """Give what an app's section says of its card. Raises ConfigError if the template cannot be used."""
    display = Display(**{field.name: getattr(app.display, field.name) for field in fields(Display)})
    subject = tuple(_subject_rule(settings, app, rule) for rule in app.subject)
    return Card(make_template(app), display, Vary(app.vary), subject)


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
    except TemplateFault as fault:
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
    mounts = []
    for app in settings.apps:
        own = secrets_of[app.name]
        verifier = Verifier([Secret(value) for value in own])
        diagnoser = Diagnoser(own, {name: theirs for name, theirs in secrets_of.items() if name != app.name})
        made = make_app(settings, app, verifier, log_key, diagnoser)
        mounts.append(Mount(app.path, app.signature_header, made))
    return tuple(mounts)


def trail_file(settings: Settings) -> AuditFile | None:
    """Return the file of the audit trail, not yet opened; None without one."""
    return AuditFile(settings.log.trail) if settings.log.trail is not None else None


def prepare_trail(settings: Settings) -> None:
    """Check that the audit trail can be written, if there is one: no card may be shown before. Raises StartFault."""
    file = trail_file(settings)
    if file is None:
        return
    try:
        file.open()
        file.close()
    except OSError as error:
        raise StartFault(
            f"{file.path}: the audit trail cannot be written: {error.strerror};"
            " name another file in log.trail, or let the user that runs sidebard write there"
        ) from None


def prepare_state(settings: Settings, known: bytes = b"") -> bytes:
    """Make the state folder and the key of the log's hashes, if they are not there; give the key.

    The key is kept, so that a customer has the same hash in every line that this installation ever writes. `known` is
    the key in use: should somebody have removed it while the service runs, it is put back.
    Raises StartFault.
    """
    state = settings.server.state
    file = state / "log.key"
    try:
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None
        key = _read_log_key(file)
        if not key:
            _write_log_key(file, known or secrets.token_bytes(_LOG_KEY_BYTES))
            if known:
                log.warning("log_key_restored", file=str(file), why="it was removed; customers keep their hashes")
            key = _read_log_key(file)
    except OSError as error:
        raise StartFault(state_sentence(state, error)) from None
    return key


def _read_log_key(file: Path) -> bytes:
    try:
        return file.read_bytes()[:64]
    except FileNotFoundError:
        return b""


def _write_log_key(file: Path, key: bytes) -> None:
    """Write it whole or not at all: a full disk must not leave an empty one, which would hash without a key."""
    unfinished = file.with_name(f"log.key.{os.getpid()}.tmp")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as binary:
            binary.write(key)
            binary.flush()
            os.fsync(descriptor)
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)


def state_fault(settings: Settings) -> str:
    """Say why the state folder cannot be written, "" if it can; what is not there can be made."""
    state = settings.server.state
    try:
        for folder in (state, snapshot_folder(settings)):
            if folder.exists():
                _check_writable(folder)
    except OSError as error:
        return state_sentence(state, error)
    return ""


def _check_writable(folder: Path) -> None:
    """Raise OSError if this process cannot make files in `folder`."""
    if not folder.is_dir():
        number = errno.ENOTDIR
    elif os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return
    else:
        number = errno.EROFS if os.statvfs(folder).f_flag & os.ST_RDONLY else errno.EACCES
    raise OSError(number, os.strerror(number))


def state_sentence(folder: Path, error: OSError) -> str:
    """Say that the state folder cannot be used, and what to do."""
    return (
        f"{folder}: the state folder cannot be used: {error.strerror};"
        " name another in server.state, or correct its owner"
    )
