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

_ACCOUNT: Final = re.compile(r"//.*@")
"""The part of an address that may hold a password, which must not end in a log."""


def source_of(section: Customers | Related, customers: Customers) -> Source:
    """Return the source that a section names. A key that only `customers` has is for related rows, too.

    Raises SourceSettingError.
    """
    settings = {field.name: getattr(of, field.name) for of in (customers, section) for field in fields(of)}
    if customers.password is not None:
        settings["password"] = partial(_read_password, customers.password)
    name = f"related.{section.name}" if isinstance(section, Related) else "customers"
    return sources.parse(section.source.text, section.source.path, name, settings)


def _read_password(source: SecretSource) -> str:
    """Read the password of a database, each time that it is needed. Raises SourceError."""
    try:
        return read_secret(source, os.environ, "the password").decode()
    except InvalidValueError as error:
        raise SourceError(f"customers.password: {source} {error.reason}; {error.hint}") from None
    except UnicodeDecodeError:
        raise SourceError(f"customers.password: {source} is not UTF-8; write it as UTF-8") from None


def check_sources(settings: Settings, reader: Reader) -> None:
    """Note what is wrong with the sources, at their lines of the config: a check for `loader.load`."""
    sections: list[tuple[KeyPath, Customers | Related]] = [(("customers",), settings.customers)]
    sections += [(("related", related.name), related) for related in settings.related]
    for path, section in sections:
        if not reader.clean((*path, "source")):
            continue
        try:
            kind = sources.kind_of(section.source.text)
            if reader.clean(*((*table, key) for table in (("customers",), path) for key in kind.keys)):
                source_of(section, settings.customers)
        except SourceSettingError as bad:
            got = shown(_ACCOUNT.sub("//...@", section.source.text)) if bad.key == "source" else None
            reader.fault((*path, bad.key), bad.reason, bad.hint, got)
