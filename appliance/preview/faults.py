"""Faults as the page shows them: where, what, and the lines of the template around it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

_PLACED: Final = re.compile(r"(?P<file>[^:\n]+):(?P<line>[0-9]+): (?P<what>.+)", re.DOTALL)
_AROUND: Final = 2


class Line(msgspec.Struct, frozen=True):
    """A line of the template."""

    number: int
    text: str
    faulty: bool


class Shown(msgspec.Struct, frozen=True):
    """One fault. `place` is `card.html:3`, or empty when the sentence names no line."""

    place: str
    what: str
    lines: tuple[Line, ...] = ()


def show(sentence: str, card: Path | None) -> Shown:
    """Take a sentence apart, which begins with `file:line: ` if it knows them; `card` is the operator's template.

    Only the template is quoted: a line of the config may hold a secret, and one of the data somebody's name.
    """
    placed = _PLACED.fullmatch(sentence)
    if placed is None:
        return Shown("", sentence)
    file, number = Path(placed["file"]), int(placed["line"])
    # A fault of the rendering names the template without its folder.
    quoted = card is not None and file in (card, Path(card.name))
    return Shown(f"{file.name}:{number}", placed["what"], _excerpt(card, number) if card and quoted else ())


def _excerpt(file: Path, number: int) -> tuple[Line, ...]:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    first = max(1, number - _AROUND)
    some = lines[first - 1 : number + _AROUND]
    return tuple(Line(at, text, at == number) for at, text in enumerate(some, first))
