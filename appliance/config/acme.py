"""The settings of certificates from an authority (ACME), and what is wrong with them across keys."""

# ruff: noqa: RUF009  (`value` is dataclasses.field with a rule)

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from appliance.config import values
from appliance.config.endpoint import Endpoint, parse_endpoint
from appliance.config.reader import Reader, value
from appliance.config.secret_source import SecretSource, parse_secret
from appliance.config.values import InvalidValueError

if TYPE_CHECKING:
    from appliance.config.schema import Settings

DIRECTORIES: Final[Mapping[str, str]] = {
    "letsencrypt": "https://acme-v02.api.letsencrypt.org/directory",
    "letsencrypt-staging": "https://acme-staging-v02.api.letsencrypt.org/directory",
    "zerossl": "https://acme.zerossl.com/v2/DV90",
    "google": "https://dv.acme-v02.api.pki.goog/directory",
}
"""Public authorities by the names that the config has for them."""

CHALLENGES: Final = ("tls-alpn-01", "http-01")
_MAX_NAMES: Final = 100
_NAME_BYTES: Final = 253
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_EMAIL: Final = re.compile(r"[^\s@?,]+@[^\s@?,]+")
_OURS: Final = frozenset({"challenges", "lock"})  # what else is in the folder of certificates
_LOCAL: Final = ("localhost", "local", "internal", "test", "invalid", "example", "lan", "home.arpa", "onion")
"""Domains in which no public authority issues certificates (RFC 6761, RFC 8375, ICANN for "internal")."""


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of an authority. `name` is what the config says: a word, or the URL of one of the operator's own."""

    name: str
    url: str

    @property
    def is_own(self) -> bool:
        """Whether it may issue for names that only the operator's network knows."""
        return self.name not in DIRECTORIES


def parse_server_name(value: object) -> str:
    """Parse the name of a server, as it stands in certificates: in lower case, and encoded if it is not ASCII."""
    if not isinstance(value, str) or not value:
        raise InvalidValueError("must be the name of a server", 'write, for example, "sidebar.example.com"')
    if value.startswith("*."):
        raise InvalidValueError("is a wildcard, which needs a DNS challenge", "write the name of this server itself")
    try:
        ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        pass
    else:
        raise InvalidValueError("is an IP address", "write a name that points to it")
    name = _encoded(value.lower().removesuffix("."))
    if len(name) > _NAME_BYTES or not all(map(_LABEL.fullmatch, name.split("."))) or name in _OURS:
        raise InvalidValueError(
            "must be the name of a server", 'write, for example, "sidebar.example.com", without https:// or a port'
        )
    return name


def _encoded(name: str) -> str:
    if name.isascii():
        return name
    import idna

    try:
        return idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return ""


def parse_directory(value: object) -> Directory:
    """Parse one directory: a name, or an https URL."""
    if isinstance(value, str) and value in DIRECTORIES:
        return Directory(value, DIRECTORIES[value])
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isascii() and value.isprintable() else None
        is_url = parts is not None and parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc
        _ = parts.port if parts is not None else None
    except ValueError:
        is_url = False
    if not is_url or " " in str(value):
        known = ", ".join(f'"{name}"' for name in DIRECTORIES)
        raise InvalidValueError("is not the directory of an authority", f"write one of {known}, or its https URL")
    return Directory(str(value), str(value))


def parse_directories(value: object) -> tuple[Directory, ...]:
    """Parse one directory, or a list of them."""
    if isinstance(value, list):
        return values.list_of(parse_directory, minimum=1)(value)
    return (parse_directory(value),)


def parse_email(value: object) -> str:
    """Parse an address to which the authority may write."""
    if not isinstance(value, str) or not _EMAIL.fullmatch(value) or not value.isprintable():
        raise InvalidValueError("must be an address", 'write, for example, "admin@example.com"')
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Acme:
    """[acme]: certificates for `domains`, one each. Without any it is off."""

    domains: tuple[str, ...] = value(values.list_of(parse_server_name, 0, _MAX_NAMES, "list fewer"), [])
    email: str = value(values.or_empty(parse_email), "")
    directory: tuple[Directory, ...] = value(parse_directories, "letsencrypt")
    challenges: tuple[str, ...] = value(values.list_of(values.one_of(*CHALLENGES), minimum=1), [*CHALLENGES])
    profile: str = value(values.or_empty(values.parse_name), "")
    eab: SecretSource | None = value(values.optional(parse_secret), "")
    account_key: SecretSource | None = value(values.optional(parse_secret), "")
    ca: Path | None = value(values.optional(values.parse_path), "")
    http: Endpoint | None = value(values.optional(parse_endpoint), "")

    @property
    def enabled(self) -> bool:
        """Whether there is any certificate to get."""
        return bool(self.domains)


def check_acme(settings: Settings, reader: Reader) -> None:
    """Note what is wrong with `[acme]` and other keys together, at their lines: a check for `loader.load`."""
    acme, tls = settings.acme, settings.tls
    if not acme.domains:
        return
    for key in ("certificate", "key"):
        if reader.clean(("tls", key)) and getattr(tls, key) is not None:
            reader.fault(
                ("tls", key),
                "cannot be set with acme.domains, whose certificates are obtained automatically",
                f"remove tls.{key}, or acme.domains; for more certificates of your own, use [[tls.more]]",
            )
    if reader.clean(("tls", "enabled")) and not tls.enabled:
        reader.fault(
            ("acme", "domains"),
            "needs TLS, and tls.enabled is false",
            "remove it, for the proxy in front needs the certificate, or set tls.enabled = true",
        )
    for index, name in enumerate(acme.domains):
        if name in acme.domains[:index]:
            reader.fault(("acme", "domains", index), "is listed twice", "remove one", values.shown(name))
    if reader.clean(("acme", "directory")) and not all(each.is_own for each in acme.directory):
        for index, name in enumerate(acme.domains):
            if reader.clean(("acme", "domains", index)) and is_local(name):
                reader.fault(
                    ("acme", "domains", index),
                    "is a name for which no public authority issues certificates",
                    "write a name in a domain of yours, or the URL of your own authority in acme.directory",
                    values.shown(name),
                )
    if reader.clean(("acme", "http")) and acme.http is not None and acme.http.unix is not None:
        reader.fault(("acme", "http"), "must be a port", 'write "0.0.0.0:80"')


def is_local(name: str) -> bool:
    """Return whether no public authority issues certificates for this name."""
    return "." not in name or any(name == local or name.endswith(f".{local}") for local in _LOCAL)
