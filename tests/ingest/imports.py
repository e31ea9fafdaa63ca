"""What several tests of imports do."""

import os
import sqlite3
from contextlib import closing

from tests.factory import CUSTOMERS, open_snapshot, write_csv


def names(folder, spec, *addresses):
    """Give the names of the customers that are found by each address."""
    snapshot = open_snapshot(folder, spec)
    found = [record.name for record in snapshot.find(addresses)]
    snapshot.close()
    return found


def write(spec, rows):
    write_csv(spec.source.path, rows)
    return spec


def make_database(file, rows=CUSTOMERS, *more):
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE customers(email, name, plan)")
        database.executemany("INSERT INTO customers VALUES(?, ?, ?)", rows[1:])
        for statement in more:
            database.execute(statement)
    database.close()
    return file


def in_child(function):
    """Run a function in a forked child; give how the child ended."""
    child = os.fork()
    if child == 0:
        try:
            function()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
