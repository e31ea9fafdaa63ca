"""Files that are no CSV are called what they are, in whatever encoding they were to be read."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from appliance.ingest.sources.file_kinds import KINDS
from appliance.ingest.spec import ImportRefused, ImportSpec
from tests.factory import import_spec, related_spec, run_import, write_csv

CSV = b"email,name\nann@example.com,Ann\n"
NOT_MARKED = 'this is UTF-16 without a byte order mark; export the file as UTF-8, or name its encoding, as in {}"{}"'


def archive(*names: str, stored: str = "") -> bytes:
    """Return a ZIP archive with these entries, each with something in it."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        if stored:
            file.writestr("mimetype", stored, zipfile.ZIP_STORED)
        for name in names:
            file.writestr(name, "content " * 20)
    return made.getvalue()


def database() -> bytes:
    with closing(sqlite3.connect(":memory:")) as made, made:
        made.execute("CREATE TABLE customers(email)")
        content = made.serialize()
    made.close()
    return content


EXAMPLES: list[tuple[str, bytes, str]] = [
    ("xlsx of Excel", archive("[Content_Types].xml", "_rels/.rels", "xl/workbook.xml"), "an Excel workbook (.xlsx)"),
    ("xlsx of openpyxl", archive("docProps/app.xml", "xl/theme/theme1.xml"), "an Excel workbook (.xlsx)"),
    ("xlsx of XlsxWriter", archive("xl/worksheets/sheet1.xml"), "an Excel workbook (.xlsx)"),
    (
        "ods",
        archive("content.xml", stored="application/vnd.oasis.opendocument.spreadsheet"),
        "a LibreOffice spreadsheet (.ods)",
    ),
    ("Numbers", archive("Index/Document.iwa", "preview.jpg"), "an Apple Numbers document"),
    ("zip", archive("customers.csv"), "a ZIP archive, as Excel workbooks are"),
    ("empty zip", archive(), "a ZIP archive, as Excel workbooks are"),
    ("xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "an old Excel workbook (.xls), or one with a password"),
    ("gzip", gzip.compress(CSV), "compressed with gzip"),
    ("bzip2", bz2.compress(CSV), "compressed with bzip2"),
    ("empty bzip2", bz2.compress(b""), "compressed with bzip2"),
    ("xz", lzma.compress(CSV), "compressed with xz"),
    ("zstd", b"\x28\xb5\x2f\xfd\x04\x58" + CSV, "compressed with zstd"),
    ("lz4", b"\x04\x22\x4d\x18\x64\x40" + CSV, "compressed with LZ4"),
    ("7z", b"7z\xbc\xaf\x27\x1c\0\4", "a 7-Zip archive"),
    ("rar", b"Rar!\x1a\x07\x01\0", "a RAR archive"),
    ("parquet", b"PAR1\x15\x04\x15", "a Parquet file"),
    ("pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF document"),
    ("rtf", rb"{\rtf1\ansi email,name}", "an RTF document"),
    ("png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "a picture"),
    ("jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF", "a picture"),
    ("gif", b"GIF89a\1\0\1\0", "a picture"),
    ("webp", b"RIFF\x24\0\0\0WEBPVP8 ", "a picture"),
    ("bmp", b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0", "a picture"),
    ("sqlite", database(), "an SQLite database"),
    ("html", b"<!DOCTYPE html>\n<html><title>Log in</title>\n", "an HTML page, perhaps a log-in or error page"),
    ("html, lower case and spaces", b"\n  <html lang=en>\n", "an HTML page, perhaps a log-in or error page"),
    ("html after a mark", b"\xef\xbb\xbf<HTML>\n", "an HTML page, perhaps a log-in or error page"),
    ("html comment", b"<!-- error -->\n", "an HTML page, perhaps a log-in or error page"),
    ("table named .xls", b"<table><tr><td>email</td></tr>\n", "an HTML page, perhaps a log-in or error page"),
    ("html in UTF-16", "<html>\n".encode("utf-16"), "an HTML page, perhaps a log-in or error page"),
    ("xml", b'<?xml version="1.0"?>\n<customers>\n', "XML"),
    ("xml without a prologue", b'<customers count="1">\n', "XML"),
    ("xml without attributes", b"<customers>\n  <customer>\n", "XML"),
    ("json list", json.dumps([{"email": "ann@example.com"}]).encode(), "JSON"),
    ("json object", json.dumps({"email": "ann@example.com"}, indent=2).encode(), "JSON"),
    ("json lines", b'{"email":"ann@example.com"}\n{"email":"bob@example.com"}\n', "JSON"),
    ("json in UTF-16", '{"email": 1}'.encode("utf-16-le"), "JSON"),
]  # fmt: skip


def refusal(spec: ImportSpec, folder: Path) -> str:
    with pytest.raises(ImportRefused) as caught:
        run_import(spec, folder / "state")
    return str(caught.value).replace(f"{folder}/", "")


@pytest.mark.parametrize("encoding", ["", "utf-8", "cp1252", "latin-1", "ascii", "utf-16", "utf-16-le"])
@pytest.mark.parametrize(("content", "name"), [pytest.param(*case[1:], id=case[0]) for case in EXAMPLES])
def test_a_file_is_called_what_it_is(content: bytes, name: str, encoding: str, tmp_path: Path) -> None:
    (kind,) = (kind for kind in KINDS if kind.name == name)
    (tmp_path / "c.csv").write_bytes(content)
    said = refusal(import_spec(source=tmp_path / "c.csv", encoding=encoding), tmp_path)
    assert said == f"c.csv: this is {name}; {kind.todo}"


@pytest.mark.parametrize(
    ("content", "name"), [pytest.param(*case[1:], id=case[0]) for case in EXAMPLES if case[0] != "sqlite"]
)
def test_also_if_it_is_to_be_a_database(content: bytes, name: str, tmp_path: Path) -> None:
    (tmp_path / "c.db").write_bytes(content)
    assert refusal(import_spec(source=tmp_path / "c.db"), tmp_path).startswith(f"c.db: this is {name}; ")


@pytest.mark.parametrize("file", ["o.csv", "o.tsv", "o.db"])
def test_also_of_related_rows(file: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(gzip.compress(CSV))
    related = related_spec(name="orders", source=tmp_path / file, table="orders", key="email", on="email")
    spec = import_spec(source=write_csv(tmp_path / "c.csv"), related=(related,))
    assert refusal(spec, tmp_path) == f"{file}: this is compressed with gzip; unpack it, and use the file inside"


def test_every_kind_has_an_example() -> None:
    assert {name for _id, _content, name in EXAMPLES} == {kind.name for kind in KINDS}


def test_every_kind_is_in_the_docs() -> None:
    text = " ".join((Path(__file__).parents[2] / "docs" / "customers.md").read_text("utf-8").split())
    assert [kind.name for kind in KINDS if f"| {kind.name} | {kind.todo} |" not in text] == []


@pytest.mark.parametrize(
    "header", ["PK", "BM", "GIF", "{id}", "[id]", "<id>", "PAR", "%PDF", "BZh1", "7z", "Rar!", "PAR1", "GIF89a", '"{"']
)
def test_a_good_file_is_never_mistaken(header: str, tmp_path: Path) -> None:
    """However odd its first column is called: what can be read is not looked at."""
    (tmp_path / "c.csv").write_text(f"{header},email\n1,ann@example.com\n")
    assert run_import(import_spec(source=tmp_path / "c.csv"), tmp_path / "state").rows == 1


@pytest.mark.parametrize("header", ["PK,mail", "[id],[email]", "{id},{email}", "<none>,mail", "BM,mail", "id|mail"])
def test_a_header_without_the_column_is_told_as_that(header: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(f"{header}\n1,2\n")
    assert 'there is no column "email"' in refusal(import_spec(source=tmp_path / "c.csv"), tmp_path)


# Encodings


@pytest.mark.parametrize("name", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark(name: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes("email,name\nann@example.com,Ann\n".encode(name))
    other = {"utf-16-le": "utf-16-be", "utf-16-be": "utf-16-le"}[name]
    for encoding in ("", "utf-8", "cp1252", "latin-1", "utf-16", other):
        said = refusal(import_spec(source=tmp_path / "c.csv", encoding=encoding), tmp_path)
        assert said == f"c.csv: {NOT_MARKED.format('customers.encoding = ', name)}"
    assert run_import(import_spec(source=tmp_path / "c.csv", encoding=name), tmp_path / "state").rows == 1
    assert 'no column "mail"' in refusal(
        import_spec(source=tmp_path / "c.csv", encoding=name.upper(), addresses=("mail",)), tmp_path
    )


BYTES: dict[str, bytes] = {
    "cp1252": b"email,name\nann@example.com,J\xfcrgen\n",
    "not cp1252 either": b"email,name\nann@example.com,\x81\x8d\n",
    "cut": b"email,name\nann@example.com,J\xc3",
    "UTF-16, cut": "email,name\n".encode("utf-16") + b"a",
    "UTF-8 by its mark": b"\xef\xbb\xbfemail,name\nann@example.com,J\xfcrgen\n",
    "picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "random": bytes(range(128, 256)) * 4,
}
ENCODINGS = ("", "utf-8", "ascii", "cp1252", "cp1250", "shift_jis", "utf-16", "utf-16-le", "utf-7", "gb18030")


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("content", BYTES.values(), ids=BYTES)
def test_no_advice_names_an_encoding_that_fails(content: bytes, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(content)
    try:
        run_import(import_spec(source=tmp_path / "c.csv", encoding=encoding), tmp_path / "state")
    except ImportRefused as refused:
        said = str(refused)
    else:
        return  # it is text in that encoding
    for advised in re.findall(r'customers\.encoding = "([^"]+)"', said):
        assert advised != encoding
        content.decode(advised)


@pytest.mark.parametrize(
    ("content", "encoding", "sentence"),
    [
        ("cp1252", "", ":2: this is not UTF-8 text; export the file as UTF-8, or name its encoding, as in customers."),
        ("not cp1252 either", "", ":2: this is not UTF-8 text; export the file as UTF-8, or name its encoding in "),
        ("not cp1252 either", "cp1252", ":2: this is not CP1252 text, as customers.encoding says; export the file as"),
        ("UTF-8 by its mark", "cp1252", ":2: this is not UTF-8 text, though its byte order mark says so; export it"),
    ],
)
def test_what_is_said_of_an_encoding(content: str, encoding: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(BYTES[content])
    assert f"c.csv{sentence}" in refusal(import_spec(source=tmp_path / "c.csv", encoding=encoding), tmp_path)
