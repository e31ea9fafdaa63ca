"""What Help Scout keeps of a card's HTML, and what it removes.

Its style guide for these apps says that inline CSS, JavaScript and undocumented HTML are removed, and that nothing but
links is interactive. There is no published list, so KEPT is what its two guides name and what cards in use rely on.
FreeScout removes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from html.parser import HTMLParser
from typing import Final, NamedTuple

Attributes = list[tuple[str, str | None]]

KEPT: Final = {
    **dict.fromkeys(("h4", "p", "strong", "br", "hr", "ul", "ol", "li", "div", "span", "i"), frozenset({"class"})),
    "a": frozenset({"class", "href", "target"}),
}
"""The elements, each with its attributes."""

_VOID: Final = frozenset({"br", "hr"})
# Elements that go with all that is in them; of any other the content stays.
_WHOLE: Final = frozenset({"script", "style", "iframe", "object", "svg", "math", "video", "audio", "canvas", "select",
                           "textarea", "template", "noscript", "title"})  # fmt: skip
# Elements of which nothing more is said once the one that they belong to was told.
_PARTS: Final = {
    **dict.fromkeys(("caption", "col", "colgroup", "tbody", "td", "tfoot", "th", "thead", "tr"), "<table>"),
    **dict.fromkeys(("dd", "dt"), "<dl>"),
}
_RUNS: Final = re.compile(r"[\s\x00]*(javascript|vbscript|data)\s*:", re.IGNORECASE)
_LISTED: Final = 3

_CLASSES: Final = "use classes, such as muted, badge or green"
_NOTHING_RUNS: Final = "nothing runs in a card there, and only links can be clicked"
_LISTS: Final = "use a list, as the helper two_line_list makes"
# What to do instead, by the first that fits what was removed.
_INSTEAD: Final = (
    (re.compile(r"style=|<style>"), _CLASSES),
    (re.compile(r"on\w+=|href=|<(script|button|form|input|select|textarea|label|option)>"), _NOTHING_RUNS),
    (re.compile(r"<(table|thead|tbody|tfoot|tr|td|th|dl|dt|dd)>"), _LISTS),
    (re.compile(r"<h[1-6]>"), "write <h4>"),
    (re.compile(r"<(b|em|u|mark|big)>"), "write <strong>"),
    (re.compile(r""), "leave it out"),
)


class Removal(NamedTuple):
    """One thing that is removed: on which line it stands, and it, as `<table>` or `style=`."""

    line: int
    what: str


class Cleaned(NamedTuple):
    """HTML as Help Scout shows it."""

    html: str
    removals: tuple[Removal, ...]
    is_blank: bool
    """Whether no text is left."""


def clean(html: str) -> Cleaned:
    """Return what Help Scout leaves of a card."""
    cleaner = _Cleaner()
    cleaner.feed(html)
    cleaner.close()
    text = "".join(cleaner.made)
    return Cleaned(text, tuple(cleaner.removals), not cleaner.has_text)


def removals_of(template: str) -> tuple[Removal, ...]:
    """Return what Help Scout removes of the HTML that is written in a template; its values are another matter."""
    cleaner = _Cleaner()
    cleaner.feed(_DIRECTIVE.sub(lambda match: _HOLE + "\n" * match[0].count("\n"), template))
    cleaner.close()
    return tuple(cleaner.removals)


def sentences(name: str, removals: tuple[Removal, ...]) -> Iterator[str]:
    """Return what is removed from the template called `name`, and what to do: a sentence for each thing."""
    for what in dict.fromkeys(removal.what for removal in removals):
        first, *more = sorted({removal.line for removal in removals if removal.what == what})
        listed = ", ".join(map(str, more[:_LISTED])) + (", …" if len(more) > _LISTED else "")
        also = f" (also on line{'s' * (len(more) > 1)} {listed})" if more else ""
        yield f"{name}:{first}: Help Scout removes {what}{also}; {instead(what)}"


def instead(what: str) -> str:
    """Return what to do in the place of what is removed."""
    return next(todo for pattern, todo in _INSTEAD if pattern.match(what))


# A template's own syntax is no HTML. In its place stands a character that no name has, and as many lines.
_DIRECTIVE: Final = re.compile(r"\{\{(?!!).*?\}\}|\{%(?!!).*?%\}|\{#(?!!).*?#\}", re.DOTALL)
_HOLE: Final = "\N{OBJECT REPLACEMENT CHARACTER}"


class _Cleaner(HTMLParser):
    """Writes what is kept, and notes what is not."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []
        self.removals: list[Removal] = []
        self.has_text = False
        self._inside = ""  # the element that goes with its content, and how many of it are open
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        self._start(tag, attrs, closed=False)

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        self._start(tag, attrs, closed=True)

    def _start(self, tag: str, attrs: Attributes, *, closed: bool) -> None:
        if self._inside:
            self._depth += tag == self._inside and not closed
            return
        name, hole, _ = tag.partition(_HOLE)
        if name not in KEPT:
            if not hole and not self._is_told(_PARTS.get(tag)):  # with a hole, the rest of its name is a value
                self._remove(f"<{tag}>", 0)
            if tag in _WHOLE and not closed:
                self._inside, self._depth = tag, 1
            return
        kept = "".join(f' {key}="{escape(value or "")}"' for key, value in self._attributes(name, attrs))
        self.made.append(f"<{name}{kept}>")

    def _attributes(self, tag: str, attrs: Attributes) -> Iterator[tuple[str, str | None]]:
        for written, value in attrs:
            name = written.replace(_HOLE, "")
            if name == "href" and value is not None and _RUNS.match(value):
                self._remove(f"href={value.partition(':')[0].strip()}:…", self._lines_before(written))
            elif name in KEPT[tag]:
                yield name, value
            elif name:
                self._remove(f"{name}=…", self._lines_before(written))

    def _is_told(self, what: str | None) -> bool:
        return any(removal.what == what for removal in self.removals)

    def _lines_before(self, attribute: str) -> int:
        """Return how many lines below its tag an attribute stands."""
        text = self.get_starttag_text() or ""
        found = re.search(rf"[\s/\"']{re.escape(attribute)}(?=[\s=/>]|$)", text, re.IGNORECASE)
        return text.count("\n", 0, found.start() + 1) if found else 0

    def _remove(self, what: str, below: int) -> None:
        self.removals.append(Removal(self.getpos()[0] + below, what))

    def handle_endtag(self, tag: str) -> None:
        if self._inside:
            self._depth -= tag == self._inside
            self._inside = self._inside if self._depth else ""
        elif tag in KEPT and tag not in _VOID:
            self.made.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.made.append(escape(data, quote=False))
            self.has_text = self.has_text or bool(data.strip())
