"""The command line, with processes that each say something in every way there is, once, as soon as they run."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

from appliance.cli import main
from appliance.service import import_child
from appliance.service.steward import Steward
from appliance.service.supervisor import Supervisor
from appliance.service.worker import Worker


def marked(process: str) -> type[Exception]:
    """Return a type of exception that tells which process it is of: of its text nothing is logged."""
    return type(f"In_{process}", (Exception,), {})


class Dying:
    """Raises when it is finalized."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error

    def __del__(self) -> None:
        raise self._error("ann@example.com")


def shout(process: str) -> None:
    """Say something by every hook."""
    error = marked(process)

    def crash() -> None:
        raise error("ann@example.com")

    Dying(error)  # and it is gone
    thread = threading.Thread(target=crash)
    thread.start()
    thread.join()
    sys.excepthook(error, error("ann@example.com"), None)
    warnings.warn_explicit("ann@example.com", type(f"In_{process}", (Warning,), {}), process, 1)
    logging.getLogger(f"in_{process}").warning("of %s", "ann@example.com")
    lone = logging.getLogger(f"lone_{process}")
    lone.propagate = False
    lone.warning("ann@example.com")
    os.write(2, f"stderr of {process}\n".encode())
    os.write(1, f"stdout of {process}\n".encode())
    print(f"print of {process}")  # noqa: T201
    print(f"faulthandler of {process} is {'on' if faulthandler.is_enabled() else 'off'}")  # noqa: T201


def first(process: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, which shouts when it is called for the first time."""
    shouted: list[int] = []

    def called(*arguments: Any, **more: Any) -> Any:
        if os.getpid() not in shouted:
            shouted.append(os.getpid())
            warnings.simplefilter("always")
            shout(process)
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                pass
            else:
                loop.call_exception_handler({"message": f"loop of {process}"})
        return function(*arguments, **more)

    return called


Supervisor._run_once = first("supervisor", Supervisor._run_once)  # type: ignore[method-assign]
Worker._tick = first("worker", Worker._tick)  # type: ignore[method-assign]
Steward._tick = first("steward", Steward._tick)  # type: ignore[method-assign]
import_child.run_import = first("import", import_child.run_import)

if __name__ == "__main__":
    main()
