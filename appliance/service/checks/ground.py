"""What the checks look at: the settings, the environment, and a trial import that several of them need."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from appliance.config import Settings
from appliance.customers.plan import Refused
from appliance.customers.trial import Trial, try_out
from appliance.service.wiring import plan_of


class Ground:
    """One look at one installation. Nothing that it is asked for changes anything there."""

    def __init__(self, settings: Settings, environ: Mapping[str, str], clock: Callable[[], float] = time.time) -> None:
        """`clock` gives seconds since 1970."""
        self.settings: Final = settings
        self.environ: Final = environ
        self.now: Final = clock()
        self.plan: Final = plan_of(settings)

    @cached_property
    def trial(self) -> Trial | Refused:
        """A trial import into a folder of its own; made once."""
        with tempfile.TemporaryDirectory(prefix="sidebard-") as folder:
            try:
                return try_out(self.plan, Path(folder), clock=time.time, timer=time.monotonic)
            except Refused as refused:
                return refused


def existing(folder: Path) -> Path:
    """Give the folder, or the nearest above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
