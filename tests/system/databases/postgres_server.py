"""A PostgreSQL of the tests' own, with its own folder, port and socket, SCRAM, and TLS by an authority of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from appliance.ingest.sources.postgres import DEFAULT_PORT
from tests.daemon import alive, until
from tests.ports import free_port
from tests.system.databases.database_server import DatabaseServer

OWNER = "postgres"  # initdb refuses to run as root
PASSWORD = "p@ss'word\\"
CONFIG = """
listen_addresses = '127.0.0.1, 127.0.0.2'
port = {port}
unix_socket_directories = '{folder}'
fsync = off
ssl = on
ssl_cert_file = '{folder}/server.pem'
ssl_key_file = '{folder}/server.key'
shared_buffers = 16MB
autovacuum = off
"""
PROGRAMS = "/usr/lib/postgresql"


def program(name: str) -> str:
    """Return the newest that is installed."""
    found = sorted(Path(PROGRAMS).glob(f"*/bin/{name}"), key=lambda path: float(path.parts[4]))
    assert found, f"no {PROGRAMS}/*/bin/{name}; apt-get install postgresql"
    return str(found[-1])


class Session:
    """A psql that stays open, for transactions that do."""

    def __init__(self, command: list[str]) -> None:
        self._psql = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PGPASSWORD": PASSWORD},
        )

    def run(self, statements: str) -> None:
        """Run statements, and wait for their end."""
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        self._psql.stdin.write(f"{statements};\n\\echo done\n")
        self._psql.stdin.flush()
        while self._psql.stdout.readline() != "done\n":
            assert self._psql.poll() is None

    def close(self) -> None:
        """End it, with what it has not committed."""
        assert self._psql.stdin is not None
        assert self._psql.stdout is not None
        self._psql.stdin.close()
        self._psql.wait()
        self._psql.stdout.close()


@dataclass(frozen=True)
class Postgres(DatabaseServer):
    scheme: ClassVar = "postgresql"
    default_port: ClassVar = DEFAULT_PORT
    password: ClassVar = PASSWORD

    folder: Path
    port: int

    def connections(self) -> int:
        """Return how many the service has."""
        return int(self.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sidebard'"))

    def refused_logins(self) -> int:
        """Return how many logins were refused since it was made."""
        return (self.folder / "log").read_text().count("password authentication failed")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; "immediate" is without a word to its clients."""
        _run(_owner(), "pg_ctl", "-D", self.folder / "data", "-w", "-m", mode, "stop")

    def start(self) -> None:
        """Start it, once the processes of one that was killed have ended."""

        def starts() -> bool:
            try:
                _run(_owner(), "pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-w", "start")
            except subprocess.CalledProcessError:
                return False
            return True

        until(starts, "PostgreSQL")

    def kill(self) -> None:
        """Kill the postmaster, whose children then end."""
        pid = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        until(lambda: not alive(pid), "its end")

    def session(self) -> Session:
        """Return a session of the superuser that stays open."""
        return Session(self._psql("shop"))

    def sql(self, statements: str, database: str = "shop") -> str:
        """Run as the superuser; return what psql prints, without headers."""
        ran = subprocess.run(
            self._psql(database, "-v", "ON_ERROR_STOP=1"),
            input=statements,
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def _psql(self, database: str, *more: str) -> list[str]:
        """Return a command that runs the statements of its input as the superuser."""
        where = ("-h", str(self.folder), "-p", str(self.port), "-U", "postgres")
        return ["psql", "-X", "-q", "-A", "-t", *more, *where, database]


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run one, with an empty database `shop` and a role `reader`."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    owner = _owner()
    try:
        running = Postgres(folder, free_port())
        running.write_certificate("localhost", "127.0.0.1")
        (folder / "password").write_text(PASSWORD)
        (folder / "server.key").chmod(0o600)
        if owner:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, owner)
        folder.chmod(0o755)
        data = folder / "data"
        _run(owner, "initdb", "-D", data, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={folder}/password", "-N",
             "-E", "UTF8", "--locale=C")  # fmt: skip
        (data / "postgresql.auto.conf").write_text(CONFIG.format(port=running.port, folder=folder))
        running.start()
        try:
            running.sql("CREATE DATABASE shop", "postgres")
            password = PASSWORD.replace("'", "''")
            running.sql(f"SET standard_conforming_strings = on; CREATE ROLE reader LOGIN PASSWORD '{password}'")
            yield running
        finally:
            running.stop("immediate")
    finally:
        shutil.rmtree(folder)


POOLER = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 1
logfile = {folder}/pgbouncer.log
"""


@contextmanager
def pgbouncer(behind: Postgres) -> Iterator[int]:
    """Run a PgBouncer in transaction mode, with one connection to the server; return its port."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "no pgbouncer; apt-get install pgbouncer"
    port = free_port()
    config, users = behind.folder / "pgbouncer.ini", behind.folder / "users"
    config.write_text(POOLER.format(server=behind.port, port=port, folder=behind.folder))
    users.write_text(f'"reader" "{PASSWORD}"')
    owner = _owner()
    process = subprocess.Popen([found, "-q", str(config)], user=owner, cwd="/", stderr=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port), "PgBouncer")
        yield port
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _owner() -> str | None:
    return OWNER if os.geteuid() == 0 else None


def _run(owner: str | None, name: str, *arguments: object) -> None:
    subprocess.run(
        [program(name), *map(str, arguments)], user=owner, cwd="/", check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "LANG": "C"},
    )  # fmt: skip
