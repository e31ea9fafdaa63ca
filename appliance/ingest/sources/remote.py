"""Sources on other machines: fetched into files of the state folder first, which the import then reads.

    RemoteSource  --fetch, in a child process (ingest/fetch.py)-->  CSV file  --local-->  FetchedTable  --open-->  rows

So the server is needed only while its rows are copied, and not for the import, which takes longer. Sources of an equal
`group` are fetched together, by one call of `fetch`, so that their rows can be of one moment.
"""

from __future__ import annotations

import abc
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from appliance.ingest.sources.base import Batch, OpenSource, Source, SourceError, Wanted
from appliance.ingest.sources.csv_reader import LastLine, OpenCsv, TextFormat

NOT_FETCHED: Final = "not fetched"
"""The fingerprint of a remote source: whether its rows have changed is known only once they are fetched."""


class Fetched(msgspec.Struct, frozen=True):
    """What was fetched of one source: a CSV file with a header, this many rows, bytes, and its SHA-256."""

    rows: int
    size: int
    sha256: str
    mark: str = ""
    """Stands for the data of its server at that moment, if the server can say so without all of its rows."""


class Remark(msgspec.Struct, frozen=True):
    """What was seen of a server or one of its tables: a sentence, and whether something should be done."""

    level: Literal["ok", "warning", "fault"]
    sentence: str


class Inspection(msgspec.Struct, frozen=True):
    """What an inspection found: remarks, and the first rows of each source; none if there is a fault among them."""

    remarks: tuple[Remark, ...]
    fetched: tuple[Fetched, ...]


class RemoteSource(Source):
    """A table of rows on a server. The subclasses are frozen dataclasses."""

    @property
    @abc.abstractmethod
    def section(self) -> str:
        """Its table in the config, for messages."""

    @property
    @abc.abstractmethod
    def group(self) -> Hashable:
        """What it has in common with the sources that are fetched together with it."""

    @property
    @abc.abstractmethod
    def timeout(self) -> float:
        """Seconds after which a fetch of its group, with connecting, is ended from outside."""

    @abc.abstractmethod
    def fetch(
        self, group: Sequence[RemoteSource], files: Sequence[Path], known: Sequence[Fetched] = ()
    ) -> tuple[Fetched, ...]:
        """Write the rows of each source of the group into its file. Raises SourceError, and OSError of the files.

        `known` is what was fetched the last time, with marks. If the server says that nothing has changed since, it is
        returned, and no file is written.
        It is called in a process of its own, which may be killed at any time.
        """

    def inspect(self, group: Sequence[RemoteSource], files: Sequence[Path], rows: int) -> Inspection:
        """Look whether the group can be fetched, and write the first `rows` rows of each source into its file.

        It is called as `fetch` is, and raises the same. A source that cannot do less fetches everything.
        """
        return Inspection((), self.fetch(group, files))

    def login(self) -> str:
        """Return what stands for the password that a fetch would use, and is not it. Raises nothing."""
        return ""

    @property
    def encoding(self) -> str:
        """What the text of the fetched file is in; "" is UTF-8."""
        return ""

    def fingerprint(self) -> str:
        """Return what it looks like: nothing is known without fetching it."""
        return NOT_FETCHED

    def size(self) -> int:
        """Return 0: it is unknown."""
        return 0

    def open(self, wanted: Wanted, scratch: Path) -> OpenSource:
        """Refuse: only what was fetched can be opened."""
        raise SourceError(f"{self} was not fetched", transient=True)


@dataclass(frozen=True)
class FetchedTable(Source):
    """A remote source, after its rows were fetched into a file. It is named and identified as the remote one."""

    remote: RemoteSource
    file: Path
    fetched: Fetched

    def describe(self) -> str:
        """Return the remote source's name."""
        return self.remote.describe()

    @property
    def name(self) -> str:
        """The remote source's short name."""
        return self.remote.name

    def identity(self) -> tuple[str, ...]:
        """Return what decides which rows the remote source has."""
        return self.remote.identity()

    def fingerprint(self) -> str:
        """Return the digest of the rows: of the same rows, fetched again, it is the same."""
        return self.fetched.sha256

    def size(self) -> int:
        """Return the size of the file."""
        return self.fetched.size

    @property
    def is_of_now(self) -> bool:
        """The server was asked."""
        return True

    def open(self, wanted: Wanted, scratch: Path) -> OpenSource:
        """Open the file. Raises SourceError."""
        # The number of rows has proved that the end is there.
        text = TextFormat(section=self.remote.section, encoding=self.remote.encoding, last_line=LastLine.PROVEN)
        return _OpenFetched(OpenCsv(self.file, wanted, text, self.describe()))


class _OpenFetched(OpenSource):
    """The fetched file, whose bad rows are found by their number among the query's rows, not by a line of the file."""

    def __init__(self, opened: OpenCsv) -> None:
        self._opened = opened
        self.columns = opened.columns

    def batches(self) -> Iterator[Batch]:
        """Return every row. Raises SourceError."""
        number = 1
        for batch in self._opened.batches():
            yield batch._replace(line_of=number.__add__)
            number += len(batch.rows)

    def share_read(self) -> float:
        """Return about how much has been read, from 0 to 1."""
        return self._opened.share_read()

    def close(self) -> None:
        """Close the file."""
        self._opened.close()
