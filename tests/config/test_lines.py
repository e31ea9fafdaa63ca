"""Lines of a TOML text: where a key stands, and what is said of a line that is not TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.config.lines import KeyPath, is_table, line_of, lines_of, syntax_hint
from tests.config.loading import SHIPPED, faults

# Where a key stands


def test_every_statement_is_found_by_its_first_line() -> None:
    text = """# A comment, with = and [brackets]
[server]
listen = [
    "0.0.0.0:443",  # ] not the end
]
state = \"\"\"
[app]
b\"\"\"
[[app]]
name = "a"  # [[app]]
display.columns = ["x"]
[[app.subject]]
[[app.subject]]
column = "y"
  [[app]]
[app.display]
titles = { x = "X" }
["quoted key".'other.one']
a.b.c = 1
"""
    assert lines_of(text) == {
        ("server",): 2,
        ("server", "listen"): 3,
        ("server", "state"): 6,
        ("app",): 9,
        ("app", 0): 9,
        ("app", 0, "name"): 10,
        ("app", 0, "display"): 11,
        ("app", 0, "display", "columns"): 11,
        ("app", 0, "subject"): 12,
        ("app", 0, "subject", 0): 12,
        ("app", 0, "subject", 1): 13,
        ("app", 0, "subject", 1, "column"): 14,
        ("app", 1): 15,
        ("app", 1, "display"): 16,
        ("app", 1, "display", "titles"): 17,
        ("app", 1, "display", "titles", "x"): 17,
        ("quoted key",): 18,
        ("quoted key", "other.one"): 18,
        ("quoted key", "other.one", "a"): 19,
        ("quoted key", "other.one", "a", "b"): 19,
        ("quoted key", "other.one", "a", "b", "c"): 19,
    }


def test_a_key_that_is_not_there_has_the_line_of_its_table() -> None:
    lines = lines_of('[[app]]\nname = "a"\n')
    assert line_of(lines, ("app", 0, "secrets", 1)) == 1
    assert line_of(lines, ("cache", "ttl")) is None


DEEPEST = len(("app", 0, "display", "titles", "x")) + 1
STATEMENTS = st.sampled_from(
    [
        "",
        "# [x]",
        "[a]",
        "[a.b]",
        "[[c]]",
        "[c.d]",
        "[[c.e]]",
        "f = 1",
        "g.h = [\n1,\n\n# ]\n]",
        'i = """\n[j]\n"""',
        "k = { l = 1, m.n = [{}] }",
        "o = [{ p = 1 },\n{ q = 2 }]",
        "r = [[1], [\n2]]",
    ]
)


@given(st.lists(STATEMENTS, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_lines_are_those_by_which_the_whole_file_first_has_the_key(statements: list[str], end: str) -> None:
    """Compared with the slow way: of all beginnings of a file, those that parse end where a statement does."""
    text = "\n".join(statements).replace("\n", end)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = text.replace("\r\n", "\n").split("\n")
    slow: dict[KeyPath, int] = {}
    start = 1
    for number in range(1, len(lines) + 1):
        try:
            tree = tomllib.loads("\n".join(lines[:number]))
        except tomllib.TOMLDecodeError:
            continue
        for path in paths(tree):
            slow.setdefault(path, start)
        start = number + 1
    assert lines_of(text) == {path: line for path, line in slow.items() if len(path) <= DEEPEST}


def paths(tree: object, above: KeyPath = ()) -> Iterator[KeyPath]:
    if is_table(tree):
        items: Any = tree.items() if isinstance(tree, dict) else enumerate(tree)  # type: ignore[arg-type]
        for part, item in items:
            yield (*above, part)
            yield from paths(item, (*above, part))


def test_a_long_file_is_searched_to_its_end() -> None:
    count = 20_000
    text = "".join(f"key{number} = {number}\n" for number in range(count))
    assert lines_of(text)[(f"key{count - 1}",)] == count


def test_an_endless_statement_is_not_searched_for_ever() -> None:
    text = "a = 1\nb = [\n" + "1,\n" * 20_000 + "]\nc = 1\n"
    assert lines_of(text) == {("a",): 1}


# What to do about a line that is not TOML

SYNTAX = [
    (
        'source = "C:\\Users\\op\\customers.csv"',
        "a backslash in double quotes begins an escape; write a path in 'single",
    ),
    ('addresses = ["a", "C:\\data"]', "a backslash in double quotes begins an escape"),
    ("source = C:\\data\\customers.csv", "put the string in quotes"),
    ("source = \u201ccustomers.csv\u201d", "write straight quotes"),
    ("; a comment", "begin a comment with #"),
    ("// a comment", "begin a comment with #"),
    ('source: "customers.csv"', "write key = value"),
    ('source := "customers.csv"', "write key = value"),
    ('source == "customers.csv"', "write one = between key and value"),
    ("source =", "write a value after the ="),
    ("source =  # later", "write a value after the ="),
    ("enabled = True", "write true or false, in lower case"),
    ("enabled = yes", "write true or false, in lower case"),
    ("[server", "close the brackets of the table's name"),
    ("[[app]", "close the brackets of the table's name"),
    ('source = "customers.csv', "close the quote"),
    ("source = 'customers.csv", "close the bracket or quote that was opened last"),
    ("source = customers.csv", "put the string in quotes"),
    ("addresses = [email]", "put the string in quotes"),
    ("refresh = 60s", "put a value with its unit in quotes"),
    ("max_shrink = 20%", "put a value with its unit in quotes"),
    ("source", "write key = value, or [table]"),
    ('source = "a"\nsource = "b"', "a key or table is defined twice; remove one"),
    ("[server]\n[server]", "a key or table is defined twice; remove one"),
    ("a = {b = 1, b = 2}", "a key or table is defined twice; remove one"),
    ('addresses = ["email"', "close the bracket or quote that was opened last"),
    ('a = """x', "close the bracket or quote that was opened last"),
    ('source = "a" "b"', "fix the syntax: quote strings, and define each key once per table"),
]


@pytest.mark.parametrize(("line", "todo"), SYNTAX, ids=[line for line, _ in SYNTAX])
def test_what_to_do_about_a_line_that_is_no_toml(line: str, todo: str, tmp_path: Path) -> None:
    (said,) = faults(tmp_path, f"# SECRET123\n{line}  \n").splitlines()
    assert f"; {todo}" in said
    assert said.startswith("sidebard.toml")
    for word in ("customers.csv", "SECRET123"):
        assert word not in said


def test_the_shipped_file_with_a_line_broken_says_something_of_it(tmp_path: Path) -> None:
    """Each quoted value of the shipped file without its first quote."""
    text = SHIPPED.read_text("utf-8").replace("\n#", "\n")
    lines = [line for line in text.splitlines() if re.match(r'\w+ = "[^"]+"', line)]
    assert len(lines) > 10
    for line in lines:
        assert syntax_hint("Invalid value", line.replace('"', "", 1)) != syntax_hint("x", "")
