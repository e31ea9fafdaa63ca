"""The config, and the secrets that it names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, fault, not_checked, ok, warning
from appliance.checks.registry import CONFIG, check
from appliance.config.files import read_hash_key, read_page_secrets, read_secrets, read_webhook_secrets
from appliance.config.reader import ConfigError
from appliance.config.schema import App
from appliance.config.secret_source import SecretSource
from appliance.sidebar.protocols.secret_shapes import odd_shapes
from appliance.system.privileges import user_entry


@check(CONFIG)
def config(context: CheckContext) -> Iterator[Finding]:
    """The config file is valid, and the user that `server.user` names exists."""
    yield ok(str(context.settings.file or "given by flags"))
    user = context.settings.server.user
    if user and os.geteuid() == 0:
        user_entry(user)  # raises what the start would raise
    if context.file_user is not None:
        why = "server.user" if user else "the service's user"
        yield ok(f"checking file access as user {context.file_user.pw_name} ({why})")


@check("secrets", at_start=True)
def secrets(context: CheckContext) -> Iterator[Finding]:
    """Each secret can be read, and nothing else was saved with it.

    It has 16 to 40 bytes of UTF-8, without white space, quotes, byte order mark, `NAME=`, comment, second line or
    invisible characters around or in it. That of `log.hash_key` has at least 32 bytes, whatever they are.
    """
    sources = [(app, source) for app in context.settings.apps for source in app.all_secrets]
    for app, source in sources:
        where = f"{app.name}, {source}"
        if is_hidden(source, context):
            yield _hidden(where)
            continue
        try:
            (secret,) = _read(app, source, context)
        except ConfigError as error:
            yield from map(fault, error.sentences)
            continue
        yield from _judge(secret, where)
    yield from _hash_key(context)


def _hash_key(context: CheckContext) -> Iterator[Finding]:
    source = context.settings.log.hash_key
    if source is None:
        return
    where = f"log.hash_key, {source}"
    if is_hidden(source, context):
        yield _hidden(where)
        return
    try:
        key = read_hash_key(context.settings, context.environ)
    except ConfigError as error:
        yield from map(fault, error.sentences)
        return
    yield ok(f"{where}: {len(key or b'')} bytes")


def _hidden(where: str) -> Finding:
    return not_checked(f"{where}: systemd passes it only to the service when it starts")


def _read(app: App, source: SecretSource, context: CheckContext) -> tuple[bytes, ...]:
    """Read a secret of an app or of its page; a message names the key that it stands under."""
    if source in app.secrets or app.page is None:
        return read_secrets(replace(app, secrets=(source,)), context.environ)
    if source in app.page.secrets:
        return read_page_secrets(replace(app, page=replace(app.page, secrets=(source,))), context.environ)
    return read_webhook_secrets(replace(app, page=replace(app.page, webhook_secrets=(source,))), context.environ)


def is_hidden(source: SecretSource, context: CheckContext) -> bool:
    """Return whether a secret is a systemd credential that this process cannot read.

    That is so outside the unit, and with systemd 252 (Debian 12) also for what ExecReload= runs inside it: the folder
    of credentials is named there but cannot be entered.
    """
    return source.kind == "credential" and not os.access(context.environ.get("CREDENTIALS_DIRECTORY", ""), os.X_OK)


def _judge(secret: bytes, where: str) -> Iterator[Finding]:
    found = [f"{where}: {sentence}" for sentence in odd_shapes(secret)]
    yield from map(warning, found)
    if not found:
        yield ok(f"{where}: {len(secret)} bytes")
