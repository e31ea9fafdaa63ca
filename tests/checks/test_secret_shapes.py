"""A secret that was saved with something else beside it is warned of, and never shown."""

from __future__ import annotations

import base64
import random
import string
import uuid
from pathlib import Path

import pytest

from appliance.sidebar.protocols.secret_shapes import SHAPES, odd_shapes
from tests.checks.running import context, run_check, told

GOOD = "3f6c1d9e8b7a4c5d2e1f0a9b"

ODD: list[tuple[str, bytes | str, str]] = [
    ("short", "x" * 15, "15 bytes are easy to guess"),
    ("long", "x" * 41, "41 bytes, and Help Scout takes at most 40"),
    ("space behind", f"{GOOD} ", "white space"),
    ("space before", f" {GOOD}", "white space"),
    ("second line end", f"{GOOD}\n", "white space"),
    ("byte order mark", f"\ufeff{GOOD}", "begins with a byte order mark"),
    ("UTF-16", GOOD.encode("utf-16"), "is saved as UTF-16"),
    ("UTF-16, big-endian, marked", b"\xfe\xff" + GOOD.encode("utf-16-be"), "is saved as UTF-16"),
    ("UTF-16 without a mark", GOOD.encode("utf-16-le"), "is saved as UTF-16"),
    ("Latin-1", f"geheim\xfc{GOOD}".encode("latin-1"), "is not UTF-8 text"),
    ("double quotes", f'"{GOOD}"', "is in quotes"),
    ("single quotes", f"'{GOOD}'", "is in quotes"),
    ("back quotes", f"`{GOOD}`", "is in quotes"),
    ("curly quotes", f"\u201c{GOOD}\u201d", "is in quotes"),
    ("German quotes", f"\u201e{GOOD}\u201c", "is in quotes"),
    ("French quotes", f"\u00ab{GOOD}\u00bb", "is in quotes"),
    ("one quote", f'{GOOD}"', "is in quotes"),
    ("quotes and spaces", f'"{GOOD}" ', "is in quotes"),
    ("NAME=", f"SECRET={GOOD}", "looks like NAME=secret"),
    ("NAME= of another name", f"HELPSCOUT={GOOD}", "looks like NAME=secret"),
    ("name =", f"secret = {GOOD}", "looks like NAME=secret"),
    ("name:", f"secret: {GOOD}", "looks like NAME=secret"),
    ("export", f"export APP_SECRET={GOOD}", "looks like NAME=secret"),
    ("set", f"set SECRET={GOOD}", "looks like NAME=secret"),
    ("PowerShell", f"$env:SECRET={GOOD}", "looks like NAME=secret"),
    ("dotted name", f"app.secret-key={GOOD}", "looks like NAME=secret"),
    ("NAME= in quotes, marked", f'\ufeff"SECRET={GOOD}"', "looks like NAME=secret"),
    ("quotes, marked", f'\ufeff"{GOOD}"', "is in quotes"),
    ("second line", f"{GOOD}\n{GOOD[:4]}", "has more than one line"),
    ("old Mac line", f"{GOOD}\rx", "has more than one line"),
    ("comment above", f"# of the app\n{GOOD}", "begins like a comment"),
    ("comment of C", f"// {GOOD}", "begins like a comment"),
    ("no-break space", f"{GOOD}\u00a0", "an invisible character"),
    ("zero-width space", f"{GOOD[:9]}\u200b{GOOD[9:]}", "an invisible character"),
    ("word joiner", f"\u2060{GOOD}", "an invisible character"),
    ("escape", f"\x1b[31m{GOOD}", "an invisible character"),
    ("JSON", f'{{"secret": "{GOOD}"}}', "looks like a whole file"),
    ("key", "-----BEGIN PRIVATE KEY-----\nMIG", "looks like a whole file"),
    ("its file", "/etc/sidebard/secret", "looks like the name of a file"),
    ("its setting", "file:/etc/sidebard/secret", "looks like the name of a file"),
]


@pytest.mark.parametrize(("content", "sentence"), [pytest.param(*case[1:], id=case[0]) for case in ODD])
def test_an_odd_shape_is_a_warning(content: bytes | str, sentence: str, tmp_path: Path) -> None:
    where = context(tmp_path)
    (tmp_path / "secret").write_bytes((content.encode() if isinstance(content, str) else content) + b"\n")
    found = told(run_check("secrets", where))
    assert {status for status, _ in found} == {"warning"}
    assert any(sentence in said for _, said in found), found
    assert GOOD[:6] not in str(found)


def test_every_shape_has_an_example() -> None:
    odd = [content.encode() if isinstance(content, str) else content for _id, content, _ in ODD]
    for shape in SHAPES:
        assert any(shape.applies(content, content.decode("utf-8", "replace")) for content in odd), shape.sentence


@pytest.mark.parametrize(
    "secret",
    [
        GOOD,
        "two words and a third",
        "w=x:y#z;0123456789//",
        "a'b\"c`d0123456789abcdef",
        "k9=Qw:e0123456789abcdefgh",
        base64.b64encode(b"0123456789ab!").decode(),  # ends in ==
        "Geheimnis-für-Jürgen-ß",
        "秘密の言葉は何ですか",
        str(uuid.UUID(int=7)),
        "=" * 20,
        "#9;k2//x7Qw!e4%Rt6&Yu8",
        "keystone-monkey-tokens",
    ],
)
def test_a_good_secret_is_good(secret: str) -> None:
    assert list(odd_shapes(secret.encode())) == []


def test_white_space_alone_is_not_called_quotes() -> None:
    assert [said for said in odd_shapes(b" " * 20) if "quotes" in said] == []


def test_no_random_secret_is_odd() -> None:
    """None of what `openssl rand` and most password generators make."""
    chance = random.Random(7)
    for alphabet in (
        string.hexdigits,
        string.ascii_letters + string.digits,
        string.ascii_letters + string.digits + "+/-_",
    ):
        for _ in range(2000):
            assert list(odd_shapes("".join(chance.choices(alphabet, k=32)).encode())) == []
