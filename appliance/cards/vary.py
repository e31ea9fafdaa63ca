"""What a card may read of the request besides its customer: only what `vary` names, as with HTTP's Vary.

The values are part of the key under which an answer is kept, so that nobody is shown what was made for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

PARTS: Final = ("user", "mailbox", "ticket")


class VaryScope:
    """`user`, `mailbox` or `ticket` in a template. It has the attributes that `vary` names, as texts, and no other."""

    __slots__ = ("_name", "_values")

    def __init__(self, name: str, values: dict[str, str]) -> None:
        self._name = name
        self._values = values

    def __getattr__(self, attribute: str) -> str:
        try:
            return self._values[attribute]
        except KeyError:
            name = f"{self._name}.{attribute}"
            raise AttributeError(f'{name} is not named in vary; add "{name}" to vary of this [[app]]') from None


class Vary:
    """The names of one app's `vary`, such as "user.role"."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names: Final = tuple(names)
        self._paths = tuple(name.split(".") for name in names)

    def parts(self, values: Sequence[str]) -> dict[str, VaryScope]:
        """Return the values, in the order of the names, under the names that a template sees."""
        held: dict[str, dict[str, str]] = {part: {} for part in PARTS}
        for (part, attribute), value in zip(self._paths, values, strict=True):
            held[part][attribute] = value
        return {part: VaryScope(part, some) for part, some in held.items()}
