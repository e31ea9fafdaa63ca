"""The document around a card that an agent's browser loads into a frame of Help Scout's.

Style and script are part of it, and the policy allows them by their hashes (CSP level 2) and nothing else: no second
request, which nobody would have signed, and nothing that a template or a value brings along can run.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

DESK: Final = "https://secure.helpscout.net"
"""The only origin that may have a page in a frame, and that the script writes to."""

_FOLDER: Final = Path(__file__).parents[1] / "page"
_DESK_IN_SCRIPT: Final = f'"{DESK}"'
STYLE: Final = (_FOLDER / "card.css").read_text("utf-8")
_SCRIPT: Final = (_FOLDER / "card.js").read_text("utf-8")

HEAD: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="only light">
<title>Customer</title>
<style>{STYLE}</style>
</head>
<body>
"""


class Frame:
    """Who has the page in a frame: what stands around a card, and what a browser may do with it."""

    def __init__(self, desk: str, source: str) -> None:
        """`desk` is the origin that the script writes to, in JavaScript; `source` the same for the policy."""
        self.script: Final = _SCRIPT.replace(_DESK_IN_SCRIPT, desk)
        self.foot: Final = f"""
<script>{self.script}</script>
</body>
</html>
"""
        self.policy: Final = "; ".join(
            (
                "default-src 'none'",
                f"style-src 'sha256-{_hash(STYLE)}'",
                f"script-src 'sha256-{_hash(self.script)}'",
                "base-uri 'none'",
                "form-action 'none'",
                f"frame-ancestors {source}",
            )
        )

    def document(self, card: str) -> bytes:
        """Return the whole document with a card in it, which is HTML."""
        return f"{HEAD}{card}{self.foot}".encode("utf-8", "replace")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


_SERVED: Final = Frame(_DESK_IN_SCRIPT, DESK)
SCRIPT: Final = _SERVED.script
FOOT: Final = _SERVED.foot
POLICY: Final = _SERVED.policy

HEADERS: Final = (
    ("Content-Security-Policy", POLICY),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
"""Of every page. No X-Frame-Options, which cannot name an origin, and no cookie."""

document = _SERVED.document


def card_in(body: bytes) -> str:
    """Return the card in such a document. Raises ValueError if it is none."""
    text = body.decode("utf-8")
    if not text.startswith(HEAD) or not text.endswith(FOOT):
        raise ValueError("this is not a page with a card in it")
    return text.removeprefix(HEAD).removesuffix(FOOT)
