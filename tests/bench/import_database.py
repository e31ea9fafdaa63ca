"""How fast customers are fetched from a database and imported, beside the import of the same rows from a CSV file.

python -m tests.bench.import_database [ROWS]    starts databases of its own; works in folders of its own under TMPDIR
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
from appliance.ingest.sources import kind_of
from appliance.ingest.spec import ImportSpec
from tests.bench.import_customers import HEADER, measured, write
from tests.factory import import_spec
from tests.system.databases.mariadb_server import MariaDB, mariadb
from tests.system.databases.postgres_server import Postgres, postgres

CHANGED = {
    "postgresql": "SELECT count(*), sum(xmin::text::bigint) FROM customers",
    "mysql": f"SELECT count(*), sum(crc32(concat_ws(',', {', '.join(HEADER)}))) FROM customers",
}


def spec_of(address: str, password: str, *, is_marked: bool = False) -> ImportSpec:
    """Return what is asked of the server at this address."""
    kind = kind_of(address)
    given = {
        "query": "SELECT * FROM customers ORDER BY last_order",
        "table": "",
        "password": lambda: password,
        "tls": "",
        "ca": None,
        "timeout": 600.0,
        "changed": CHANGED[kind.schemes[0]] if is_marked else "",
        "encoding": "",
    }
    return ImportSpec(source=kind.parse(address, "customers", **{key: given[key] for key in kind.keys}))


def fill_postgres(server: Postgres, file: Path) -> None:
    """Copy the file into a table."""
    columns = ", ".join(f"{name} text" for name in HEADER)
    copy = f"\\copy customers FROM '{file}' WITH (FORMAT csv, HEADER)"
    server.sql(f"CREATE TABLE customers ({columns});\n{copy}\nGRANT SELECT ON customers TO reader; ANALYZE customers;")


def fill_mariadb(server: MariaDB, file: Path) -> None:
    """Copy the file into a table."""
    columns = ", ".join(f"{name} varchar(100)" for name in HEADER)
    server.sql(
        f"""CREATE TABLE customers ({columns}); GRANT SELECT ON shop.* TO reader@'%';
        LOAD DATA LOCAL INFILE '{file}' INTO TABLE customers FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '"'
        LINES TERMINATED BY '\\r\\n' IGNORE 1 LINES; ANALYZE TABLE customers"""
    )


def measure_import(address: str, password: str, folder: Path) -> None:
    """Print the seconds of fetch and import, of a fetch that finds the same rows, and of one that is saved."""
    spec, marked = spec_of(address, password), spec_of(address, password, is_marked=True)
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


def measure_fetch(address: str, password: str, folder: Path) -> None:
    """Print the memory of a process that only fetches."""
    fetch(spec_of(address, password), folder)
    print(f"fetch alone: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} MB peak")


def run(title: str, *arguments: object) -> None:
    """Run a measurement in a process of its own, and print what it took."""
    seconds, peak = measured([sys.executable, "-m", "tests.bench.import_database", *map(str, arguments)])
    print(f"{title}: {seconds:.1f} s, {peak:.0f} MB peak", flush=True)


def main() -> None:
    """Measure, and print a line for each."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(prefix="bench-database-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        source = folder / "customers.csv"
        write(source, rows)
        print(f"{rows:,} rows, {source.stat().st_size / 1e6:.0f} MB of CSV", flush=True)
        run("import of the CSV file", "--csv", source, folder / "csv")
        with postgres() as server:
            fill_postgres(server, source)
            peer = folder / "peer.csv"
            began = time.perf_counter()
            server.sql(f"\\copy (SELECT * FROM customers ORDER BY last_order) TO '{peer}' WITH (FORMAT csv, HEADER)")
            index = "CREATE INDEX by_email ON customers(email)"
            lines = [".mode csv", f".import {peer} customers", index]
            subprocess.run(["sqlite3", str(folder / "peer.db"), *lines], check=True)
            print(f"psql \\copy, sqlite3 .import and index: {time.perf_counter() - began:.1f} s", flush=True)
            run("PostgreSQL, fetch", "--fetch", server.address, server.password, folder)
            run("PostgreSQL, all", "--import", server.address, server.password, folder / "postgres")
        with mariadb() as other:
            fill_mariadb(other, source)
            run("MariaDB, fetch", "--fetch", other.address, other.password, folder)
            run("MariaDB, all", "--import", other.address, other.password, folder / "mariadb")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--csv"]:
        spec = import_spec(source=Path(sys.argv[2]))
        done = import_customers(spec, Path(sys.argv[3]), clock=time.time, timer=time.perf_counter)
        print(f"import {done.seconds:.1f} s")
    elif sys.argv[1:2] == ["--fetch"]:
        measure_fetch(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    elif sys.argv[1:2] == ["--import"]:
        measure_import(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    else:
        main()
