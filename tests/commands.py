"""Runs commands as an operator types them: each in a process of its own, with nothing of this one's environment.

Python needs a fifth of a second to import what a command needs. So that is imported once, by a process that then forks
for each command. The rest is as in a new process: streams, environment, arguments, `python -m`, and how Python ends.
What depends on how Python begins (closed streams, a terminal, PYTHON...) needs a process that is new.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.command_server import LONGEST
from tests.daemon import ROOT

PATIENCE = 60.0


def run(
    *arguments: object, stdin: bytes = b"", program: str = "appliance", **environ: str
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -W error -m PROGRAM` with these arguments."""
    words = [str(argument) for argument in arguments]
    request = {"program": program, "arguments": words, "environ": {"PATH": "/usr/bin:/bin", **environ}}
    channel, server = _start_server(os.getpid())
    inside, outside = zip(os.pipe(), *(os.pipe()[::-1] for _ in range(2)), strict=True)
    try:
        socket.send_fds(channel, [json.dumps(request).encode()], inside)
    finally:
        for descriptor in inside:
            os.close(descriptor)
    started = channel.recv(LONGEST)
    assert started, server.communicate()[1].decode()
    with ThreadPoolExecutor() as pool:
        pool.submit(_write, outside[0], stdin)
        said = [pool.submit(_read, descriptor) for descriptor in outside[1:]]
        if not select.select([channel], [], [], PATIENCE)[0]:
            os.kill(int(started), signal.SIGKILL)
        status = int(channel.recv(LONGEST))
    code = os.waitstatus_to_exitcode(status)
    return subprocess.CompletedProcess(words, code, *(each.result() for each in said))


def _write(descriptor: int, text: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as stream:
        stream.write(text)


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as stream:
        return stream.read()


@functools.cache
def _start_server(owner: int) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start the process that forks, and return a channel to it; a forked process of the tests has one of its own."""
    ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with theirs:
        server = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.command_server", str(theirs.fileno())],
            # Pipes, as its commands get: Python's streams remember what they were opened for.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={"PATH": "/usr/bin:/bin"},
            pass_fds=[theirs.fileno()],
        )

    def stop() -> None:
        if os.getpid() == owner:
            ours.close()
            server.communicate()

    atexit.register(stop)
    return ours, server
