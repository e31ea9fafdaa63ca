"""Draws the forms of Help Scout in docs/pictures, each with what goes into its fields. `make reference` runs it.

They are drawings of our own: which fields there are and in which order, not how Help Scout looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures"
URL: Final = "https://your.name/helpscout"


class Form(NamedTuple):
    """One form: its name, and each field with what goes in."""

    title: str
    fields: tuple[tuple[str, str], ...]


FORMS: Final = {
    "form-legacy": Form(
        "Custom app (legacy)",
        (
            ("Content type", "Dynamic content"),
            ("Callback URL", URL),
            ("Secret key", "the text in the file of secrets"),
            ("Mailboxes", "those whose agents see the card"),
        ),
    ),
    "form-app": Form(
        "Manage > Apps > Create App",
        (
            ("Name", "Customer"),
            ("Callback URL", URL),
            ("Secret key", "the text in the file of secrets of [app.page]"),
            ("Inboxes", "those whose agents see the card"),
        ),
    ),
    "form-webhook": Form(
        "Manage > Apps > Webhooks",
        (
            ("Callback URL", URL),
            ("Secret key", "the text in the file of webhook_secrets"),
            ("Events", "Customer Created, Updated, Deleted; Conversation Created"),
        ),
    ),
}

_WIDTH, _ROW, _TOP = 600, 44, 56
_STYLE: Final = (
    ".g{fill:#fff;stroke:#c8d3de}.b{fill:#f6f8fa;stroke:#dfe6eb}.t{fill:#1d2b36;font-weight:600}.l{fill:#556575}"
    ".v{fill:#253642;font-family:ui-monospace,Menlo,Consolas,monospace}text{font:13px system-ui,sans-serif}"
    "@media(prefers-color-scheme:dark){.g{fill:#1c2128;stroke:#3a4450}.b{fill:#12161b;stroke:#303945}.t{fill:#e1e7ee}"
    ".l{fill:#9ba8b6}.v{fill:#dfe5ec}}"
)


def draw(form: Form) -> str:
    """Return the SVG of a form, which is legible on light and on dark ground."""
    height = _TOP + _ROW * len(form.fields) + 8
    said = "; ".join(f"{label}: {value}" for label, value in form.fields)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">',
        f"<title>{escape(form.title)}. {escape(said)}</title>",
        f"<style>{_STYLE}</style>",
        f'<rect class="g" x=".5" y=".5" width="{_WIDTH - 1}" height="{height - 1}" rx="8"/>',
        f'<text class="t" x="20" y="32">{escape(form.title)}</text>',
        *_rows(form),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _rows(form: Form) -> Iterator[str]:
    for place, (label, value) in enumerate(form.fields):
        top = _TOP + _ROW * place
        yield f'<text class="l" x="20" y="{top + 20}">{escape(label)}</text>'
        yield f'<rect class="b" x="130.5" y="{top + 0.5}" width="{_WIDTH - 151}" height="32" rx="5"/>'
        yield f'<text class="v" x="142" y="{top + 21}" style="font-size:12px">{escape(value)}</text>'


def main() -> None:
    """Draw every form."""
    for name, form in FORMS.items():
        (PICTURES / f"{name}.svg").write_text(draw(form), "utf-8")


if __name__ == "__main__":
    main()
