"""When to import: the source is looked at every so often, and read when it has changed and has come to rest.

Each look says what the source looks like (`due`), and each import how it ended (`ended`). Before the first import, and
when the snapshot has gone (`has`), the source is read as soon as it may be. Any other change must look the same at two
looks. A source that was refused is read again when it has changed, or at every look if the refusal may pass by itself.
"""

from __future__ import annotations


class Watch:
    """Decides from what the source looks like, poll by poll, whether to import it now. It looks at nothing itself."""

    def __init__(self, imported: str = "") -> None:
        """`imported` is the signature of the source that the current snapshot was made from; "" for none."""
        self._imported = imported
        self._done = imported
        self._seen = imported
        self._again = False
        self._at_once = not imported

    def has(self, imported: str) -> None:
        """Note what the current snapshot was made from: somebody else may have made one, or removed it ("")."""
        if imported != self._imported:
            self._imported = self._done = imported
            self._at_once = not imported

    def due(self, signature: str, *, rested: bool = True) -> bool:
        """Say whether to import a source that looks like this now; never one that is known to be written (`rested`)."""
        looks_the_same, self._seen = signature == self._seen, signature
        is_wanted = self._again or signature != self._done
        return rested and (self._at_once or (looks_the_same and is_wanted))

    @property
    def settling(self) -> bool:
        """Whether the source has changed and only its rest is waited for: look again soon."""
        return self._seen != self._done

    def ended(self, signature: str, again: bool = False) -> None:
        """Note that an import of this ended, well or not; `again` if the same source may be good the next time."""
        self._done = signature
        self._again = again
        self._at_once = False
