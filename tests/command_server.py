"""The process that tests.commands forks for each command. Usage: python -m tests.command_server DESCRIPTOR"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import runpy
import socket
import sys
from typing import Any

import appliance

LONGEST = 1 << 16
SET_AT_THE_START = ("LC_CTYPE", "OPENSSL_CONF")  # by Python, and by the package itself


def main(channel: socket.socket) -> None:
    """Fork for each request that comes, and in the forked process run its command."""
    for module in pkgutil.walk_packages(appliance.__path__, "appliance."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    gc.freeze()
    with channel:
        request = _next_command(channel)
    if request is not None:
        kept = {name: os.environ[name] for name in SET_AT_THE_START if name in os.environ}
        os.environ.clear()
        os.environ.update({**kept, **request["environ"]})
        sys.argv[1:] = request["arguments"]
        runpy.run_module(request["program"], run_name="__main__", alter_sys=True)


def _next_command(channel: socket.socket) -> Any:
    """Return a request in each forked process, and None in this one, once there are no more."""
    while True:
        message, streams, _, _ = socket.recv_fds(channel, LONGEST, 3)
        if not message:
            return None
        pid = os.fork()
        if not pid:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
        for stream in streams:
            os.close(stream)
        if not pid:
            return json.loads(message)
        channel.send(str(pid).encode())
        channel.send(str(os.waitpid(pid, 0)[1]).encode())


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
