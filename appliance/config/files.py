"""What a config names but does not contain: the secrets, and the operator's card."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from appliance.config.lines import KeyPath
from appliance.config.loader import read_text
from appliance.config.reader import ConfigError, Fault, dotted, locate
from appliance.config.schema import App, Settings
from appliance.config.secret_source import SecretSource
from appliance.config.values import InvalidValueError

MAX_SECRET_BYTES: Final = 4096
ACME_SECRETS: Final = {"eab": "the key id and the key", "account_key": "the account's key"}
MIN_HASH_KEY_BYTES: Final = 32


def read_secrets(app: App, environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """Read the secrets of an app, one or two. Files lose one trailing LF or CRLF, nothing else.

    Raises ConfigError, which never contains any part of a secret.
    """
    return _read_secrets(app, app.secrets, ("app", app.index, "secrets"), environ)


def read_page_secrets(app: App, environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """Read the secrets of an app's page in the same way. Without any of its own they are the app's."""
    if app.page is None or not app.page.secrets:
        return read_secrets(app, environ)
    return _read_secrets(app, app.page.secrets, ("app", app.index, "page", "secrets"), environ)


def read_webhook_secrets(app: App, environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """Read the secrets of an app's webhooks in the same way. Without any of its own they are the app's."""
    if app.page is None or not app.page.webhook_secrets:
        return read_secrets(app, environ)
    return _read_secrets(app, app.page.webhook_secrets, ("app", app.index, "page", "webhook_secrets"), environ)


def read_api_credentials(settings: Settings, environ: Mapping[str, str]) -> tuple[bytes, bytes] | None:
    """Read the id and the secret of the Inbox API in the same way; None if there are none. Raises ConfigError."""
    given = settings.helpscout
    if given.api_id is None or given.api_secret is None:
        return None
    read: list[bytes] = []
    faults: list[tuple[KeyPath, Fault]] = []
    for key, source in (("api_id", given.api_id), ("api_secret", given.api_secret)):
        path, what = ("helpscout", key), key.removeprefix("api_")
        try:
            read.append(read_secret(source, environ, f"the {what}", " from Your Profile > My Apps"))
        except InvalidValueError as error:
            faults.append(
                (path, Fault(settings.file, None, dotted(path), f"{source} {error.reason}", None, error.hint))
            )
    if faults:
        raise ConfigError(with_line_numbers(settings.file, faults))
    return read[0], read[1]


def read_hash_key(settings: Settings, environ: Mapping[str, str]) -> bytes | None:
    """Read the secret of the log's hashes in the same way; None if there is none. Raises ConfigError.

    A short one could be guessed from the hash of a known address: then whoever has a log could search it for others.
    """
    source = settings.log.hash_key
    if source is None:
        return None
    try:
        secret = read_secret(source, environ, "the key of the log's hashes")
        if len(secret) < MIN_HASH_KEY_BYTES:
            raise InvalidValueError(
                f"has {len(secret)} bytes, and at least {MIN_HASH_KEY_BYTES} are needed",
                "create one with `openssl rand -hex 32`, the same on every node",
            )
    except InvalidValueError as error:
        path = ("log", "hash_key")
        fault = Fault(settings.file, None, dotted(path), f"{source} {error.reason}", None, error.hint)
        raise ConfigError(with_line_numbers(settings.file, [(path, fault)])) from None
    return secret


def _read_secrets(
    app: App, sources: Sequence[SecretSource], path: KeyPath, environ: Mapping[str, str]
) -> tuple[bytes, ...]:
    secrets: list[bytes] = []
    faults: list[Fault] = []
    for source in sources:
        try:
            secrets.append(read_secret(source, environ, "the secret", " from Help Scout's app page"))
        except InvalidValueError as error:
            name = dotted(path) if app.file else "--secret-file"
            faults.append(Fault(app.file, None, name, f"{source} {error.reason}", None, error.hint))
    if faults:
        raise ConfigError(with_line_numbers(app.file, [(path, fault) for fault in faults]))
    return tuple(secrets)


def read_acme_secret(settings: Settings, key: str, environ: Mapping[str, str]) -> bytes:
    """Read the secret that `key` of [acme] names; b"" if it names none. Raises ConfigError."""
    source: SecretSource | None = getattr(settings.acme, key)
    if source is None:
        return b""
    try:
        return read_secret(source, environ, ACME_SECRETS[key])
    except InvalidValueError as error:
        fault = Fault(settings.file, None, f"acme.{key}", f"{source} {error.reason}", None, error.hint)
        raise ConfigError(with_line_numbers(settings.file, [(("acme", key), fault)])) from None


def with_line_numbers(file: Path | None, faults: Sequence[tuple[KeyPath, Fault]]) -> tuple[Fault, ...]:
    """Return faults at key paths of a config file that was loaded before, with their lines."""
    try:
        text = read_text(file) if file and faults else ""
    except (OSError, ValueError):
        text = ""  # it was readable when it was loaded; a message without a line will do
    return locate(faults, file, text)


def read_card(app: App) -> str | None:
    """Return the text of an app's card; None if it has none of its own. Raises ConfigError."""
    if app.card is None:
        return None
    try:
        return read_text(app.card)
    except (OSError, ValueError) as error:
        reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigError(
            [Fault(app.card, None, "", reason, None, f"correct app[{app.index}].card, or the file")]
        ) from None


def read_secret(source: SecretSource, environ: Mapping[str, str], what: str, origin: str = "") -> bytes:
    """Read one secret; messages call it `what`, and may say its `origin`.

    Raises InvalidValueError, which holds no part of it.
    """
    if source.kind == "env":
        secret = os.fsencode(environ.get(source.name, ""))
        place = f"the environment variable {source.name}"
    else:
        folder = environ.get("CREDENTIALS_DIRECTORY", "")
        if source.kind == "credential" and not folder:
            hint = f"start under systemd with LoadCredential={source.name}:/path in the unit, or use file:"
            raise InvalidValueError("cannot be read: systemd has passed no credentials", hint)
        path = source.path or Path(folder, source.name)
        try:
            with path.open("rb") as stream:
                secret = stream.read(MAX_SECRET_BYTES + 3)  # enough to see that it is too long, line end included
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a path"
            raise InvalidValueError(
                f"cannot be read: {reason}", f"put {what} into {path}, readable to the user that runs sidebard"
            ) from None
        secret = secret.removesuffix(b"\n").removesuffix(b"\r") if secret.endswith(b"\n") else secret
        place = str(path)
    if not secret:
        raise InvalidValueError("is empty or not set", f"put {what}{origin} into {place}")
    if len(secret) > MAX_SECRET_BYTES:
        raise InvalidValueError(f"is longer than {MAX_SECRET_BYTES} bytes", f"put nothing but {what} into {place}")
    return secret
