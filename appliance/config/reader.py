"""How settings are read: declared rules, one generic reader, and faults that know their place in the file.

A rule stands in the metadata of a dataclass field, whose name is the TOML key. What the keys are is in `config`.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

from appliance.config import values
from appliance.config.values import BadValue, Parser, SecretSource

T = TypeVar("T")
KeyPath = tuple[str | int, ...]

REQUIRED: Final = "(required)"
MAX_LINES: Final = 1000  # line numbers cost a parse a line: 1.5 s for so many; beyond them a fault has none
_NEAR: Final = 0.65  # of difflib's ratio, for a key of the same table
_NEARLY_THE_SAME: Final = 0.85  # for one of another table
_MAX_DEPTH: Final = 6  # app[0].display.titles.x is the deepest key that there is


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where, why, what stood there (never a secret), and what to do."""

    file: Path | None
    line: int | None
    key: str
    why: str
    got: str | None
    todo: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else str(self.file or "")
        got = f" (got {self.got})" if self.got is not None else ""
        return ": ".join(filter(None, (place, self.key, f"{self.why}{got}; {self.todo}")))


class ConfigError(Exception):
    """The settings cannot be used; `faults` holds everything that is wrong with them, and the text is one line each."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True, slots=True)
class Rule:
    """How a key is read: a value by `parse`, or else, by the class `table`, one table, an array or named tables."""

    shape: Literal["value", "table", "array", "named"]
    parse: Parser[Any] | None = None
    default: object = None
    example: str = ""
    table: type[Any] | None = None


def setting(parse: Parser[T], default: object = REQUIRED, example: str = "") -> T:
    """Declare a value; `default` is what TOML would hold, `example` is for keys without one."""
    rule = Rule("value", parse, default, example)
    if default is REQUIRED:
        return cast(T, field(metadata={"rule": rule}))
    return field(default_factory=partial(parse, default), metadata={"rule": rule})


def section(of: type[T]) -> T:
    """Declare a table."""
    return cast(T, field(metadata={"rule": Rule("table", table=of)}))


def sections(of: type[T], example: str = "") -> tuple[T, ...]:
    """Declare an array of tables; one with an `example` must not be empty."""
    return cast(tuple[T, ...], field(default=(), metadata={"rule": Rule("array", example=example, table=of)}))


def named_sections(of: type[T]) -> tuple[T, ...]:
    """Declare tables whose names are free; each becomes the field `name`."""
    return cast(tuple[T, ...], field(default=(), metadata={"rule": Rule("named", table=of)}))


def rules(of: type[Any]) -> dict[str, tuple[str, Rule]]:
    """Give the TOML keys of a table, each with its field's name and its rule. `[[app]]` is the field `apps`."""
    return {
        "app" if item.name == "apps" else item.name: (item.name, item.metadata["rule"])
        for item in fields(of)
        if "rule" in item.metadata
    }


# What is probably wrong with a line that is no TOML, by the first that fits. None of the sentences quotes the line: it
# may hold a secret.
_SYNTAX: Final = tuple(
    (re.compile(pattern), todo)
    for pattern, todo in (
        ("[\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb]", "write straight quotes in place of the curly ones"),
        (
            r'"[^"]*\\',
            "a backslash in double quotes begins an escape; write a path in 'single quotes', or with / in it",
        ),
        (r"^\s*(;|//|/\*)", "begin a comment with #"),
        (r"^\s*[\w.-]+\s*(:|=>|:=)", "write key = value"),
        (r"^\s*[\w.-]+\s*==", "write one = between key and value"),
        (r"^\s*[\w.-]+\s*=\s*(#|$)", "write a value behind the ="),
        (r"=\s*(?i:true|yes|on|false|no|off)\s*(#|$)", "write true or false, in lower case"),
        (r"^\s*\[[^\]]*(#|$)|^\s*\[\[[^\]]*\](?!\])", "close the brackets of the table's name"),
        (r"""=\s*("[^"]*|'[^']*)$""", "close the quote"),
        (r"=\s*\[?\s*[^\s\"'\[\]{}#0-9+-]", "put the text in quotes"),
        (r"=\s*\d+(\.\d+)?\s*[a-zA-Z%]", "put a value with its unit in quotes"),
        (r"^\s*[^=]*$", "write key = value, or [table]"),
    )
)
# The same for what tomllib says, if the line is as it should be.
_TWICE: Final = re.compile("overwrite|twice|Duplicate|immutable|Cannot declare")
_OPEN: Final = re.compile("Unclosed|Unterminated|Expected \"'")


def syntax_hint(message: str, line: str) -> str:
    """Return what to do about a line that is no TOML, of which tomllib says `message`."""
    if _TWICE.search(message):
        return "a key or table is there twice; remove one"
    if _OPEN.search(message):
        return "close the bracket or quote that was opened last"
    fits = (todo for pattern, todo in _SYNTAX if pattern.search(line))
    return next(fits, "fix the syntax: quote strings, and define each key once per table")


def lines_of(text: str) -> dict[KeyPath, int]:
    """Give the line on which the statement begins that first names each key path of a TOML text.

    tomllib tells no places. But a text of whole lines parses only if it ends where a statement does; so of all prefixes
    of the file those that parse end there, and the next statement begins on the line after. A key path that a prefix
    has and the one before had not is named by the statement between them.
    """
    lines = text.replace("\r\n", "\n").split("\n")[:MAX_LINES]
    found: dict[KeyPath, int] = {}
    start, prefix = 1, ""
    for number, line in enumerate(lines, 1):
        prefix += line + "\n"
        try:
            tree = tomllib.loads(prefix)
        except (ValueError, RecursionError):
            continue
        for path in _paths(tree):
            found.setdefault(path, start)
        start = number + 1
    return found


def places(of: type[Any], above: KeyPath = ()) -> Iterator[tuple[KeyPath, Rule]]:
    """Give every key and table below a class of settings, with its rule. A name that is free is NAME."""
    for name, (_, rule) in rules(of).items():
        path = (*above, name)
        yield path, rule
        if rule.table is not None:
            below: KeyPath = (0,) if rule.shape == "array" else ("NAME",) if rule.shape == "named" else ()
            yield from places(rule.table, (*path, *below))


def dotted(path: KeyPath) -> str:
    """Give a key path as text: `app[0].path`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part))
    return text


class Reader:
    """Reads a tree by the rules and collects faults. In the place of a bad value it leaves None.

    So what it gives may have holes, and is thrown away when there is any fault.
    """

    def __init__(self, folder: Path, root: type[Any] | None = None) -> None:
        """`folder` is what paths are relative to, `root` the class of the whole tree, for hints."""
        self.folder = folder
        self.root = root
        self.faults: list[tuple[KeyPath, Fault]] = []

    def fault(self, path: KeyPath, why: str, todo: str, got: str | None = None) -> None:
        """Note what is wrong at `path`."""
        self.faults.append((path, Fault(None, None, dotted(path), why, got, todo)))

    def clean(self, *paths: KeyPath) -> bool:
        """Say whether nothing is wrong at these paths, so that a check across them means something."""
        return not any(bad[: len(path)] == path or path[: len(bad)] == bad for bad, _ in self.faults for path in paths)

    def decode(self, of: type[T], tree: Mapping[str, object], path: KeyPath, **given: object) -> T:
        """Read a table by the rules of the class `of`; `given` are its fields that have no rule."""
        known = rules(of)
        for name, value in tree.items():
            if name not in known:
                self.unknown((*path, name), value, [*known])
        read = {into: self.read(rule, tree.get(name), (*path, name)) for name, (into, rule) in known.items()}
        return of(**read, **given)

    def unknown(self, path: KeyPath, value: object, known: list[str]) -> None:
        """Note a key that nothing reads, and what was probably meant."""
        name, above = str(path[-1]), path[:-1]
        near = difflib.get_close_matches(name.lower(), known, 1, _NEAR)
        meant = dotted((*above, near[0])) if near else self._elsewhere(name)
        todo = f"did you mean {meant}?" if meant else f"{dotted(above) or 'the file'} has {', '.join(known)}"
        self.fault(path, f"unknown {'table' if _tables(value) else 'key'}", todo)

    def _elsewhere(self, name: str) -> str:
        """Return the key or table that is called like this, or nearly so, in another table; or ""."""
        found = {str(path[-1]): (path, rule) for path, rule in (places(self.root) if self.root else ())}
        near = difflib.get_close_matches(name.lower(), found, 1, _NEARLY_THE_SAME)
        if not near:
            return ""
        path, rule = found[near[0]]
        if rule.shape == "value":
            return dotted(path)
        return f"the table {_header((*path, 0) if rule.shape == 'array' else path)}"

    def read(self, rule: Rule, value: object, path: KeyPath) -> Any:
        """Read what TOML holds at `path`; None: nothing."""
        if rule.parse is not None:
            return self.value(rule, rule.parse, value, path)
        of = cast(type[Any], rule.table)
        if rule.shape == "array":
            if value is None and rule.example:
                self.fault(path, "required", f"add {rule.example}")
            tables = value if isinstance(value, list) and _tables(value) else []
            if value is not None and not tables:
                # No value here or below: whoever takes `app` for a key may have written the secret there.
                self.fault(path, "must be an array of tables", f"write {_header((*path, 0))}")
            return tuple(self.decode(of, item, (*path, index)) for index, item in enumerate(tables))
        if value is not None and not isinstance(value, dict):
            self.fault(path, "must be a table", f"write {_header(path)}")
        tree = value if isinstance(value, dict) else {}
        if rule.shape == "table":
            return self.decode(of, tree, path)
        for name in [name for name in tree if not isinstance(tree[name], dict)]:
            self.fault((*path, name), "must be a table", f"write [{path[-1]}.NAME], with a name of your choice")
        return tuple(
            self.decode(of, item, (*path, name), name=name) for name, item in tree.items() if isinstance(item, dict)
        )

    def value(self, rule: Rule, parse: Parser[Any], value: object, path: KeyPath) -> Any:
        """Read one value by its parser; a path in it becomes absolute."""
        if value is None and rule.default is REQUIRED:
            self.fault(path, "required", f"add {path[-1]} = {rule.example} under {_header(path[:-1])}")
            return None
        value = rule.default if value is None else value
        result = None
        try:
            result = _located(parse(value), self.folder)
        except* BadValue as group:
            for bad in cast(Iterable[BadValue], group.exceptions):
                got = value
                for step in bad.at:
                    got = cast(Any, got)[step]
                # What is written in the place of a secret's source may be the secret.
                hide = path[-1] == "secrets" or value is rule.default or isinstance(got, list)
                self.fault((*path, *bad.at), bad.why, bad.todo, None if hide else values.shown(got))
        return result


def _located(value: Any, folder: Path) -> Any:
    """Make every path in a value absolute: what a config file names is relative to its own folder."""
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, SecretSource) and value.path is not None:
        return replace(value, path=folder / value.path)
    return tuple(_located(item, folder) for item in value) if isinstance(value, tuple) else value


def _tables(value: object) -> bool:
    """Say whether this is a table or an array of tables."""
    return isinstance(value, dict) or (
        bool(value) and isinstance(value, list) and all(isinstance(item, dict) for item in value)
    )


def _header(path: KeyPath) -> str:
    """Give the header of a table as TOML writes it."""
    name = ".".join(str(part) for part in path if isinstance(part, str))
    return f"[[{name}]]" if isinstance(path[-1], int) else f"[{name}]"


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """Give the line of a key path, or else of the nearest table around it that is written down."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


def _paths(tree: object, above: KeyPath = ()) -> Iterator[KeyPath]:
    if len(above) < _MAX_DEPTH and _tables(tree):
        items: Iterable[tuple[str | int, object]] = tree.items() if isinstance(tree, dict) else enumerate(tree)  # type: ignore[arg-type]
        for part, item in items:
            yield (*above, part)
            yield from _paths(item, (*above, part))
