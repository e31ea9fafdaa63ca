"""What was probably meant by what a template gets wrong: the habits of other template languages, and typing errors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from typing import Final

_TAGS: Final = (
    "apply", "break", "comment", "continue", "elif", "else", "end", "except", "finally", "for", "from", "if", "import",
    "raw", "set", "try", "while",
)  # fmt: skip

# Tags of Jinja2, Django, Twig, Liquid and PHP, and what they are here.
_OTHER_TAGS: Final = {
    **dict.fromkeys(("elseif", "elsif", "elsif:", "else-if", "elif:"), "{% elif … %}"),
    **dict.fromkeys(("foreach", "each", "loop"), "{% for … in … %}"),
    **dict.fromkeys(("assign", "let", "var", "with"), "{% set name = … %}"),
    **dict.fromkeys(("unless", "ifnot"), "{% if not … %}"),
    **dict.fromkeys(("verbatim", "autoescape", "safe"), "{% raw … %}"),
    "filter": "{% apply … %}",
}
_OTHER_WORDS: Final = {"true": "True", "false": "False", **dict.fromkeys(("null", "nil", "none", "undefined"), "None")}

# Filters of other template languages, and how the same is written here.
_FILTERS: Final = {
    "upper": "{{ name.upper() }}",
    "lower": "{{ name.lower() }}",
    "title": "{{ name.title() }}",
    "capitalize": "{{ name.capitalize() }}",
    "trim": "{{ name.strip() }}",
    "default": '{{ name or "…" }}',
    "length": "{{ len(name) }}",
    "join": '{{ ", ".join(names) }}',
    "first": "{{ names[0] }}",
    "last": "{{ names[-1] }}",
    **dict.fromkeys(("e", "escape"), "{{ name }}, which is escaped already"),
    **dict.fromkeys(("safe", "raw"), "{% raw name %}, for what is HTML already"),
}
_FILTER: Final = re.compile(r"[^|]\|\s*([A-Za-z_]\w*)")
_UNKNOWN_TAG: Final = re.compile(r"unknown operator: '(.*)'", re.DOTALL)


def of_tag(message: str) -> str:
    """Return a hint for what Tornado says of a tag, or ""."""
    found = _UNKNOWN_TAG.fullmatch(message)
    if found is None:
        return ""
    tag = found[1].lower()
    if tag.startswith("end"):
        return "write {% end %}, which ends every block"
    if tag in _OTHER_TAGS:
        return f"write {_OTHER_TAGS[tag]}"
    near = difflib.get_close_matches(tag, _TAGS, 1, 0.7)
    return f"did you mean {{% {near[0]} %}}?" if near else ""


def of_name(name: str, code: str, known: Collection[str], columns: Collection[str]) -> str:
    """Return a hint for a name that is not defined in a line of `code`, or ""."""
    if name in _OTHER_WORDS:
        return f"write {_OTHER_WORDS[name]}"
    if hint := of_filter(code, known):
        return hint
    if name in columns:
        return f"write customer.{name}"
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else ""


def of_filter(code: str, known: Collection[str]) -> str:
    """Return a hint for a line of code in which a value is piped into a filter, or ""."""
    found = _FILTER.search(code)
    if found is None:
        return ""
    name = found[1]
    instead = _FILTERS.get(name) or (f"{{{{ {name}(name) }}}}" if name in known else "")
    return f"there are no filters; write {instead}" if instead else "there are no filters; call a helper or a method"
