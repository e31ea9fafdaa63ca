"""CSV files that are refused, each with the sentence that says why, where, and what to do."""

import os
import sqlite3

import pytest

GOOD = b"email,name\nann@example.com,Ann\nbob@example.com,Bob\n"


ORDERS = {"name": "orders", "table": "orders", "key": "customer", "on": "id", "order_by": "-date"}


def csv_case(name, content, sentence, file="c.csv", **spec):
    return pytest.param(file, content, spec, sentence, id=name)


def damaged(offset, content, size=40_000):
    """A database of some pages with something else at `offset`."""

    def write(file):
        database = sqlite3.connect(file)
        database.execute("CREATE TABLE customers(email TEXT, name TEXT)")
        database.executemany(
            "INSERT INTO customers VALUES(?, ?)", ((f"user{n}@example.com", f"Name {n}") for n in range(1000))
        )
        database.commit()
        database.close()
        with open(file, "r+b") as binary:
            if content is None:
                binary.truncate(offset)
            else:
                binary.seek(offset)
                binary.write(content)

    return write


def folder(file):
    file.mkdir()


def pipe(file):
    os.mkfifo(file)


def nothing(file):
    pass


def dangling(file):
    file.symlink_to("nowhere")


def loop(file):
    file.symlink_to(file)


TABLE = "CREATE TABLE customers(email TEXT, name TEXT)"


NOT_UTF8 = 'this is not UTF-8 text; export the file as UTF-8, or name its encoding, as in customers.encoding = "cp1252"'


CUT = (
    "the last line has no line end, so the file may be cut short; end it with one, or set customers.ready_file or"
    ' customers.checksum_file; if the program that writes it always leaves it out, set unterminated_last_line = "accept" in [customers]'
)


ELSE_WHOLE = CUT.replace("; if", "; everything else is complete; if")


HALF = (
    "the last line has no line end and fewer cells than the header has names, so the file is cut short; export it again,"
    " or add the rest"
)


BAD_ROWS = "{} of {} rows are bad, more than customers.max_bad_rows allows (1%); mend them, the first is c.csv:{}"


CSV_FILES = [
    # There is no file, or none that could hold customers
    csv_case("missing", nothing, "c.csv does not exist; put the file there, or correct its name in the config"),
    csv_case("folder", folder, "c.csv is not a regular file; name a customers file"),
    csv_case("pipe", pipe, "c.csv is not a regular file; name a customers file"),
    csv_case(
        "link to nowhere", dangling, "c.csv does not exist; put the file there, or correct its name in the config"
    ),
    csv_case(
        "link to itself",
        loop,
        "c.csv cannot be opened: Too many levels of symbolic links; correct the file, or its name in the config",
    ),
    csv_case("empty", b"", "c.csv:1: the file is empty; add a header line, then one line per customer"),
    csv_case(
        "only a mark", b"\xef\xbb\xbf", "c.csv:1: the file is empty; add a header line, then one line per customer"
    ),
    csv_case(
        "empty line first",
        b"\n" + GOOD,
        "c.csv:1: the first line is empty; add a header line, then one line per customer; line 2 has the column"
        ' "email": set customers.skip_lines = 1',
    ),
    csv_case("only sep=", b"sep=;\r\n", "c.csv:2: the file is empty; add a header line, then one line per customer"),
    csv_case("only a header", b"email,name\n", "c.csv contains no customers; export it again"),
    csv_case("header and empty lines", b"email,name\n\n,\n\r\n", "c.csv contains no customers; export it again"),
    # The header
    csv_case(
        "no address column",
        b"e-mail,name\nann@example.com,Ann\n",
        'c.csv:1: there is no column "email", only "e-mail", "name"; correct customers.addresses, or the header',
    ),
    csv_case(
        "one of two address columns",
        GOOD,
        'c.csv:1: there is no column "other", only "email", "name"; correct customers.addresses, or the header',
        addresses=("email", "other"),
    ),
    csv_case(
        "no header at all",
        b"ann@example.com,Ann\nbob@example.com,Bob\n",
        "c.csv:1: the first line contains an email address, so it is not a header; add one above it",
    ),
    csv_case(
        "another delimiter",
        b"email:name\nann@example.com:Ann\n",
        'c.csv:1: there is no column "email", only "email:name"; correct customers.addresses, or the header',
    ),
    csv_case(
        "sep= names another",
        b"sep=;\nemail,name\nann@example.com,Ann\n",
        'c.csv:2: there is no column "email", only "email,name"; correct customers.addresses, or the header',
    ),
    csv_case(
        "a name twice",
        b"email,name,Email\n",
        'c.csv:1: the header has "Email" twice, as columns 1 and 3; rename one of them',
    ),
    csv_case(
        "a name twice, spaced",
        b"email,name, name \n",
        'c.csv:1: the header has "name" twice, as columns 2 and 3; rename one of them',
    ),
    csv_case(
        "one attribute twice",
        b"email,last order,last-order\n",
        'c.csv:1: columns "last order" and "last-order" would both be "last_order" in a card; rename one of them',
    ),
    csv_case("no name", b"email,,name\n", "c.csv:1: column 2 of the header has no name; name it or remove it"),
    csv_case("no name at all", b",,\n", "c.csv:1: the header has no names; write the names of the columns there"),
    csv_case(
        "a look-alike of another alphabet",
        "еmail,name\nann@example.com,Ann\n".encode(),
        'c.csv:1: there is no column "email", only "еmail" (U+0435), "name"; correct customers.addresses, or the header',
    ),
    csv_case(
        "full-width letters",
        "ｅｍａｉｌ,name\nann@example.com,Ann\n".encode(),
        'c.csv:1: there is no column "email", only "ｅｍａｉｌ" (U+FF45, U+FF4D, U+FF41, U+FF49, U+FF4C), "name"; correct'
        " customers.addresses, or the header",
    ),
    csv_case(
        "header never closed",
        b'email,"name\nann@example.com,Ann\n',
        "c.csv:1: a quoted field begins here and never ends; close the quote, or export the file again",
    ),
    # Not text
    csv_case("cp1252", b"email,name\nann@example.com,J\xfcrgen\n", f"c.csv:2: {NOT_UTF8}"),
    csv_case("cp1252 header", b"email,gr\xf6\xdfe\nann@example.com,1\n", f"c.csv:1: {NOT_UTF8}"),
    csv_case("cp1252 late", GOOD * 5000 + b"x@example.com,\xe9\n", f"c.csv:15001: {NOT_UTF8}"),
    csv_case("cut inside a character", b"email,name\nann@example.com,J\xc3", f"c.csv:2: {NOT_UTF8}"),
    csv_case("overlong UTF-8", b"email,name\nann@example.com,\xc0\xaf\n", f"c.csv:2: {NOT_UTF8}"),
    csv_case("surrogate in UTF-8", b"email,name\nann@example.com,\xed\xa0\x80\n", f"c.csv:2: {NOT_UTF8}"),
    csv_case("a picture", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "c.csv: this is a picture; use the customers file"),
    csv_case(
        "a zip, as .xlsx are",
        b"PK\x03\x04\x14\x00\x06\x00\x08\x00",
        "c.csv: this is a ZIP archive, as Excel workbooks are; unpack it, or if a program opens it,"
        ' save it as "CSV UTF-8" and use that file',
    ),
    csv_case(
        "UTF-16 without a mark",
        "email\n".encode("utf-16-le"),
        "c.csv: this is UTF-16 without a byte order mark; export the file as UTF-8, or name its encoding, as in"
        ' customers.encoding = "utf-16-le"',
    ),
    csv_case(
        "UTF-16 cut",
        "email,name\n".encode("utf-16") + b"a",
        "c.csv: this is not UTF-16 text, though its byte order mark says so; export it again",
    ),
    csv_case(
        "not the encoding given",
        "email,name\n€\n".encode(),
        "c.csv:2: this is not ASCII text, as customers.encoding says; export the file as UTF-8 and remove that key, or"
        " correct it",
        encoding="ascii",
    ),
    csv_case(
        "NUL in a row",
        GOOD + b"x@example.com,a\0b\n",
        "c.csv:4: there is a NUL byte: the file is damaged or not text; export it again",
    ),
    csv_case(
        "NULs at the end, as a crash leaves",
        GOOD + b"\0" * 512,
        "c.csv:4: there is a NUL byte: the file is damaged or not text; export it again",
    ),
    # Not CSV
    csv_case(
        "quote never closed",
        GOOD + b'x@example.com,"X\n' + GOOD,
        "c.csv:4: a quoted field begins here and never ends; close the quote, or export the file again",
    ),
    csv_case(
        "quote never closed, last",
        GOOD + b'x@example.com,"X',
        "c.csv:4: a quoted field begins here and never ends; close the quote, or export the file again",
    ),
    csv_case(
        "text behind a quote",
        GOOD + b'x@example.com,"X"y\n',
        "c.csv:4: this line is not CSV (',' expected after '\"'); write a quote inside a quoted field twice, or export the file again",
    ),
    csv_case(
        "backslash before a quote",
        GOOD + b'x@example.com,"a \\"b\\" c"\n',
        "c.csv:4: this line is not CSV (',' expected after '\"'); write a quote inside a quoted field twice, or export the file again",
    ),
    csv_case(
        "after an empty cell of two lines beyond the header",
        GOOD + b'x@example.com,X,"\n"\nnobody,N\n',
        BAD_ROWS.format(1, 4, '6: "email" contains a value that is not an email address'),
    ),
    csv_case(
        "after a row of two lines",
        GOOD + b'x@example.com,"1\n2"\ny@example.com,"Y"y\n',
        "c.csv:6: this line is not CSV (',' expected after '\"'); write a quote inside a quoted field twice, or export the file again",
    ),
    csv_case(
        "a field of 129 KiB",
        GOOD + b"x@example.com," + b"x" * 132_000 + b"\n",
        "c.csv:4: a field is longer than 128 KiB; shorten it, or look for a missing closing quote",
    ),
    csv_case(
        "one line of 1 MB",
        b"x" * 1_000_000,
        "c.csv:1: a field is longer than 128 KiB; shorten it, or look for a missing closing quote",
    ),
    # Bad rows
    csv_case(
        "a cell too few",
        b"email,name\nann@example.com\nbob@example.com,Bob\n",
        BAD_ROWS.format(1, 2, "2: 1 cells, but the header has 2 names; add the rest"),
    ),
    csv_case(
        "a cell too many",
        b"email,name\nann@example.com,Lee, Ann\n",
        BAD_ROWS.format(
            1,
            1,
            "2: 3 cells, but the header has 2 names; name the other columns there, or quote a cell that contains a delimiter",
        ),
    ),
    csv_case(
        "no address",
        GOOD + b"none,Bob\n",
        BAD_ROWS.format(1, 3, '4: "email" contains a value that is not an email address'),
    ),
    csv_case(
        "two ats",
        GOOD + b"a@b@example.com,Bob\n",
        BAD_ROWS.format(1, 3, '4: "email" contains a value that is not an email address'),
    ),
    csv_case(
        "no address in two columns",
        b"a,b\nx,y\n",
        BAD_ROWS.format(1, 1, '2: "a" or "b" contains a value that is not an email address'),
        addresses=("a", "b"),
    ),
    csv_case("no line end", b"email,name\nann@example.com,Ann", f"c.csv:2: {ELSE_WHOLE}"),
    csv_case("no line end after a quote", GOOD + b'x@example.com,"X\nY"', f"c.csv:5: {ELSE_WHOLE}"),
    csv_case("no line end after an empty cell", GOOD + b"x@example.com,", f"c.csv:4: {ELSE_WHOLE}"),
    csv_case("no line end after a cell too many", GOOD + b"x@example.com,,", f"c.csv:4: {ELSE_WHOLE}"),
    csv_case("a header alone, without a line end", b"email,name", f"c.csv:1: {CUT}"),
    csv_case("no line end, and bad rows", b"email,name\nx,y\nann@example.com,Ann", f"c.csv:3: {CUT}"),
    csv_case("cut within a row", GOOD[:-10], f"c.csv:3: {CUT}"),
    csv_case("cut within an address", GOOD[:-14], f"c.csv:3: {CUT}"),
    csv_case(
        "cut within a row, accepted all the same",
        GOOD[:-10],
        f"c.csv:3: {HALF}",
        unterminated_last_line="accept",
    ),
    csv_case(
        "cut within quotes, accepted all the same",
        GOOD + b'x@example.com,"X',
        "c.csv:4: a quoted field begins here and never ends; close the quote, or export the file again",
        unterminated_last_line="accept",
    ),
    csv_case(
        "a header alone, accepted without a line end",
        b"email,name",
        "c.csv contains no customers; export it again",
        unterminated_last_line="accept",
    ),
    csv_case(
        "related rows without a line end",
        b"id,email\n1,ann@example.com\n",
        f"o.csv:2: {ELSE_WHOLE}",
        related={**ORDERS, "file": "o.csv"},
        others={"o.csv": b"customer,date\n1,2026"},
    ),
    csv_case(
        "both files without a line end",
        b"id,email\n1,ann@example.com",
        f"c.csv:2: {ELSE_WHOLE}",
        related={**ORDERS, "file": "o.csv"},
        others={"o.csv": b"customer,date\n1,2026"},
    ),
    csv_case(
        "related rows cut, accepted all the same",
        b"id,email\n1,ann@example.com\n",
        f"o.csv:2: {HALF}",
        related={**ORDERS, "file": "o.csv"},
        others={"o.csv": b"customer,date\n1"},
        unterminated_last_line="accept",
    ),
    csv_case(
        "a row of two lines before it",
        b'email,name\na@example.com,"1\n2"\nx,y\n',
        BAD_ROWS.format(1, 2, '4: "email" contains a value that is not an email address'),
    ),
    csv_case(
        "under an allowed share",
        b"email,name\n" + b"x,y\n" * 3 + b"a@example.com,A\n" * 2,
        BAD_ROWS.format(3, 5, '2: "email" contains a value that is not an email address').replace("1%", "50%"),
        max_bad_rows=0.5,
    ),
    csv_case(
        "nothing but bad rows, all allowed",
        b"email,name\nx,y\n",
        "c.csv contains no customers; export it again",
        max_bad_rows=1.0,
    ),
    # Related files
    csv_case(
        "related missing",
        b"id,email\n1,ann@example.com\n",
        "orders.csv does not exist; put the file there, or correct its name in the config",
        related=ORDERS,
    ),
    csv_case(
        "nothing to join on",
        GOOD,
        'c.csv: there is no column "id", only "email", "name"; correct related.orders.on, or the header',
        related=ORDERS,
    ),
    csv_case(
        "a column of the table's name",
        b"id,email,Orders\n1,ann@example.com,3\n",
        'c.csv: "orders" is a column and a related table too; rename the table [related.orders]',
        related=ORDERS,
    ),
    # The operator's own marks
    csv_case(
        "no ready file",
        GOOD,
        "c.ok is not there yet; write it when the export is complete (customers.ready_file)",
        ready_file="c.ok",
    ),
    csv_case(
        "no checksum file",
        GOOD,
        "c.sum does not exist; put the file there, or correct its name in the config",
        checksum_file="c.sum",
    ),
]
