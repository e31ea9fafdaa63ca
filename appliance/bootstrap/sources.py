"""From the sections of the config that name a source to the sources."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from functools import partial
from typing import Final

from appliance.config.files import read_secret
from appliance.config.lines import KeyPath
from appliance.config.reader import Reader
from appliance.config.schema import Customers, Related, Settings
from appliance.config.secret_source import SecretSource
from appliance.config.values import InvalidValueError, shown
from appliance.ingest import sources
from appliance.ingest.sources.base import Source, SourceError, SourceSettingError
from appliance.ingest.spec import ImportSpec

REFRESH: Final = 60.0
DATABASE_REFRESH: Final = 300.0
"""Seconds between two looks at a source if `refresh` is not set. That of a database is dearer: it is fetched."""

_OF_SERVER: Final = ("password", "tls", "ca", "timeout", "changed")
"""Keys of how a server is asked: they hold for one address."""

_ACCOUNT: Final = re.compile(r"//.*@")
"""The part of an address that may hold a password, which must not end in a log."""


def source_of(section: Customers | Related, customers: Customers) -> Source:
    """Return the source that a section names. A key that only `customers` has is for related rows, too.

    Raises SourceSettingError.
    """
    settings = {field.name: getattr(of, field.name) for of in (customers, section) for field in fields(of)}
    name = server_section = "customers"
    if isinstance(section, Related):
        name = f"related.{section.name}"
        if _is_of_customers(section, customers):
            settings |= {key: getattr(customers, key) for key in _OF_SERVER}
        else:
            server_section = name
            settings["timeout"] = section.timeout or customers.timeout
    location = section.source or customers.source
    if (password := settings["password"]) is not None:
        settings["password"] = partial(_read_password, password, f"{server_section}.password")
    return sources.parse(location.text, location.path, name, settings)


def refresh_of(settings: Settings, spec: ImportSpec) -> float:
    """Return the seconds between two looks at the sources."""
    return settings.customers.refresh or (DATABASE_REFRESH if spec.is_fetched else REFRESH)


def passwords(settings: Settings) -> dict[str, SecretSource]:
    """Return where the passwords of databases are, by the key that says so."""
    found = {"customers.password": settings.customers.password}
    found |= {f"related.{each.name}.password": each.password for each in settings.related}
    return {key: source for key, source in found.items() if source is not None}


def _is_of_customers(section: Related, customers: Customers) -> bool:
    """Return whether related rows are at the same address as the customers."""
    return section.source is None or section.source.text == customers.source.text


def _read_password(source: SecretSource, key: str) -> str:
    """Read the password of a database, each time that it is needed. Raises SourceError."""
    try:
        return read_secret(source, os.environ, "the password").decode()
    except InvalidValueError as error:
        raise SourceError(f"{key}: {source} {error.reason}; {error.hint}") from None
    except UnicodeDecodeError:
        raise SourceError(f"{key}: {source} is not UTF-8; write it as UTF-8") from None


def check_sources(settings: Settings, reader: Reader) -> None:
    """Note what is wrong with the sources, at their lines of the config: a check for `loader.load`."""
    customers = settings.customers
    _check_source(customers, ("customers",), customers, reader)
    for related in settings.related:
        path = ("related", related.name)
        if related.source is None and not reader.clean(("customers", "source")):
            continue
        if reader.clean((*path, "source"), ("customers", "source")) and _is_of_customers(related, customers):
            _check_keys(related, path, reader)
        _check_source(related, path, customers, reader)


def _check_keys(related: Related, path: KeyPath, reader: Reader) -> None:
    """Note keys that say again, or in another way, what `customers` says of the same server."""
    for key in _OF_SERVER:
        if reader.clean((*path, key)) and getattr(related, key):
            hint = f"remove it, or name another server in {path[0]}.{path[1]}.source"
            reader.fault((*path, key), "is that of the customers, whose server has these rows", hint)


def _check_source(section: Customers | Related, path: KeyPath, customers: Customers, reader: Reader) -> None:
    """Note what is wrong with one source."""
    location = section.source or customers.source
    if not reader.clean((*path, "source")) or location is None:
        return
    try:
        kind = sources.kind_of(location.text)
        if section.source is None and "table" not in kind.keys:
            hint = f'add source = "orders.csv" under [{path[0]}.{path[1]}]'
            reader.fault((*path, "source"), "required, because the customers' source has one table", hint)
        elif reader.clean(*((*table, key) for table in (("customers",), path) for key in kind.keys)):
            source_of(section, customers)
    except SourceSettingError as bad:
        got = shown(_ACCOUNT.sub("//...@", location.text)) if bad.key == "source" else None
        reader.fault((*path, bad.key), bad.reason, bad.hint, got)
