"""How fast customers are fetched from PostgreSQL and imported, beside the import of the same rows from a CSV file.

python -m tests.bench.import_database [ROWS]    starts a PostgreSQL of its own; works in folders of its own under TMPDIR
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from appliance.ingest.fetch import fetch
from appliance.ingest.importer import Unchanged, import_customers
from appliance.ingest.sources.database import DatabaseTable, Query
from appliance.ingest.sources.postgres import KIND
from appliance.ingest.spec import ImportSpec
from tests.bench.import_customers import HEADER, measured, write
from tests.factory import import_spec
from tests.system.databases.postgres_server import PASSWORD, Postgres, postgres

CHANGED = "SELECT count(*), sum(xmin::text::bigint) FROM customers"


def spec_of(port: int, changed: str = "") -> ImportSpec:
    """Return what is asked of the server on this port."""
    table = KIND.parse(
        f"postgresql://reader@127.0.0.1:{port}/shop", "customers", query="SELECT * FROM customers ORDER BY last_order",
        table="customers", password=lambda: PASSWORD, tls="", ca=None, timeout=600.0, changed=changed, encoding="",
    )  # fmt: skip
    assert isinstance(table, DatabaseTable)
    assert isinstance(table.query, Query)
    return ImportSpec(source=table)


def fill(server: Postgres, file: Path) -> None:
    """Copy the file into a table."""
    columns = ", ".join(f"{name} text" for name in HEADER)
    copy = f"\\copy customers FROM '{file}' WITH (FORMAT csv, HEADER)"
    server.sql(f"CREATE TABLE customers ({columns});\n{copy}\nGRANT SELECT ON customers TO reader; ANALYZE customers;")


def measure_import(port: int, folder: Path) -> None:
    """Print the seconds of fetch and import, of a fetch that finds the same rows, and of one that is saved."""
    spec, marked = spec_of(port), spec_of(port, CHANGED)
    report = import_customers(spec, folder, clock=time.time, timer=time.perf_counter)
    assert report.fetch is not None
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"fetch {report.fetch.seconds:.1f} s, import {report.seconds:.1f} s, child at most {child:.0f} MB")
    known = import_customers(marked, folder, clock=time.time, timer=time.perf_counter).fetch
    assert known is not None
    for title, before in (("the same rows", {}), ("changed says so", known.tables)):
        began = time.perf_counter()
        try:
            import_customers(
                marked, folder, clock=time.time, timer=time.perf_counter, only_if_changed=True, known=before
            )
        except Unchanged:
            print(f"unchanged, {title}: {time.perf_counter() - began:.2f} s")


def measure_fetch(port: int, folder: Path) -> None:
    """Print the memory of a process that only fetches."""
    fetch(spec_of(port), folder)
    print(f"fetch alone: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB peak")


def main() -> None:
    """Measure, and print a line for each."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="bench-database-") as name, postgres() as server:
        folder = Path(name)
        folder.chmod(0o755)
        source = folder / "customers.csv"
        write(source, rows)
        print(f"{rows:,} rows, {source.stat().st_size / 1e6:.0f} MB of CSV", flush=True)
        fill(server, source)
        peer = folder / "peer.csv"
        began = time.perf_counter()
        server.sql(f"\\copy (SELECT * FROM customers ORDER BY last_order) TO '{peer}' WITH (FORMAT csv, HEADER)")
        index = "CREATE INDEX by_email ON customers(email)"
        lines = [".mode csv", f".import {peer} customers", index]
        subprocess.run(["sqlite3", str(folder / "peer.db"), *lines], check=True)
        print(f"psql \\copy, sqlite3 .import and index: {time.perf_counter() - began:.1f} s", flush=True)
        module = [sys.executable, "-m", "tests.bench.import_database"]
        for title, command in (
            ("import of the CSV file", [*module, "--csv", str(source), str(folder / "csv")]),
            ("fetch", [*module, "--fetch", str(server.port), str(folder)]),
            ("all from the database", [*module, "--import", str(server.port), str(folder / "state")]),
        ):
            seconds, peak = measured(command)
            print(f"{title}: {seconds:.1f} s, {peak:.0f} MB peak", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--csv"]:
        spec = import_spec(source=Path(sys.argv[2]))
        done = import_customers(spec, Path(sys.argv[3]), clock=time.time, timer=time.perf_counter)
        print(f"import {done.seconds:.1f} s")
    elif sys.argv[1:2] == ["--fetch"]:
        measure_fetch(int(sys.argv[2]), Path(sys.argv[3]))
    elif sys.argv[1:2] == ["--import"]:
        measure_import(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
