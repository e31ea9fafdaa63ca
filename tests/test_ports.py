"""Ports of the tests' own, in several processes at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon import ROOT
from tests.ports import BLOCKS, free_port

LINUX_GIVES_AWAY = range(32_768, 61_000)  # unless it is told otherwise
PROCESSES = 8
EACH = BLOCKS.step - 1  # a whole block
PROGRAM = """
from tests.ports import free_port
print(*(free_port() for _ in range({calls})), flush=True)
input()  # the block is its own until it ends
"""


def ports_of_processes(count: int, calls: int) -> list[list[int]]:
    """Return what so many processes at once get; nothing uses any of their ports."""
    command = [sys.executable, "-S", "-c", PROGRAM.format(calls=calls)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    try:
        return [[int(port) for port in process.stdout.readline().split()] for process in processes]
    finally:
        for process in processes:
            process.communicate("\n", timeout=20)


def test_processes_never_get_the_same_port():
    ports = [port for each in ports_of_processes(PROCESSES, EACH) for port in each]
    assert len(set(ports)) == len(ports) == PROCESSES * EACH


def test_no_port_is_one_that_the_kernel_gives_away():
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if lowest < LINUX_GIVES_AWAY.start:
        pytest.skip(f"this machine gives away more than others: {lowest} to {highest}")
    assert LINUX_GIVES_AWAY.start >= BLOCKS.stop


def test_a_port_in_use_is_passed_over():
    first = free_port()
    with socket.create_server(("127.0.0.1", first + 1)):
        assert free_port() not in (first, first + 1)


def test_ports_come_again_when_all_had_their_turn():
    (ports,) = ports_of_processes(1, 2 * EACH)
    assert len(ports) == 2 * EACH
    assert ports[:EACH] == ports[EACH:]


def test_a_forked_process_has_a_block_of_its_own():
    mine = free_port()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writing, str(free_port()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = int(os.read(reading, 10))
    os.close(reading)
    os.close(writing)
    assert (theirs - BLOCKS.start) // BLOCKS.step != (mine - BLOCKS.start) // BLOCKS.step
