"""What `sidebard init` proposes: it looks at a file of customers, and renders a config for it.

file --look--> Found --(with what the operator chose)--> Proposal --render--> the text of sidebard.toml
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.customers.address_cell import read_cell
from appliance.customers.column_name import name_key
from appliance.ingest import sources
from appliance.ingest.sources.base import OpenSource, Source, SourceError, SourceSettingError
from appliance.ingest.sources.csv_reader import DELIMITERS

_MOST: Final = 0.5
"""A column has addresses if more of its cells than this share, of those that are not empty, hold nothing else."""

_FALLBACK_ENCODING: Final = "cp1252"
_SETTINGS: Final[Mapping[str, object]] = {
    "encoding": "",
    "skip_lines": 0,
    "unterminated_last_line": "accept",
    "ready_file": None,
    "checksum_file": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was seen in a source."""

    source: Path
    table: str = ""
    """Of a database; "" for a file of text."""

    addresses: tuple[str, ...]
    encoding: str = ""
    lacks_last_end: bool = False
    id_column: str = ""
    """A column that holds Help Scout's id of the customer, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A config, before it is written."""

    found: Found
    secret: str
    """The name of the secret's file."""

    state: str = ""
    certificate: tuple[str, str] | None = None
    """The files of the certificate and its key; None: later."""

    card: str = ""
    admin: str = ""


def look(file: Path, table: str) -> Found:
    """Look at a file of customers. Raises SourceError with one sentence if nothing can be made of it."""
    try:
        kind = sources.kind_of(str(file))
    except SourceSettingError as fault:
        raise SourceError(f"{file} {fault.reason}; {fault.hint}") from None
    if not kind.suffixes:
        raise SourceError("init looks at files only; for a database, write the config as in docs/databases.md")
    if "table" in kind.keys:
        return _look(sources.parse(str(file), file, "customers", {"table": table}), file, table=table)
    try:
        return _look(sources.parse(str(file), file, "customers", _SETTINGS), file)
    except SourceError as fault:
        try:
            fallback = {**_SETTINGS, "encoding": _FALLBACK_ENCODING}
            return _look(sources.parse(str(file), file, "customers", fallback), file, encoding=_FALLBACK_ENCODING)
        except SourceError:
            raise fault from None


def _look(source: Source, file: Path, *, table: str = "", encoding: str = "") -> Found:
    with tempfile.TemporaryDirectory(prefix="sidebard-") as folder:
        scratch = Path(folder, "copy.tmp")
        opened = source.open({}, scratch)
        if not table and (name := _first_name(opened.columns.names)):
            opened.close()
            opened = source.open({name: "the header"}, scratch)
        return _look_in(opened, file, table, encoding)


def _first_name(names: Sequence[str]) -> str:
    """Return the first name of a header that was read as one column and is several; "" of any other header.

    A reader that is asked for no column takes the first delimiter; asked for this one, it takes the right one.
    """
    header = names[0]
    delimiter = max(DELIMITERS, key=header.count)
    parts = [part.strip().strip('"') for part in header.split(delimiter)]
    return next(filter(None, parts), "") if len(names) == 1 and len(parts) > 1 else ""


def _look_in(opened: OpenSource, file: Path, table: str, encoding: str) -> Found:
    with closing(opened):
        names = opened.columns.names
        filled, good = [0] * len(names), [0] * len(names)
        for batch in opened.batches():
            for row in batch.rows:
                for index, text in enumerate(row[: len(names)]):
                    if text.strip():
                        filled[index] += 1
                        good[index] += "@" in text and _is_address(text)
        holds = [name for name, all_, some in zip(names, filled, good, strict=True) if all_ and some > _MOST * all_]
        if not holds:
            raise SourceError(f"{file} has no column in which most cells are email addresses; add one, with a header")
        return Found(
            source=file,
            table=table,
            addresses=tuple([name for name in holds if "mail" in name_key(name)] or holds[:1]),
            encoding=encoding,
            lacks_last_end=not table and _lacks_last_end(file),
            id_column=next((name for name in names if _is_id(name)), ""),
        )


def _is_address(text: str) -> bool:
    cell = read_cell(text)
    return cell.understood and bool(cell.addresses)


def _is_id(name: str) -> bool:
    letters = "".join(filter(str.isalnum, name_key(name)))
    return letters.startswith("helpscout") and letters.endswith("id")


def _lacks_last_end(file: Path) -> bool:
    end = file.read_bytes()[-4:].replace(b"\0", b"").rstrip(b"\x1a")  # also of UTF-16
    return not end.endswith((b"\n", b"\r"))


def render(proposal: Proposal) -> str:
    """Return the text of the config."""
    found = proposal.found
    lines = ["# Written by sidebard init. Every key with its default: sidebard.toml in the documentation.", ""]
    if proposal.state:
        lines += ["[server]", f"state = {_text(proposal.state)}", ""]
    if proposal.certificate is not None:
        certificate, key = proposal.certificate
        lines += ["[tls]", f"certificate = {_text(certificate)}", f"key = {_text(key)}", ""]
    lines += ["[customers]", f"source = {_text(str(found.source))}"]
    if found.table:
        lines.append(f"table = {_text(found.table)}")
    lines.append(f"addresses = [{', '.join(map(_text, found.addresses))}]")
    if found.encoding:
        lines.append(f"encoding = {_text(found.encoding)}")
    if found.lacks_last_end:
        lines.append('unterminated_last_line = "accept"  # the last line has no line end')
    if proposal.admin:
        lines += ["", "[admin]", f"listen = {_text(proposal.admin)}"]
    if found.id_column:
        lines += ["", "[helpscout]", f"column = {_text(found.id_column)}"]
    lines += ["", "[[app]]", f"secrets = [{_text(f'file:{proposal.secret}')}]"]
    if proposal.card:
        lines.append(f"card = {_text(proposal.card)}")
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Return a text as TOML writes it: as JSON does, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
