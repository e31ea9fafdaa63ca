"""Customers from a CSV or TSV file, read strictly: a file that is not quite right is refused, never guessed at."""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, TextIO

from appliance.customers.record import ColumnFault, Columns
from appliance.customers.source import SourceFault, open_regular, require

CSV_SUFFIXES: Final = frozenset({".csv", ".tsv"})
MAX_CELL: Final = 128 * 1024
DELIMITERS: Final = ",;\t|"
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
            self._encoding = _encoding(self._binary, encoding)
            self._text: TextIO = io.TextIOWrapper(self._binary, self._encoding, newline="")
            self.columns, self._delimiter = self._read_header(wanted, setting)
        except BaseException:
            self._binary.close()
            raise

    def _read_header(self, wanted: Sequence[str], setting: str) -> tuple[Columns, str]:
        """Find the delimiter with which the header has the wanted columns; csv.Sniffer answers "m" for one column."""
        marked = self._start()
        faults: list[tuple[int, str]] = []
        for delimiter in marked or ("\t" + DELIMITERS if self._file.suffix.lower() == ".tsv" else DELIMITERS):
            self._start()
            where = f"{self._file}:{self._skipped + 1}"
            header: list[str] | None = []
            try:
                header = next(self._reader(delimiter), None)
                if not header:
                    lacks = "the file is empty" if header is None else "the first line is empty"
                    raise SourceFault(f"{where}: {lacks}; write a header there, then one line a customer")
                columns = Columns(header)
                require(columns, wanted, setting)
            except UnicodeError:
                raise self._not_text() from None
            except ColumnFault as error:
                faults.append((len(header or ()), f"{where}: {error}"))
            except csv.Error as error:
                faults.append((0, f"{where}: {_sentence(error)}"))
            else:
                return columns, delimiter
        raise SourceFault(max(faults)[1])  # of the delimiter that splits the header best: its complaint helps

    def _start(self) -> str:
        """Go to the header; give the delimiter that Excel's `sep=` line before it names, or ""."""
        self._text.seek(0)
        self._skipped = 0
        try:
            line = self._text.readline(MAX_CELL)
        except UnicodeError:
            raise self._not_text() from None
        if line[:4].lower() == "sep=" and len(line.rstrip("\r\n")) == 5:
            self._skipped = 1
            return line[4]
        self._text.seek(0)
        return ""

    def _reader(self, delimiter: str) -> Iterator[list[str]]:
        csv.field_size_limit(MAX_CELL)
        self._csv = csv.reader(self._lines(), delimiter=delimiter, strict=True)
        return self._csv

    def _lines(self) -> Iterator[str]:
        self._ended = True
        line = ""
        for line in self._text:
            if "\0" in line:
                raise SourceFault(
                    f"{self._file}:{self._csv.line_num + self._skipped + 1}: there is a NUL byte;"
                    " the file is damaged, or is not text: export it again"
                )
            yield line
        self._ended = line.endswith(("\n", "\r"))

    def rows(self) -> Iterator[tuple[int, Sequence[str] | None]]:
        """Give each row after the header with the number of its first line; None for a last row that may be cut.

        Raises SourceFault where the file is broken.
        """
        self._start()
        reader = self._reader(self._delimiter)
        line = 1
        try:
            next(reader)
            line = self._csv.line_num + self._skipped + 1
            held: list[str] = []
            held_line = line
            for cells in reader:
                # One row is held back: only when the next one came is it certain that it was not the last.
                if held:
                    yield held_line, held
                held, held_line = cells, line
                line = self._csv.line_num + self._skipped + 1
            if held:
                yield held_line, held if self._ended or self._whole else None
        except csv.Error as error:
            raise SourceFault(f"{self._file}:{line}: {_sentence(error)}") from None
        except UnicodeError:
            raise self._not_text() from None
        except OSError as error:
            raise SourceFault(
                f"{self._file} cannot be read to its end: {error.strerror}; check the disk", transient=True
            ) from None

    def _not_text(self) -> SourceFault:
        """Say on which line the bytes stop being text, by looking at them again."""
        where = f"{self._file}"
        if "16" not in self._encoding and "32" not in self._encoding:
            self._binary.seek(0)
            for number, line in enumerate(self._binary, 1):
                try:
                    line.decode(self._encoding)
                except UnicodeError:
                    where = f"{self._file}:{number}"
                    break
        return SourceFault(
            f"{where}: this is not {self._encoding.removesuffix('-sig').upper()} text;"
            ' export the file as UTF-8, or name its encoding, as in customers.encoding = "cp1252"'
        )

    def share_read(self) -> float:
        """Give about how much of the file has been read, from 0 to 1."""
        return min(1.0, self._binary.tell() / max(1, os.fstat(self._binary.fileno()).st_size))

    def close(self) -> None:
        """Close the file."""
        self._binary.close()


def _encoding(binary: BinaryIO, configured: str) -> str:
    start = binary.read(4)
    binary.seek(0)
    return next((name for mark, name in _MARKS if start.startswith(mark)), configured or "utf-8")


def _sentence(error: csv.Error) -> str:
    """Say what the csv module's terse text means and what to do."""
    text = str(error)
    if "unexpected end of data" in text:
        return "a quoted field begins here and never ends; close the quote, or export the file again"
    if "field larger" in text:
        return f"a field is longer than {MAX_CELL // 1024} KiB; shorten it, or look for a missing closing quote"
    return f"this line is not CSV ({text}); write a quote inside a quoted field twice, or export the file again"
