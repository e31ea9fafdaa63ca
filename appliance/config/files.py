"""What a config names and does not hold: the secrets, and the operator's card."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from appliance.config.reader import KeyPath, dotted, line_of, lines_of
from appliance.config.schema import App, ConfigError, Fault, read_text
from appliance.config.values import BadValue, SecretSource

MAX_SECRET_BYTES: Final = 4096


def read_secrets(app: App, environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """Read the secrets of an app, one or two. Files lose one trailing LF or CRLF, nothing else.

    Raises ConfigError, which never holds anything of a secret.
    """
    secrets: list[bytes] = []
    faults: list[Fault] = []
    path: KeyPath = ("app", app.index, "secrets")
    for source in app.secrets:
        try:
            secrets.append(_read_secret(source, environ))
        except BadValue as bad:
            name = dotted(path) if app.file else "--secret-file"
            faults.append(Fault(app.file, None, name, f"{source} {bad.why}", None, bad.todo))
    if faults:
        raise ConfigError(placed(app.file, [(path, fault) for fault in faults]))
    return tuple(secrets)


def placed(file: Path | None, faults: Sequence[tuple[KeyPath, Fault]]) -> tuple[Fault, ...]:
    """Give faults of what stands at key paths of a config file, with their lines."""
    try:
        lines = lines_of(read_text(file)) if file and faults else {}
    except (OSError, ValueError):
        lines = {}  # it was readable when it was loaded; a message without a line will do
    return tuple(replace(fault, file=file, line=line_of(lines, path)) for path, fault in faults)


def read_card(app: App) -> str | None:
    """Read the text of an app's card, or give None if it has none of its own. Raises ConfigError."""
    if app.card is None:
        return None
    try:
        return read_text(app.card)
    except (OSError, ValueError) as error:
        why = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else "is not UTF-8"
        raise ConfigError(
            [Fault(app.card, None, "", why, None, f"correct app[{app.index}].card, or the file")]
        ) from None


def _read_secret(source: SecretSource, environ: Mapping[str, str]) -> bytes:
    if source.kind == "env":
        secret = os.fsencode(environ.get(source.name, ""))
        place = f"the environment variable {source.name}"
    else:
        folder = environ.get("CREDENTIALS_DIRECTORY", "")
        if source.kind == "credential" and not folder:
            todo = f"start under systemd with LoadCredential={source.name}:/path in the unit, or use file:"
            raise BadValue("cannot be read: systemd has passed no credentials", todo)
        path = source.path or Path(folder, source.name)
        try:
            with path.open("rb") as stream:
                secret = stream.read(MAX_SECRET_BYTES + 3)  # enough to see that it is too long, line end included
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a path"
            raise BadValue(
                f"cannot be read: {why}", f"put the secret into {path}, readable to the user that runs sidebard"
            ) from None
        secret = secret.removesuffix(b"\n").removesuffix(b"\r") if secret.endswith(b"\n") else secret
        place = str(path)
    if not secret:
        raise BadValue("is empty or not set", f"put the secret from Help Scout's app page into {place}")
    if len(secret) > MAX_SECRET_BYTES:
        raise BadValue(f"is longer than {MAX_SECRET_BYTES} bytes", f"put nothing but the secret into {place}")
    return secret
