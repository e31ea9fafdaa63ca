"""Customers from a CSV or TSV file, read strictly: a file that is not quite right is refused, never guessed at."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from appliance.customers.address import normalise
from appliance.customers.column_name import clean_name
from appliance.customers.record import ColumnFault, Columns
from appliance.ingest.sources.base import BATCH, Batch, SourceFault, open_regular, require
from appliance.ingest.sources.file_kinds import HEAD, kind_of, unmarked_utf_16

CSV_SUFFIXES: Final = frozenset({".csv", ".tsv"})
MAX_CELL: Final = 128 * 1024
DELIMITERS: Final = ",;\t|"
_CHUNK: Final = 256 * 1024
_NOT_ENDED: Final = "the last line has no line end, so the file may be cut short; end it with one"
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


class CsvSource:
    """One open CSV file."""

    def __init__(
        self, file: Path, wanted: Sequence[str], setting: str, encoding: str = "", whole: bool = False
    ) -> None:
        """Open `file` and read its header, which must have the `wanted` columns, named by the key `setting`.

        `encoding` is used where no byte order mark says otherwise; "" is UTF-8. `whole` says that something else
        proves the file complete, so that a last line without a line end may be trusted. Raises SourceFault.
        """
        self._file = file
        self._whole = whole
        self._binary = open_regular(file)
        try:
            marked = _marked(self._binary)
            self._marked = marked is not None
            self._encoding = marked or encoding or "utf-8"
            self._text: TextIO = io.TextIOWrapper(self._binary, self._encoding, newline="")
            try:
                self.columns, self._delimiter = self._read_header(wanted, setting)
            except UnicodeError:
                raise self._not_csv(self._not_text()) from None
            except SourceFault as fault:
                raise self._not_csv(fault) from None
        except BaseException:
            self._binary.close()
            raise

    def _read_header(self, wanted: Sequence[str], setting: str) -> tuple[Columns, str]:
        """Find the delimiter with which the header has the wanted columns; csv.Sniffer answers "m" for one column."""
        marked = self._start()
        where = f"{self._file}:{self._skipped + 1}"
        first_line = self._text.readline(MAX_CELL)
        if not first_line.strip():
            lacks = "the first line is empty" if first_line else "the file is empty"
            raise SourceFault(f"{where}: {lacks}; add a header line, then one line per customer")
        faults: list[tuple[int, str]] = []
        for delimiter in marked or ("\t" + DELIMITERS if self._file.suffix.lower() == ".tsv" else DELIMITERS):
            self._start()
            try:
                header = next(self._reader(delimiter))
                if any(normalise(cell) for cell in header):
                    # Said before any other complaint: those quote the header, and this one is a customer.
                    raise SourceFault(
                        f"{where}: the first line contains an email address, so it is not a header; add one above it"
                    )
                columns = self._columns_of(header)
                require(columns, wanted, setting)
            except ColumnFault as error:
                faults.append((first_line.count(delimiter), f"{where}: {error}"))
            except csv.Error as error:
                faults.append((first_line.count(delimiter), f"{where}: {_sentence(error)}"))
            else:
                return columns, delimiter
        # The complaint about the delimiter that the header is full of is the one that helps.
        raise SourceFault(max(faults, key=lambda fault: fault[0])[1])

    def _columns_of(self, header: list[str]) -> Columns:
        """Return the columns that have a name. Those after the last one are empty in every row that can be used.

        A first one without a name is not read: pandas writes the numbers of its rows there. Raises ColumnFault.
        """
        names = list(map(clean_name, header))
        while names and not names[-1]:
            names.pop()
        if not names:
            raise ColumnFault("the header has no names; write the names of the columns there")
        self._first = 1 if not names[0] else 0
        return Columns(names[self._first :])

    def _start(self) -> str:
        """Go to the header; give the delimiter that Excel's `sep=` line before it names, or ""."""
        self._text.seek(0)
        self._skipped = 0
        line = self._text.readline(MAX_CELL).rstrip("\r\n").lstrip("\ufeff").strip('"').lower()
        if line.startswith("sep=") and line[4:] in set(DELIMITERS):
            self._skipped = 1
            return line[4]
        self._text.seek(0)
        begin = self._text.tell()
        while self._text.read(1) == "\ufeff":  # a second byte order mark, which some exports write
            begin = self._text.tell()
        self._text.seek(begin)
        return ""

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
                raise SourceFault(
                    f"{self._file}:{number}: there is a NUL byte: the file is damaged or not text; export it again"
                )
            number += len(lines)
            self._ended = lines[-1].endswith(("\n", "\r"))
            yield lines

    def batches(self) -> Iterator[Batch]:
        """Give every row after the header. Raises SourceFault where the file is broken."""
        self._start()
        reader = self._reader(self._delimiter)
        try:
            next(reader)
            line, rows = self._csv.line_num, list(islice(reader, BATCH))
            while rows:
                yield Batch(
                    [row[self._first :] for row in rows] if self._first else rows, partial(self._line_of, rows, line)
                )
                line, rows = self._csv.line_num, list(islice(reader, BATCH))
            if not (self._ended or self._whole):
                # Half a file, or an export that writes none: nothing in it can tell.
                raise SourceFault(f"{self._file}:{self._skipped + line}: {_NOT_ENDED}")
        except csv.Error as error:
            raise SourceFault(f"{self._file}:{self._line_of_fault()}: {_sentence(error)}") from None
        except UnicodeError:
            raise self._not_text() from None
        except OSError as error:
            raise SourceFault(
                f"{self._file} cannot be read to its end: {error.strerror}; check the disk", transient=True
            ) from None

    def check_end(self) -> None:
        """Look at the file's last bytes alone. Raises SourceFault if it may be cut short."""
        descriptor = self._binary.fileno()
        end = os.pread(descriptor, 4, max(0, os.fstat(descriptor).st_size - 4)).replace(b"\0", b"")  # also of UTF-16
        if not (self._whole or end.endswith((b"\n", b"\r"))):
            raise SourceFault(f"{self._file}: {_NOT_ENDED}")

    def _line_of(self, rows: list[list[str]], before: int, index: int) -> int:
        """Give the first line of a row in a batch that comes behind `before` lines: cells may hold line ends."""
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

    def _not_csv(self, fault: SourceFault) -> SourceFault:
        """Say what the file is instead of CSV, if its first bytes tell, or else return `fault`."""
        self._binary.seek(0)
        head = self._binary.read(HEAD)
        kind, encoding = kind_of(head), unmarked_utf_16(head)
        if kind is not None:
            return SourceFault(f"{self._file}: this is {kind.name}; {kind.todo}")
        if encoding is not None and encoding != codecs.lookup(self._encoding).name:
            return SourceFault(
                f"{self._file}: this is UTF-16 without a byte order mark; export the file as UTF-8, or name its"
                f' encoding, as in customers.encoding = "{encoding}"'
            )
        return fault

    def _not_text(self) -> SourceFault:
        """Say on which line the bytes stop being text, by looking at them again."""
        where, line = f"{self._file}", b""
        if "16" not in self._encoding and "32" not in self._encoding:
            self._binary.seek(0)
            for number, line in enumerate(self._binary, 1):
                try:
                    line.decode(self._encoding)
                except UnicodeError:
                    where = f"{self._file}:{number}"
                    break
        name = self._encoding.removesuffix("-sig").upper()
        if self._marked:
            return SourceFault(f"{where}: this is not {name} text, though its byte order mark says so; export it again")
        if codecs.lookup(self._encoding).name not in ("utf-8", "utf-8-sig"):
            return SourceFault(
                f"{where}: this is not {name} text, as customers.encoding says; export the file as UTF-8 and remove"
                " that key, or correct it"
            )
        todo = f', as in customers.encoding = "{_USUAL}"' if _is_text(line, _USUAL) else " in customers.encoding"
        return SourceFault(f"{where}: this is not {name} text; export the file as UTF-8, or name its encoding{todo}")

    def share_read(self) -> float:
        """Give about how much of the file has been read, from 0 to 1."""
        return min(1.0, self._binary.tell() / max(1, os.fstat(self._binary.fileno()).st_size))

    def close(self) -> None:
        """Close the file."""
        self._binary.close()


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
