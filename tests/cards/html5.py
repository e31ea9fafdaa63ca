"""What a browser makes of a card, by an HTML5 parser: what is not allowed, where its links lead, and its text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from justhtml import JustHTML

# The safe core of Help Scout's style guide, and the parts of it that apps in production use.
CLASSES = {
    "h4": set(),
    "p": {"muted", "orange", "noMargin"},
    "ul": {"unstyled", "c-sb-list", "c-sb-list--two-line", "c-sb-timeline", "c-sb-timeline--list"},
    "li": {"c-sb-list-item", "c-sb-timeline-item"},
    "span": {
        *("muted", "badge", "green", "red", "orange", "blue", "purple"),
        *("c-sb-list-item__label", "c-sb-list-item__text", "c-sb-list-item__text__secondary"),
        "c-sb-timeline-item__text",
    },
    "div": {
        *("divider", "c-sb-section", "c-sb-section--toggle", "is-persisted", "open"),
        *("c-sb-section__title", "js-sb-toggle", "c-sb-section__body"),
    },
    "i": {"caret", "sb-caret"},
    "a": set(),
    "br": set(),
    "strong": set(),
}
LINK = re.compile(r"https?://[^\s\"'<>]+|mailto:[^\s\"'<>?&#]+@[^\s\"'<>?&#]+", re.IGNORECASE)
# What a hostile text may still be: characters that HTML does not like, as text.
HARMLESS = {"unexpected-null-character", "control-character-in-input-stream", "noncharacter-in-input-stream"}


@dataclass
class Seen:
    """What was found in one card."""

    wrong: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    text: str = ""


def seen(html: str) -> Seen:
    """Parse a card as a browser does."""
    document = JustHTML(html, fragment=True, sanitize=False, collect_errors=True)
    found = Seen([error.code for error in document.errors if error.code not in HARMLESS])
    _look(document.root, found)
    return found


def _look(node, found: Seen) -> None:
    for child in node.children or ():
        if child.name == "#text":
            found.text += child.data
        elif child.name not in CLASSES:
            found.wrong.append(child.name)
        else:
            _look_at_attributes(child, found)
            _look(child, found)


def _look_at_attributes(element, found: Seen) -> None:
    for name, value in (element.attrs or {}).items():
        if name == "class" and set(value.split()) <= CLASSES[element.name]:
            continue
        if element.name == "a" and name == "href" and LINK.fullmatch(value):
            found.links.append(value)
            continue
        if (element.name, name, value) != ("a", "target", "_blank"):
            found.wrong.append(f"{element.name} {name}={value}")
