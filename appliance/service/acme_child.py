"""Asks an authority in a forked child: what it sends, or how long it takes, does not harm the service."""

from __future__ import annotations

import os
import random
import resource
import signal
import time
from contextlib import closing
from typing import Final

import msgspec

from appliance.acme.attempt import Attempt, Job, Outcome, has_address
from appliance.errors import INTERNAL_ERROR
from appliance.observe.logs import describe, log
from appliance.system.fork import become_child, how_it_ended, limit_resource

MAX_SECONDS: Final = 600
"""An order takes a second; the authority may take three minutes for its verdict, and as long to issue."""

_MAX_MEMORY: Final = 1024**3
_MAX_CPU: Final = 60
_MAX_FILE: Final = 1024**2


class AcmeChild:
    """A look at one name in a forked child. `descriptor` becomes readable when it ends; then call `result`."""

    def __init__(self, job: Job, name: str) -> None:
        """Start it. No other thread of the calling process may be at work. Raises OSError if it cannot be started."""
        parent = os.getpid()
        self.descriptor, write_end = os.pipe()
        try:
            self.pid = os.fork()
        except OSError:
            os.close(self.descriptor)
            os.close(write_end)
            raise
        if self.pid == 0:
            os.close(self.descriptor)
            _run(job, name, write_end, parent)
        os.close(write_end)

    def result(self) -> Outcome | str:
        """Wait for its end and return how it ended, or a sentence if there is no outcome."""
        with os.fdopen(self.descriptor, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        try:
            return msgspec.json.decode(answer, type=Outcome | str)
        except msgspec.MsgspecError:
            return f"the process that asks the authority {how_it_ended(status)}; see the lines above or the system log"

    def kill(self) -> None:
        """Kill it; what it had begun is continued at the next attempt."""
        os.kill(self.pid, signal.SIGKILL)


def _run(job: Job, name: str, write_end: int, parent: int) -> None:
    code = INTERNAL_ERROR
    try:
        become_child(parent)
        limit_resource(resource.RLIMIT_AS, _MAX_MEMORY)
        limit_resource(resource.RLIMIT_CPU, _MAX_CPU)
        limit_resource(resource.RLIMIT_FSIZE, _MAX_FILE)
        with closing(os.fdopen(write_end, "wb")) as pipe:
            pipe.write(msgspec.json.encode(look(job, name)))
        code = 0
    except Exception as error:
        log.critical("crash", **describe(error))
    finally:
        os._exit(code)


def look(job: Job, name: str) -> Outcome | str:
    """Look at a name in this process; return a sentence if the state cannot be written."""
    attempt = Attempt(
        job, clock=time.time, timer=time.monotonic, sleep=time.sleep, random=random.random, resolve=has_address
    )
    try:
        return attempt.look(name)
    except OSError as error:
        what = error.filename or job.folder
        return f"{what}: {error.strerror}; free some space, or correct the owner of the state folder"
