"""How long the system tests are."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import TABLE
from tests.system.load import TooSlow

# What it is: (in CI, with --long).
LENGTHS = {
    "attack_seconds": (5, 20),  # with more attackers than descriptors
    "kills": (5, 20),
    "id_kills": (6, 50),  # of the steward and of workers in turn, under a stream of webhooks
    "reloads": (5, 20),
    "swaps": (5, 20),
    "stuck_after": (2, 15),  # seconds without a sign of life; 15 is what the service is shipped with
    "timeout": (2, 10),  # for handshakes, headers and bodies, between requests, and to take an answer
    "pipeline_seconds": (1.5, 10),  # of each kind of pipelined requests, from each number of connections
    "flood_seconds": (2, 10),  # of KeyUpdates
    "mixed_seconds": (6, 600),  # of streams of all kinds
    "crowds": (2, 6),  # of clients that send a byte a second, one after the other
    "waves": (2, 4),  # of silent and slow connections, one after the other
    "silent": (1000, 1000),
    "idle": (300, 1500),
    "capacity": (200, 1000),  # of the service that the idle ones fill
    "slow": (200, 900),
    "never_read": (20, 100),
    "faults": (200, 500),  # of each kind
    "database_cuts": (60, 1000),  # of connections to a database, at random bytes
    "stall": (0.5, 5),  # seconds in which a peer does not go on
    "load_seconds": (20, 600),  # of new connections
    "busy_seconds": (3, 20),  # of requests on kept connections
    "replay_seconds": (8, 600),  # of 0.6 of what a worker can do
    "overload_seconds": (4, 60),  # of twice that, then of half of it
    "handshake_seconds": (4, 60),  # of connections for one request each
    "soak_seconds": (10, 1800),  # of 0.3 of it
    "refresh_seconds": (3, 30),  # between two customers files meanwhile
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("system")


ATTEMPTS = 3


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[None]:
    """Repeat a test that found something too slow, which may have been this machine's fault, and show that it was.

    At full length the machine is to be idle, and the first attempt counts.
    """
    attempts = 1 if pyfuncitem.config.getoption("--long") else ATTEMPTS
    test: Callable[..., None] = pyfuncitem.obj

    def repeated(**fixtures: Any) -> None:
        for attempt in itertools.count(1):
            try:
                test(**fixtures)
            except TooSlow as error:
                if attempt == attempts:
                    raise
                row = (f"{pyfuncitem.name}, attempt {attempt}", str(error))
                pyfuncitem.config.stash[TABLE].append(row)  # to be seen, though the test may pass
            else:
                return
            if "tmp_path" in fixtures:
                fixtures["tmp_path"] = fixtures["tmp_path"] / "again"
                fixtures["tmp_path"].mkdir()

    pyfuncitem.obj = repeated
    yield


@pytest.fixture(scope="session")
def length(request: pytest.FixtureRequest) -> SimpleNamespace:
    """Return the column of LENGTHS that is wanted."""
    column = int(request.config.getoption("--long"))
    return SimpleNamespace(**{name: both[column] for name, both in LENGTHS.items()})
