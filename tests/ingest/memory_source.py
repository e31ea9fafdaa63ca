"""One more kind of source, for the tests of the seam: what a new one has to say, and no more.

Its rows are a JSON list, the header first, in memory that the test shares; that this is a file is nobody's business.
Run as a program, this is the command line with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from appliance.customers.record import Columns
from appliance.ingest import sources
from appliance.ingest.sources.base import Batch, OpenSource, Source, SourceError, SourceKind, Wanted, require


@dataclass(frozen=True)
class Memory(Source):
    address: str

    def describe(self) -> str:
        return self.address

    def fingerprint(self) -> str:
        return hashlib.sha256(self.content()).hexdigest()

    def size(self) -> int:
        return len(self.content())

    def open(self, wanted: Wanted, scratch: Path) -> OpenSource:
        if not self.size():
            raise SourceError(f"{self.address} is empty; write the customers there", transient=True)
        return OpenMemory(json.loads(self.content()), wanted)

    def content(self) -> bytes:
        memory = Path(self.address.removeprefix("memory:"))
        return memory.read_bytes() if memory.exists() else b""


class OpenMemory(OpenSource):
    def __init__(self, rows: list[list[str]], wanted: Wanted) -> None:
        self.columns = Columns(rows[0])
        require(self.columns, wanted)
        self._rows = rows[1:]

    def batches(self) -> Iterator[Batch]:
        yield Batch(self._rows, partial(int.__add__, 2))


KIND = SourceKind(title="memory", parse=lambda address, _section: Memory(address), schemes=("memory",))

if __name__ == "__main__":
    from appliance.cli import main

    sources.KINDS = (*sources.KINDS, KIND)
    main()
