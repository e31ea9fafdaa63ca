"""Reads CSV and TSV strictly: a file that is not quite right is refused, never guessed at."""

from __future__ import annotations

import codecs
import csv
import enum
import io
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from appliance.customers.address import normalise
from appliance.customers.column_name import clean_name, name_key, shown_name
from appliance.customers.record import ColumnError, Columns
from appliance.ingest.sources.base import BATCH, Batch, OpenSource, SourceError, Wanted, require
from appliance.ingest.sources.file_kinds import HEAD, kind_of, unmarked_utf_16
from appliance.ingest.sources.local_file import open_regular

MAX_CELL: Final = 128 * 1024
DELIMITERS: Final = ",;\t|"
_TITLES: Final = 50
"""Lines above the header that are looked through for it, to say where it is."""

_CHUNK: Final = 256 * 1024
_HALF: Final = (
    "the last line has no line end and fewer cells than the header has names, so the file is cut short; export it"
    " again, or add the rest"
)
_DOS_END: Final = "\x1a"  # the end of a text file in CP/M and DOS, which old programs still write
_LINE_END: Final = re.compile(r"\r\n|\r|\n")
_USUAL: Final = "cp1252"
"""What a file that is not UTF-8 mostly is; suggested only where it fits."""

# UTF-32's little-endian mark begins with UTF-16's, so it must be looked for first.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class LastLine(enum.Enum):
    """What a last line without a line end means: half a file, or a program that never writes one."""

    REFUSE = enum.auto()
    ACCEPT = enum.auto()
    PROVEN = enum.auto()
    """Something else proves that the file is complete."""


@dataclass(frozen=True, kw_only=True)
class TextFormat:
    """How a text file is written, as far as its `section` of the config says.

    `encoding` yields to a byte order mark; "" is UTF-8. The header is below `skip_lines` lines, of which Excel's `sep=`
    may be one.
    """

    section: str = "customers"
    encoding: str = ""
    skip_lines: int = 0
    last_line: LastLine = LastLine.REFUSE

    @property
    def skip_key(self) -> str:
        """The key of `skip_lines`, for messages."""
        return f"{self.section}.skip_lines"


class OpenCsv(OpenSource):
    """One open CSV file."""

    def __init__(self, file: Path, wanted: Wanted, text: TextFormat, name: str = "") -> None:
        """Open `file` and read its header, which must have the `wanted` columns. Raises SourceError.

        `name` is how messages call it, by default by its path.
        """
        self._file = file
        self._name = name or str(file)
        self._format = text
        self._binary = open_regular(file)
        try:
            marked = _marked(self._binary)
            self._marked = marked is not None
            self._encoding = marked or text.encoding or "utf-8"
            self._text: TextIO = io.TextIOWrapper(self._binary, self._encoding, newline="")
            try:
                self.columns, self._delimiter = self._read_header(wanted)
            except UnicodeError:
                raise self._not_csv(self._not_text()) from None
            except SourceError as fault:
                raise self._not_csv(fault) from None
        except BaseException:
            self._binary.close()
            raise

    def _read_header(self, wanted: Wanted) -> tuple[Columns, str]:
        """Find the delimiter with which the header has the wanted columns; csv.Sniffer answers "m" for one column."""
        try:
            return self._read_header_here(wanted)
        except SourceError as fault:
            seen = self._line_of_header(wanted)
            if not seen or seen == self._skipped + 1:
                raise
            columns = f"column{'s' if len(wanted) > 1 else ''} {', '.join(map(shown_name, wanted))}"
            raise SourceError(
                f"{fault}; line {seen} has the {columns}: set {self._format.skip_key} = {seen - 1}"
            ) from None

    def _read_header_here(self, wanted: Wanted) -> tuple[Columns, str]:
        """Read the header where the config says that it is. Raises SourceError."""
        marked = self._start()
        where = f"{self._name}:{self._skipped + 1}"
        first_line = self._text.readline(MAX_CELL)
        if not first_line.strip():
            raise SourceError(f"{where}: {self._lack(first_line)}")
        faults: list[tuple[int, str]] = []
        usual = "\t" + DELIMITERS if self._file.suffix.lower() == ".tsv" else DELIMITERS
        if not wanted:  # then any would do
            usual = "".join(sorted(usual, key=first_line.count, reverse=True))
        for delimiter in marked or usual:
            self._start()
            try:
                header = next(self._reader(delimiter))
                if any(normalise(cell) for cell in header):
                    # Said before any other complaint: those quote the header, and this one is a customer.
                    raise SourceError(
                        f"{where}: {self._top} contains an email address, so it is not a header; add one above it"
                    )
                columns = self._columns_of(header)
                require(columns, wanted)
            except ColumnError as error:
                faults.append((first_line.count(delimiter), f"{where}: {error}"))
            except csv.Error as error:
                faults.append((first_line.count(delimiter), f"{where}: {_sentence(error)}"))
            else:
                return columns, delimiter
        # The complaint about the delimiter that the header is full of is the one that helps.
        raise SourceError(max(faults, key=lambda fault: fault[0])[1])

    @property
    def _top(self) -> str:
        """What messages call the line of the header."""
        return "this line" if self._format.skip_lines else "the first line"

    def _lack(self, first_line: str) -> str:
        """Return the sentence about an empty line, or the end of the file, in place of the header."""
        if not first_line and self._format.skip_lines:
            return (
                f"the file has no line {self._skipped + 1}, though {self._format.skip_key} = {self._format.skip_lines}"
                " says that the header is there; correct it"
            )
        lacks = f"{self._top} is empty" if first_line else "the file is empty"
        return f"{lacks}; add a header line, then one line per customer"

    def _line_of_header(self, wanted: Wanted) -> int:
        """Return the number of the first line that has the wanted columns, looking at each by itself; 0 for none."""
        keys = set(map(name_key, wanted))
        self._text.seek(0)
        with suppress(UnicodeError):
            for number in range(1, _TITLES + 2) if keys else ():
                line = self._next_line()
                for delimiter in DELIMITERS:
                    with suppress(csv.Error):
                        if keys <= {name_key(cell) for row in csv.reader([line], delimiter=delimiter) for cell in row}:
                            return number
        return 0

    def _columns_of(self, header: list[str]) -> Columns:
        """Return the columns that have a name. Those after the last one are empty in every row that can be used.

        A first one without a name is not read: pandas writes the numbers of its rows there. Raises ColumnError.
        """
        names = list(map(clean_name, header))
        while names and not names[-1]:
            names.pop()
        if not names:
            raise ColumnError("the header has no names; write the names of the columns there")
        self._first = 1 if not names[0] else 0
        return Columns(names[self._first :])

    def _start(self) -> str:
        """Go to the header; return the delimiter that Excel's `sep=` line above it names, or ""."""
        self._text.seek(0)
        self._skipped = 0
        line = self._text.readline(MAX_CELL).rstrip("\r\n").lstrip("\ufeff").strip('"').lower()
        marked = line[4:] if line.startswith("sep=") and line[4:] in set(DELIMITERS) else ""
        if marked:
            self._skipped = 1
        else:
            self._text.seek(0)
        while self._skipped < self._format.skip_lines:
            self._next_line()
            self._skipped += 1
        begin = self._text.tell()
        while self._text.read(1) == "\ufeff":  # a second byte order mark, which some exports write
            begin = self._text.tell()
        self._text.seek(begin)
        return marked

    def _next_line(self) -> str:
        """Return the next line, of a very long one its beginning; "" at the end of the file."""
        line = part = self._text.readline(MAX_CELL)
        while part and not part.endswith(("\n", "\r")):
            part = self._text.readline(MAX_CELL)
        return line

    def _reader(self, delimiter: str) -> Iterator[list[str]]:
        csv.field_size_limit(MAX_CELL)
        self._csv = csv.reader(chain.from_iterable(self._lines()), delimiter=delimiter, strict=True)
        return self._csv

    def _lines(self) -> Iterator[list[str]]:
        number = self._skipped + 1
        self._ended = True
        while lines := self._text.readlines(_CHUNK):
            if "\0" in "".join(lines):
                number += next(index for index, line in enumerate(lines) if "\0" in line)
                raise SourceError(
                    f"{self._name}:{number}: there is a NUL byte: the file is damaged or not text; export it again"
                )
            number += len(lines)
            if not lines[-1].strip(_DOS_END):
                lines[-1] = "\n"  # an empty line, which is no row
            self._ended = lines[-1].endswith(("\n", "\r"))
            yield lines

    def batches(self) -> Iterator[Batch]:
        """Return every row after the header. Raises SourceError where the file is broken."""
        self._start()
        reader = self._reader(self._delimiter)
        try:
            last = next(reader)
            line, rows = self._csv.line_num, list(islice(reader, BATCH))
            while rows:
                last = rows[-1]
                yield Batch(
                    [row[self._first :] for row in rows] if self._first else rows, partial(self._line_of, rows, line)
                )
                line, rows = self._csv.line_num, list(islice(reader, BATCH))
            if not self._ended:
                self._meet_unterminated(f"{self._name}:{self._skipped + line}", last)
        except csv.Error as error:
            raise SourceError(f"{self._name}:{self._line_of_fault()}: {_sentence(error)}") from None
        except UnicodeError:
            raise self._not_text() from None
        except OSError as error:
            raise SourceError(
                f"{self._name} cannot be read to its end: {error.strerror}; check the disk", transient=True
            ) from None

    def _meet_unterminated(self, where: str, row: list[str]) -> None:
        """Decide about a last row without a line end. Raises SourceError if only half of it is there."""
        is_short = len(row) < self._first + len(self.columns.names) and any(map(str.strip, row))
        if self._format.last_line is LastLine.REFUSE:
            self.unterminated = where
        elif self._format.last_line is LastLine.ACCEPT and is_short:
            raise SourceError(f"{where}: {_HALF}")

    def check_end(self) -> None:
        """Look at the file's last bytes alone. Raises SourceError if it may be cut short."""
        descriptor = self._binary.fileno()
        end = os.pread(descriptor, 4, max(0, os.fstat(descriptor).st_size - 4)).replace(b"\0", b"")  # also of UTF-16
        end = end.rstrip(_DOS_END.encode())
        if self._format.last_line is LastLine.REFUSE and not end.endswith((b"\n", b"\r")):
            raise SourceError(unterminated(self._name))

    def _line_of(self, rows: list[list[str]], before: int, index: int) -> int:
        """Return the first line of a row in a batch that comes behind `before` lines: cells may hold line ends."""
        held = sum(len(_LINE_END.findall(cell)) for row in rows[:index] for cell in row)
        return self._skipped + before + index + held + 1

    def _line_of_fault(self) -> int:
        """Read again, row by row, to the first line of the row that is no CSV."""
        self._start()
        line = 0
        with suppress(csv.Error):
            for _ in self._reader(self._delimiter):
                line = self._csv.line_num
        return self._skipped + line + 1

    def _not_csv(self, fault: SourceError) -> SourceError:
        """Say what the file is instead of CSV, if its first bytes tell, or else return `fault`."""
        self._binary.seek(0)
        head = self._binary.read(HEAD)
        kind, encoding = kind_of(head), unmarked_utf_16(head)
        if kind is not None:
            return SourceError(f"{self._name}: this is {kind.name}; {kind.todo}")
        if encoding is not None and encoding != codecs.lookup(self._encoding).name:
            return SourceError(
                f"{self._name}: this is UTF-16 without a byte order mark; export the file as UTF-8, or name its"
                f' encoding, as in customers.encoding = "{encoding}"'
            )
        return fault

    def _not_text(self) -> SourceError:
        """Say on which line the bytes stop being text, by looking at them again."""
        where, line = f"{self._name}", b""
        if "16" not in self._encoding and "32" not in self._encoding:
            self._binary.seek(0)
            for number, line in enumerate(self._binary, 1):
                try:
                    line.decode(self._encoding)
                except UnicodeError:
                    where = f"{self._name}:{number}"
                    break
        name = self._encoding.removesuffix("-sig").upper()
        if self._marked:
            return SourceError(f"{where}: this is not {name} text, though its byte order mark says so; export it again")
        if codecs.lookup(self._encoding).name not in ("utf-8", "utf-8-sig"):
            return SourceError(
                f"{where}: this is not {name} text, as customers.encoding says; export the file as UTF-8 and remove"
                " that key, or correct it"
            )
        todo = f', as in customers.encoding = "{_USUAL}"' if _is_text(line, _USUAL) else " in customers.encoding"
        return SourceError(f"{where}: this is not {name} text; export the file as UTF-8, or name its encoding{todo}")

    def share_read(self) -> float:
        """Return about how much of the file has been read, from 0 to 1."""
        return min(1.0, self._binary.tell() / max(1, os.fstat(self._binary.fileno()).st_size))

    def close(self) -> None:
        """Close the file."""
        self._binary.close()


def unterminated(where: str, *, else_whole: bool = False) -> str:
    """Return the sentence about a last line without a line end; `else_whole`: all that could be checked is good."""
    return (
        f"{where}: the last line has no line end, so the file may be cut short; end it with one, or set"
        f" customers.ready_file or customers.checksum_file;{' everything else is complete;' if else_whole else ''} if"
        ' the program that writes it always leaves it out, set unterminated_last_line = "accept" in [customers]'
    )


def _marked(binary: BinaryIO) -> str | None:
    """Return the encoding that a byte order mark names, or None."""
    start = binary.read(4)
    binary.seek(0)
    return next((name for mark, name in _MARKS if start.startswith(mark)), None)


def _is_text(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeError:
        return False
    return True


def _sentence(error: csv.Error) -> str:
    """Say what the csv module's terse text means and what to do."""
    text = str(error)
    if "unexpected end of data" in text:
        return "a quoted field begins here and never ends; close the quote, or export the file again"
    if "field larger" in text:
        return f"a field is longer than {MAX_CELL // 1024} KiB; shorten it, or look for a missing closing quote"
    return f"this line is not CSV ({text}); write a quote inside a quoted field twice, or export the file again"
