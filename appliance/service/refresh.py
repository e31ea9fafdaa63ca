"""When to import: the source is looked at every so often, and read when it has changed and has come to rest."""

from __future__ import annotations


class Watch:
    """Decides from what the source looks like, poll by poll, whether to import it now. It looks at nothing itself."""

    def __init__(self, imported: str = "") -> None:
        """`imported` is the signature of the source that the current snapshot was made from; "" for none."""
        self._done = imported
        self._seen = imported
        self._again = not imported

    def due(self, signature: str) -> bool:
        """Say whether to import a source that looks like this now.

        A changed one must look the same twice, for it may still be being written. Without a snapshot, and after a
        refusal that was not the file's fault, every poll tries.
        """
        at_rest, self._seen = signature == self._seen, signature
        return self._again or (at_rest and signature != self._done)

    @property
    def settling(self) -> bool:
        """Whether the source has changed and only its rest is waited for: look again soon."""
        return self._seen != self._done

    def ended(self, signature: str, again: bool = False) -> None:
        """Note that an import of this ended, well or not; `again` if the same source may be good the next time."""
        self._done = signature
        self._again = again
