"""A MariaDB of the tests' own, with its own folder, port and socket, and TLS by an authority of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql

from appliance.ingest.sources.mysql import DEFAULT_PORT
from tests.daemon import until
from tests.ports import free_port
from tests.system.databases.database_server import DatabaseServer

OWNER = "mysql"  # mariadbd refuses to run as root
PASSWORD = "p@ss'wörd\\"
OPTIONS = """[mariadbd]
datadir = {folder}/data
socket = {folder}/socket
pid-file = {folder}/pid
log-error = {folder}/log.err
bind-address = 127.0.0.1
port = {port}
ssl-cert = {folder}/server.pem
ssl-key = {folder}/server.key
log-warnings = 4
innodb-buffer-pool-size = 32M
innodb-log-file-size = 8M
innodb-flush-log-at-trx-commit = 0
performance-schema = off
skip-log-bin
skip-name-resolve
local-infile = on
"""
USERS = """CREATE USER reader@'%' IDENTIFIED BY '{password}';
CREATE USER writer@localhost IDENTIFIED BY 'w'; GRANT ALL ON *.* TO writer@localhost"""
PROGRAMS = f"{os.environ['PATH']}:/usr/sbin"


def program(name: str) -> str:
    found = shutil.which(name, path=PROGRAMS)
    assert found, f"no {name}; apt-get install mariadb-server"
    return found


class Session:
    """A connection of root that stays open, for transactions that do."""

    def __init__(self, file: Path) -> None:
        self._connection = pymysql.connect(unix_socket=str(file), user="root", database="shop", autocommit=True)

    def run(self, statements: str) -> None:
        """Run statements, and wait for their end."""
        for statement in statements.split(";"):
            self._connection.cursor().execute(statement)

    def close(self) -> None:
        """End it, with what it has not committed."""
        self._connection.close()


class MariaDB(DatabaseServer):
    scheme = "mysql"
    default_port = DEFAULT_PORT
    password = PASSWORD

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        return self.folder / "socket"

    def sql(self, statements: str, database: str = "shop") -> str:
        """Run as root; return what the client prints, without headers."""
        ran = subprocess.run(self.client(database), input=statements, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def client(self, database: str = "shop") -> list[str]:
        """Return a command that runs the statements of its input."""
        options = ("--no-defaults", "--batch", "--skip-column-names", "--default-character-set=utf8mb4")
        return [program("mariadb"), *options, f"--socket={self.socket}", "--user=root", database]

    def connections(self) -> int:
        """Return how many the reader has."""
        return int(self.sql("SELECT count(*) FROM information_schema.processlist WHERE user = 'reader'"))

    def refused_logins(self) -> int:
        """Return how many logins of the reader were refused since it was made."""
        return (self.folder / "log.err").read_text().count("Access denied for user 'reader'@")

    def session(self) -> Session:
        """Return a session of root that stays open."""
        return Session(self.socket)

    def start(self) -> None:
        owner = OWNER if os.geteuid() == 0 else None
        command = [program("mariadbd"), f"--defaults-file={self.folder}/my.cnf"]
        self.process = subprocess.Popen(command, user=owner, cwd="/", stderr=subprocess.DEVNULL)
        until(self._answers, "MariaDB")

    def stop(self) -> None:
        """Stop it, as an operator would."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log.err").read_text()
        ran = subprocess.run(self.client(""), input="SELECT 1", capture_output=True, text=True, check=False)
        return ran.returncode == 0


@contextmanager
def mariadb() -> Iterator[MariaDB]:
    """Run one, with an empty database `shop` and a user `reader` who may read nothing yet."""
    folder = Path(tempfile.mkdtemp(prefix="mariadb-"))
    owner = OWNER if os.geteuid() == 0 else None
    try:
        running = MariaDB(folder, free_port())
        running.write_certificate("127.0.0.1")
        (folder / "my.cnf").write_text(OPTIONS.format(folder=folder, port=running.port))
        if owner:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, owner)
        folder.chmod(0o755)
        subprocess.run(
            [program("mariadb-install-db"), f"--defaults-file={folder}/my.cnf", "--skip-test-db", "--skip-name-resolve",
             "--auth-root-authentication-method=normal"],
            user=owner, cwd="/", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        running.start()
        try:
            running.sql("CREATE DATABASE shop CHARACTER SET utf8mb4", "")
            running.sql(USERS.format(password=PASSWORD.replace("\\", "\\\\").replace("'", "''")))
            yield running
        finally:
            running.kill()
    finally:
        shutil.rmtree(folder)
