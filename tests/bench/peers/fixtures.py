"""What all servers of a comparison have in common: customers, signed requests, a certificate, and what is compiled."""

from __future__ import annotations

import base64
import hmac
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import trustme

from tests.bench.import_customers import HEADER, row
from tests.daemon import ROOT

HERE: Final = Path(__file__).parent
FOLDER: Final = ROOT / ".bench"
SECRET: Final = "correct-horse-battery-staple"
DATABASE: Final = FOLDER / "customers.db"
CERTIFICATE: Final = FOLDER / "certificate.pem"
KEY: Final = FOLDER / "key.pem"
CUSTOMERS: Final = 1_000_000
HOT: Final = 1000
"""Customers who are asked about again and again."""

_REQUESTS: Final = 20_000
# A command or file -> the Debian package that has it.
_NEEDED: Final = {
    "wrk": "wrk",
    "go": "golang-go",
    "gcc": "gcc",
    "nginx": "nginx-light",
    "taskset": "util-linux",
    "/usr/include/openssl/ssl.h": "libssl-dev",
    "/usr/include/sqlite3.h": "libsqlite3-dev",
    "/usr/share/gocode/src/github.com/mattn/go-sqlite3": "golang-github-mattn-go-sqlite3-dev",
}


def make() -> None:
    """Make what is missing in FOLDER; it is kept for the next run. Ends this if a tool is missing."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    lacking = [package for need, package in _NEEDED.items() if not shutil.which(need, path=path) and not _is_file(need)]
    if lacking:
        sys.exit(f"bench-peers needs more, as root: apt-get install --no-install-recommends {' '.join(lacking)}")
    FOLDER.mkdir(exist_ok=True)
    if not DATABASE.exists():
        _make_database(DATABASE)
    dice = random.Random(1)
    hot = dice.sample(range(CUSTOMERS), HOT)
    _write_requests("hot", (dice.choice(hot) for _ in range(_REQUESTS)))
    _write_requests("cold", dice.sample(range(CUSTOMERS), _REQUESTS))
    issued = trustme.CA(key_type=trustme.KeyType.ECDSA).issue_cert(
        "localhost", "127.0.0.1", key_type=trustme.KeyType.ECDSA
    )
    issued.private_key_pem.write_to_path(KEY)
    CERTIFICATE.write_bytes(issued.cert_chain_pems[0].bytes())
    environ = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(FOLDER / "go-cache")}
    subprocess.run(
        ["go", "build", "-tags", "libsqlite3", "-o", FOLDER / "go-peer", "."], cwd=HERE / "go", env=environ, check=True
    )
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-O2", "-o", FOLDER / "noresume.so", HERE / "noresume.c", "-ldl", "-lssl"],
        check=True,
    )


def requests_of(kind: str) -> Path:
    """Return the file of requests about customers who are "hot" or "cold"."""
    return FOLDER / f"requests-{kind}.tsv"


def first_request() -> tuple[str, bytes]:
    """Return the signature and the body of a request."""
    with requests_of("hot").open("rb") as lines:
        signature, _, body = lines.readline().rstrip(b"\n").partition(b"\t")
    return signature.decode(), body


def _is_file(need: str) -> bool:
    return need.startswith("/") and Path(need).exists()


def _make_database(file: Path) -> None:
    made = file.with_suffix(".new")
    made.unlink(missing_ok=True)
    database = sqlite3.connect(made)
    database.execute("PRAGMA journal_mode = OFF")
    database.execute(f"CREATE TABLE customers ({', '.join(f'{name} TEXT' for name in HEADER)})")
    database.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?)", map(row, range(CUSTOMERS)))
    database.execute("CREATE UNIQUE INDEX by_email ON customers (email)")
    database.commit()
    database.close()
    made.rename(file)


def _write_requests(kind: str, customers: Iterable[int]) -> None:
    """Write them for wrk, and for `sidebard replay`."""
    dice = random.Random(7)
    with requests_of(kind).open("wb") as lines, (FOLDER / f"corpus-{kind}.jsonl").open("w") as corpus:
        for number in customers:
            body = _message(number, dice.randrange(10**6))
            signature = base64.b64encode(hmac.digest(SECRET.encode(), body, "sha1"))
            lines.write(signature + b"\t" + body + b"\n")
            line = {"path": "/", "body": body.decode(), "signature": signature.decode(), "expect": 200}
            corpus.write(f"{json.dumps(line)}\n")


def _message(number: int, drawn: int) -> bytes:
    email, name, *_ = row(number)
    first, _, last = name.partition(" ")
    message = {
        "ticket": {"id": str(10**8 + drawn), "number": str(drawn), "subject": f"Question about my invoice {drawn}"},
        "customer": {
            "id": str(5 * 10**7 + number),
            "fname": first,
            "lname": last,
            "email": email,
            "emails": [email, f"alt.{number}@mail.example.org"],
        },
        "user": {"id": str(200_000 + drawn % 37), "fname": "Agent", "lname": f"Smith{drawn % 37}", "role": "owner"},
        "mailbox": {"id": str(3000 + drawn % 5), "email": f"support{drawn % 5}@helpdesk.example.com"},
    }
    return json.dumps(message, separators=(",", ":")).encode()
