"""Faults as the page shows them: where, what, and the surrounding lines of the template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

_PLACED: Final = re.compile(r"(?P<file>[^:\n]+):(?P<line>[0-9]+): (?P<what>.+)", re.DOTALL)
_AROUND: Final = 2


class SourceLine(msgspec.Struct, frozen=True):
    """A line of the template."""

    number: int
    text: str
    faulty: bool


class FaultView(msgspec.Struct, frozen=True):
    """One fault. `place` is like `card.html:3`, or empty if the sentence names no line."""

    place: str
    what: str
    lines: tuple[SourceLine, ...] = ()


def view_fault(sentence: str, card: Path | None) -> FaultView:
    """Split a sentence, which begins with `file:line: ` if they are known; `card` is the operator's template.

    Only the template is quoted: a line of the config may contain a secret, and one of the data personal data.
    """
    placed = _PLACED.fullmatch(sentence)
    if placed is None:
        return FaultView("", sentence)
    file, number = Path(placed["file"]), int(placed["line"])
    # A fault while rendering names the template without its folder.
    quoted = card is not None and file in (card, Path(card.name))
    return FaultView(f"{file.name}:{number}", placed["what"], _excerpt(card, number) if card and quoted else ())


def _excerpt(file: Path, number: int) -> tuple[SourceLine, ...]:
    try:
        lines = file.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    first = max(1, number - _AROUND)
    some = lines[first - 1 : number + _AROUND]
    return tuple(SourceLine(at, text, at == number) for at, text in enumerate(some, first))
