"""The operator's own card: a Tornado template, compiled once, with escaping that cannot be forgotten.

What a template says is code of the operator's; what it shows is data of anybody's. So every value is escaped, and a
fault says its place and kind, never a value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any, Final

from tornado.escape import utf8
from tornado.template import ParseError, Template

from appliance.cards import template_hints
from appliance.cards.helpers import HELPERS, Clock, HelperUsageError
from appliance.cards.markup import MAX_CARD, Markup, html_of
from appliance.cards.template_code import compile_template
from appliance.cards.vary import Vary, VaryScope
from appliance.customers.record import Record, attributes_of, size_of
from appliance.errors import SidebardError

_SPECIAL: Final = re.compile(rb"[&<>\"']")
_ENTITIES: Final = {b"&": b"&amp;", b"<": b"&lt;", b">": b"&gt;", b'"': b"&quot;", b"'": b"&#x27;"}
_PLACE: Final = re.compile(r"# (\S+):(\d+)( \(via .*\))?$")


PARAMETERS: Final = ("customers", "customer", "addresses", "as_of", "date", "ago")
"""What `render` gives a card, in this order."""

MAX_VALUES: Final = 1024 * 1024
"""Characters that the customers of one card may hold in all, of which a template makes HTML in about 50 ms."""


class TemplateError(SidebardError):
    """The template cannot be compiled, or failed on a customer; the text says where and what, and holds no value."""

    def __init__(self, sentence: str, hint: str = "") -> None:
        """`hint` is what to do about it, if that is known; the text has it too."""
        super().__init__(f"{sentence}; {hint}" if hint else sentence)
        self.sentence: Final = sentence
        self.hint: Final = hint


def show(value: object) -> bytes:
    """Return a value as a card shows it: escaped, unless it is Markup."""
    if type(value) is str:  # most are, and have nothing to escape; see html_of
        if "&" in value or "<" in value or ">" in value or '"' in value or "'" in value:
            return html_of(value).encode()
        return value.encode()
    return escape(value if isinstance(value, bytes) else str(value).encode())


def show_raw(value: object) -> bytes:
    """Return a value as a card shows it whose author says that it is HTML."""
    return value if isinstance(value, bytes) else str(value).encode()


def escape(value: bytes) -> bytes:
    """Escape what a template shows, unless it is Markup."""
    if isinstance(value, Markup):
        return value
    return _SPECIAL.sub(lambda match: _ENTITIES[match[0]], value)


class CardTemplate:
    """One compiled template."""

    def __init__(self, text: str, name: str) -> None:
        """Compile `text`; `name` is what its faults call it. Raises TemplateError."""
        try:
            self._template = Template(text, name=name, autoescape="escape")
            code = compile_template(
                self._template.code, f"{name}.generated.py", show="_show", show_raw="_show_raw", parameters=PARAMETERS
            )
        except (ParseError, AssertionError) as error:
            if not isinstance(error, ParseError) or not error.lineno:  # there is no loader to find another file with
                raise TemplateError(f"{name}: a template cannot include or extend another") from None
            hint = template_hints.of_tag(error.message)
            raise TemplateError(f"{name}:{error.lineno}: {error.message}", hint) from None
        except SyntaxError as error:
            found = _PLACE.search((error.text or "").rstrip())
            place = f"{found[1]}:{found[2]}" if found else name
            raise TemplateError(f"{place}: this is not Python: {error.msg}") from None
        # Template.generate would execute the whole module for each card, 20 us; its function is all that is needed.
        tornado = {"escape": escape, "_tt_utf8": utf8, "_tt_string_types": (str, bytes)}
        own = {"_show": show, "_show_raw": show_raw, "_template": self}
        self._names: dict[str, Any] = {**HELPERS, **Vary().parts(()), **tornado, **own}
        exec(code, self._names)  # noqa: S102  # a template is code of the operator's
        self._execute: Callable[..., bytes] = self._names["_tt_execute"]
        self._code: CodeType = self._names["_tt_execute"].__code__

    def render(
        self,
        customers: Sequence[Record],
        addresses: Sequence[str],
        as_of: datetime,
        now: Callable[[], datetime],
        varied: Mapping[str, VaryScope] | None = None,
    ) -> str:
        """Return the card's HTML for these customers, at least one, as it is at the time and in the zone of `now()`.

        `varied` is what the app's `vary` gives; an app that has one gives it each time. Raises TemplateError, also
        where there is too much to show: customers of more than MAX_VALUES characters, HTML of more than MAX_CARD.
        """
        if sum(map(size_of, customers)) > MAX_VALUES:
            raise TemplateError(
                f"{self._template.name}: these customers hold more than {MAX_VALUES:,} characters;"
                " shorten their columns in the export"
            )
        clock = Clock(now)
        execute = FunctionType(self._code, {**self._names, **varied}) if varied else self._execute
        try:
            text = execute(customers, customers[0], addresses, as_of, clock.date, clock.ago).decode()
        except Exception as error:
            raise self._fault(error, customers[0]) from None
        if len(text) > MAX_CARD:
            raise TemplateError(
                f"{self._template.name}: the card has {len(text):,} characters, and at most {MAX_CARD:,} are sent;"
                " show fewer rows, or less of long columns"
            )
        return text

    def _fault(self, error: Exception, customer: Record) -> TemplateError:
        # These say names out of the template, or how a helper is called; any other text may hold a customer's value.
        what = str(error) if isinstance(error, NameError | AttributeError | HelperUsageError) else type(error).__name__
        line = self._line(error.__traceback__)
        place = (self._place_of(line) if line else None) or self._template.name
        return TemplateError(f"{place}: {what}", self._hint(error, line, customer))

    def _hint(self, error: Exception, line: int, customer: Record) -> str:
        """Return a hint out of the line of code that failed: it is the template's, and holds no value."""
        code = self._template.code.splitlines()[line - 1].rpartition("  # ")[0] if line else ""
        known = [name for name in (*self._names, *PARAMETERS) if not name.startswith("_")]
        if isinstance(error, NameError):
            return template_hints.of_name(error.name or "", code, known, attributes_of(customer))
        return template_hints.of_filter(code, known) if isinstance(error, TypeError) else ""

    def _line(self, trace: TracebackType | None) -> int:
        """Return the last line of the template's code that a traceback has, or 0."""
        line = 0
        while trace is not None:
            if self._runs_in(trace.tb_frame):
                line = trace.tb_lineno
            trace = trace.tb_next
        return line

    def _runs_in(self, frame: FrameType) -> bool:
        return frame.f_globals.get("_template") is self

    def place_in(self, frame: FrameType | None) -> str:
        """Return the file and line of the template that is being rendered in `frame`, or by what has called it."""
        while frame is not None and not self._runs_in(frame):
            frame = frame.f_back
        name: str = self._template.name
        return (self._place_of(frame.f_lineno) if frame is not None else None) or name

    def _place_of(self, line: int) -> str | None:
        """Return the template's place of a generated line, at whose end Tornado notes it."""
        found = _PLACE.search(self._template.code.splitlines()[line - 1])
        return f"{found[1]}:{found[2]}" if found else None
