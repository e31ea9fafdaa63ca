"""Where a secret is, and the parser of it; `files` reads the secret."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from appliance.config.values import InvalidValueError

_CREDENTIAL: Final = re.compile(r"(?!\.)[A-Za-z0-9_.-]{1,255}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Where a secret is read from, never the secret itself. `path` is set for the kind "file" alone."""

    kind: Literal["file", "credential", "env"]
    name: str
    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"


def parse_secret(value: object) -> SecretSource:
    """Parse "file:PATH", "credential:NAME" or "env:NAME"."""
    kind, _, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if kind == "file" and name and "\0" not in name:
        return SecretSource("file", name, Path(name))
    if kind == "credential" and _CREDENTIAL.fullmatch(name):
        return SecretSource("credential", name)
    if kind == "env" and _VARIABLE.fullmatch(name):
        return SecretSource("env", name)
    raise InvalidValueError(
        "must say where the secret is", 'write "file:PATH", "credential:NAME" or "env:NAME", never the secret'
    )
