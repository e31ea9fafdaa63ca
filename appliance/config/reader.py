"""How settings are read: declared rules, one generic reader, and faults that know their place in the file.

A rule is the metadata of a dataclass field, whose name is the TOML key. `schema` declares the keys.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

from appliance.config import values
from appliance.config.lines import KeyPath, is_table, line_of, lines_of
from appliance.config.secret_source import SecretSource
from appliance.config.values import InvalidValueError, Parser, SourceLocation
from appliance.errors import CONFIG_INVALID, SidebardError
from appliance.system.files import is_utf8

T = TypeVar("T")

REQUIRED: Final = "(required)"
SECRET_KEYS: Final = frozenset(
    {"secrets", "webhook_secrets", "password", "api_id", "api_secret", "eab", "account_key", "hash_key"}
)
"""Keys whose values no message repeats: what stands in the place of a secret's source may be the secret."""

NOT_UTF8: Final = ("names a path that is not UTF-8", "rename it, or a folder above it")
"""What is wrong with a path that could not be logged, or be in a config, and what to do."""

_NEAR: Final = 0.65  # of difflib's ratio, for a key of the same table
_NEARLY_THE_SAME: Final = 0.85  # for one of another table


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where, why, what stood there (never a secret), and what to do."""

    file: Path | None
    line: int | None
    key: str
    reason: str
    value: str | None
    hint: str

    def __str__(self) -> str:
        file = str(self.file or "").encode("utf-8", "backslashreplace").decode()
        place = f"{file}:{self.line}" if file and self.line else file
        value = f" (got {self.value})" if self.value is not None else ""
        return ": ".join(filter(None, (place, self.key, f"{self.reason}{value}; {self.hint}")))


class ConfigError(SidebardError):
    """The settings cannot be used; `faults` is everything that is wrong with them, and the text is one line each."""

    exit_code = CONFIG_INVALID

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))

    @property
    def sentences(self) -> tuple[str, ...]:
        """One for each fault."""
        return tuple(map(str, self.faults))


@dataclass(frozen=True, slots=True)
class Rule:
    """How a key is read: a value by `parse`, or else, by the class `table`, one table, an array or named tables.

    An optional table that is absent is None.
    """

    shape: Literal["value", "table", "optional", "array", "named"]
    parse: Parser[Any] | None = None
    default: object = None
    example: str = ""
    table: type[Any] | None = None


def value(parse: Parser[T], default: object = REQUIRED, example: str = "") -> T:
    """Declare a value; `default` is what TOML would hold, `example` is for keys without one."""
    rule = Rule("value", parse, default, example)
    if default is REQUIRED:
        return cast(T, field(metadata={"rule": rule}))
    return field(default_factory=partial(parse, default), metadata={"rule": rule})


def table(of: type[T]) -> T:
    """Declare a table."""
    return cast(T, field(metadata={"rule": Rule("table", table=of)}))


def optional_table(of: type[T]) -> T | None:
    """Declare a table whose absence means something."""
    return cast(T | None, field(default=None, metadata={"rule": Rule("optional", table=of)}))


def array(of: type[T], example: str = "") -> tuple[T, ...]:
    """Declare an array of tables; one with an `example` must not be empty."""
    return cast(tuple[T, ...], field(default=(), metadata={"rule": Rule("array", example=example, table=of)}))


def tables(of: type[T]) -> tuple[T, ...]:
    """Declare tables whose names are free; each becomes the field `name`."""
    return cast(tuple[T, ...], field(default=(), metadata={"rule": Rule("named", table=of)}))


def rules(of: type[Any]) -> dict[str, tuple[str, Rule]]:
    """Return the TOML keys of a table, each with its field's name and its rule. `[[app]]` is the field `apps`."""
    return {
        "app" if item.name == "apps" else item.name: (item.name, item.metadata["rule"])
        for item in fields(of)
        if "rule" in item.metadata
    }


def places(of: type[Any], above: KeyPath = ()) -> Iterator[tuple[KeyPath, Rule]]:
    """Yield every key and table below a class of settings, with its rule. A name that is free is NAME."""
    for name, (_, rule) in rules(of).items():
        path = (*above, name)
        yield path, rule
        if rule.table is not None:
            below: KeyPath = (0,) if rule.shape == "array" else ("NAME",) if rule.shape == "named" else ()
            yield from places(rule.table, (*path, *below))


def dotted(path: KeyPath) -> str:
    """Return a key path as text: `app[0].path`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else json.dumps(part))
    return text


def locate(faults: Iterable[tuple[KeyPath, Fault]], file: Path | None, text: str) -> tuple[Fault, ...]:
    """Return faults at key paths of a config file, which holds this text, with the file and their lines."""
    lines = lines_of(text)
    return tuple(replace(fault, file=file, line=line_of(lines, path)) for path, fault in faults)


class Reader:
    """Reads a tree by the rules and collects faults. In the place of an invalid value it leaves None.

    So what it returns may have holes, and must not be used if there is any fault.
    """

    def __init__(self, folder: Path, root: type[Any] | None = None) -> None:
        """`folder` is what paths are relative to, `root` the class of the whole tree, for hints."""
        self.folder = folder
        self.root = root
        self.faults: list[tuple[KeyPath, Fault]] = []

    def fault(self, path: KeyPath, reason: str, hint: str, value: str | None = None) -> None:
        """Note what is wrong at `path`."""
        self.faults.append((path, Fault(None, None, dotted(path), reason, value, hint)))

    def clean(self, *paths: KeyPath) -> bool:
        """Return whether nothing is wrong at these paths, so that a check across them means something."""
        return not any(bad[: len(path)] == path or path[: len(bad)] == bad for bad, _ in self.faults for path in paths)

    def decode(self, of: type[T], tree: Mapping[str, object], path: KeyPath, **given: object) -> T:
        """Read a table by the rules of the class `of`; `given` are its fields that have no rule."""
        known = rules(of)
        for name, found in tree.items():
            if name not in known:
                self._unknown((*path, name), found, [*known])
        read = {into: self.read(rule, tree.get(name), (*path, name)) for name, (into, rule) in known.items()}
        return of(**read, **given)

    def _unknown(self, path: KeyPath, found: object, known: list[str]) -> None:
        """Note a key that nothing reads, and what was probably meant."""
        name, above = str(path[-1]), path[:-1]
        near = difflib.get_close_matches(name.lower(), known, 1, _NEAR)
        meant = dotted((*above, near[0])) if near else self._elsewhere(name)
        hint = f"did you mean {meant}?" if meant else f"{dotted(above) or 'the file'} has {', '.join(known)}"
        self.fault(path, f"unknown {'table' if is_table(found) else 'key'}", hint)

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

    def read(self, rule: Rule, found: object, path: KeyPath) -> Any:
        """Read what TOML has at `path`, which is None if there is nothing."""
        if rule.parse is not None:
            return self._value(rule, rule.parse, found, path)
        of = cast(type[Any], rule.table)
        if rule.shape == "array":
            if found is None and rule.example:
                self.fault(path, "required", f"add {rule.example}")
            items = found if isinstance(found, list) and is_table(found) else []
            if found is not None and not items:
                # The value is not shown, here or below: who takes `app` for a key may have written the secret there.
                self.fault(path, "must be an array of tables", f"write {_header((*path, 0))}")
            return tuple(self.decode(of, item, (*path, index)) for index, item in enumerate(items))
        if found is None and rule.shape == "optional":
            return None
        if found is not None and not isinstance(found, dict):
            self.fault(path, "must be a table", f"write {_header(path)}")
        tree = found if isinstance(found, dict) else {}
        if rule.shape in ("table", "optional"):
            return self.decode(of, tree, path)
        for name in [name for name in tree if not isinstance(tree[name], dict)]:
            self.fault((*path, name), "must be a table", f"write [{path[-1]}.NAME], with a name of your choice")
        return tuple(
            self.decode(of, item, (*path, name), name=name) for name, item in tree.items() if isinstance(item, dict)
        )

    def _value(self, rule: Rule, parse: Parser[Any], found: object, path: KeyPath) -> Any:
        """Read one value by its parser; a path in it becomes absolute, and is UTF-8."""
        if found is None and rule.default is REQUIRED:
            self.fault(path, "required", f"add {path[-1]} = {rule.example} under {_header(path[:-1])}")
            return None
        found = rule.default if found is None else found
        result = None
        try:
            result = _absolute(parse(found), self.folder)
            if not all(map(is_utf8, _paths(result))):
                raise InvalidValueError(*NOT_UTF8)
        except* InvalidValueError as group:
            for error in cast(Iterable[InvalidValueError], group.exceptions):
                item = found
                for step in error.path:
                    item = cast(Any, item)[step]
                hide = path[-1] in SECRET_KEYS or found is rule.default or isinstance(item, list)
                self.fault((*path, *error.path), error.reason, error.hint, None if hide else values.shown(item))
        return result


def _absolute(value: Any, folder: Path) -> Any:
    """Make every path in a value absolute: what a config file names is relative to its own folder."""
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, SecretSource | SourceLocation) and value.path is not None:
        return replace(value, path=folder / value.path)
    return tuple(_absolute(item, folder) for item in value) if isinstance(value, tuple) else value


def _paths(value: Any) -> Iterator[Path]:
    """Yield every path in a value."""
    if isinstance(value, Path):
        yield value
    elif isinstance(value, SecretSource | SourceLocation) and value.path is not None:
        yield value.path
    elif isinstance(value, tuple):
        for item in value:
            yield from _paths(item)


def _header(path: KeyPath) -> str:
    """Return the header of a table as TOML writes it."""
    name = ".".join(str(part) for part in path if isinstance(part, str))
    return f"[[{name}]]" if isinstance(path[-1], int) else f"[{name}]"
