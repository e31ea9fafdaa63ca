"""The lines of a TOML text: where a key is, which tomllib does not report, and what is wrong where it is not TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

KeyPath = tuple[str | int, ...]
"""From the top of a file to a key or table: keys, and the indexes of arrays of tables."""

_MAX_DEPTH: Final = 6  # app[0].display.titles.x is the deepest key that there is
_MAX_STATEMENT: Final = 1000
"""Lines of one statement. One that is longer has line numbers no more, and neither has what follows it."""


def lines_of(text: str) -> dict[KeyPath, int]:
    """Return the line on which the statement begins that first names each key path of a valid TOML text.

    A statement is a header or a key with its value. It ends with the first of its lines up to which it can be parsed
    alone: a value that goes on over several lines is not closed before.
    """
    found: dict[KeyPath, int] = {}
    lengths: dict[KeyPath, int] = {}
    table: KeyPath = ()
    statement, start = "", 1
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        statement += line + "\n"
        try:
            tree = tomllib.loads(statement)
        except (ValueError, RecursionError):
            if number - start >= _MAX_STATEMENT:
                break
            continue
        if statement.lstrip().startswith("["):
            table = _table_of(tree, lengths)
            paths = [table[:length] for length in range(1, min(len(table), _MAX_DEPTH) + 1)]
        else:
            paths = list(_paths(tree, table))
        for path in paths:
            found.setdefault(path, start)
        statement, start = "", number + 1
    return found


def _table_of(tree: Any, lengths: dict[KeyPath, int]) -> KeyPath:
    """Return the key path of the table that a header begins, which alone parses to `tree`.

    `lengths` are those of the arrays of tables so far; a header such as [[app]] adds to them.
    """
    path: KeyPath = ()
    while tree:
        if isinstance(tree, list):
            lengths[path] = lengths.get(path, 0) + 1
            tree = tree[0]
        else:
            [(name, tree)] = tree.items()
            path = (*path, name)
        if path in lengths and not isinstance(tree, list):
            path = (*path, lengths[path] - 1)
    return path


def _paths(tree: object, above: KeyPath = ()) -> Iterator[KeyPath]:
    """Yield the key path of everything below `above` that is in a table or an array of tables."""
    if len(above) >= _MAX_DEPTH or not is_table(tree):
        return
    items: Any = tree.items() if isinstance(tree, dict) else enumerate(tree)  # type: ignore[arg-type]
    for part, item in items:
        yield (*above, part)
        yield from _paths(item, (*above, part))


def is_table(value: object) -> bool:
    """Return whether this is a table or an array of tables."""
    return isinstance(value, dict) or (
        bool(value) and isinstance(value, list) and all(isinstance(item, dict) for item in value)
    )


def line_of(lines: Mapping[KeyPath, int], path: KeyPath) -> int | None:
    """Return the line of a key path, or else of the nearest table around it that is written down."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path)


# What is probably wrong with a line that is not TOML, by the first that fits. None of the sentences quotes the line: it
# may hold a secret.
_SYNTAX: Final = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        ("[\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb]", "write straight quotes in place of the curly ones"),
        (
            r'"[^"]*\\',
            "a backslash in double quotes begins an escape; write a path in 'single quotes', or with / in it",
        ),
        (r"^\s*(;|//|/\*)", "begin a comment with #"),
        (r"^\s*[\w.-]+\s*(:|=>|:=)", "write key = value"),
        (r"^\s*[\w.-]+\s*==", "write one = between key and value"),
        (r"^\s*[\w.-]+\s*=\s*(#|$)", "write a value after the ="),
        (r"=\s*(?i:true|yes|on|false|no|off)\s*(#|$)", "write true or false, in lower case"),
        (r"^\s*\[[^\]]*(#|$)|^\s*\[\[[^\]]*\](?!\])", "close the brackets of the table's name"),
        (r"""=\s*("[^"]*|'[^']*)$""", "close the quote"),
        (r"=\s*\[?\s*[^\s\"'\[\]{}#0-9+-]", "put the string in quotes"),
        (r"=\s*\d+(\.\d+)?\s*[a-zA-Z%]", "put a value with its unit in quotes"),
        (r"^\s*[^=]*$", "write key = value, or [table]"),
    )
)
# The same for what tomllib says, if the line is as it should be.
_TWICE: Final = re.compile("overwrite|twice|Duplicate|immutable|Cannot declare")
_OPEN: Final = re.compile("Unclosed|Unterminated|Expected \"'")


def syntax_hint(message: str, line: str) -> str:
    """Return what to do about a line that is not TOML, of which tomllib says `message`."""
    if _TWICE.search(message):
        return "a key or table is defined twice; remove one"
    if _OPEN.search(message):
        return "close the bracket or quote that was opened last"
    fits = (hint for pattern, hint in _SYNTAX if pattern.search(line))
    return next(fits, "fix the syntax: quote strings, and define each key once per table")
