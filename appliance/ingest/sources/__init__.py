"""Where customers and related rows come from: one file a kind of source, found by scheme or suffix.

To add one: a file in this folder with a `KIND`, a line in `KINDS`, its keys in `config/schema.py` if it needs any, and
its row in docs/customers.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from appliance.ingest.sources import csv_file, mysql, postgres, sqlite_file
from appliance.ingest.sources.base import Source, SourceKind, SourceSettingError

KINDS: Final[tuple[SourceKind, ...]] = (
    csv_file.KIND,
    sqlite_file.KIND,
    postgres.KIND,
    mysql.KIND,
)


def kind_of(text: str) -> SourceKind:
    """Return the kind of source that `text` names, by its scheme or else its suffix. Raises SourceSettingError."""
    scheme, suffix = _scheme(text), Path(text).suffix.lower()
    found = [kind for kind in KINDS if scheme in kind.schemes] or [kind for kind in KINDS if suffix in kind.suffixes]
    if found:
        return found[0]
    suffixes = "".join(f" {suffix}" for kind in KINDS for suffix in kind.suffixes)
    schemes = "".join(f" {scheme}:" for kind in KINDS for scheme in kind.schemes)
    begins = f", and begins with none of{schemes}" if schemes else ""
    files = " or ".join(kind.title for kind in KINDS if kind.suffixes)
    raise SourceSettingError(
        "source", f"has none of the endings{suffixes}{begins}", f"name a {files} file with one of them"
    )


def parse(text: str, path: Path, section: str, settings: Mapping[str, object]) -> Source:
    """Return the source that `text` names; if it is a file, it is at `path`.

    `section` is its table in the config, and `settings` the keys there. Raises SourceSettingError.
    """
    kind = kind_of(text)
    location = text if _scheme(text) in kind.schemes else path
    return kind.parse(location, section, **{key: settings[key] for key in kind.keys})


def _scheme(text: str) -> str:
    return text.partition(":")[0]
