"""What the checks look at: the settings, the environment, and a trial import that several of them need."""

from __future__ import annotations

import os
import pwd
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from appliance.bootstrap.state_folder import snapshot_folder
from appliance.bootstrap.wiring import plan_of
from appliance.config.schema import Settings
from appliance.customers.snapshot import Facts
from appliance.customers.snapshot_store import newest
from appliance.ingest.dry_run import Trial, try_out
from appliance.ingest.spec import Refused
from appliance.system.account import account


class Ground:
    """One look at one installation. Nothing that it is asked for changes anything there."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.time,
        eyes: pwd.struct_passwd | None = None,
    ) -> None:
        """`clock` gives seconds since 1970; `eyes` is the user to look at files as, if this is root's process."""
        self.settings: Final = settings
        self.environ: Final = environ
        self.now: Final = clock()
        self.plan: Final = plan_of(settings)
        self.eyes: Final = eyes

    @cached_property
    def last_import(self) -> Facts | OSError | None:
        """Facts of the snapshot that an import would be compared with; the error if this user cannot read it."""
        folder = snapshot_folder(self.settings)
        try:
            os.listdir(folder)  # to a service, a folder that it cannot read is one without snapshots
            return newest(folder, self.plan.digest())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return error

    def read_what_is_handed_over(self) -> None:
        """Read now, with all the rights of this process, what the start gives to server.user."""
        _ = self.last_import

    @cached_property
    def trial(self) -> Trial | Refused:
        """A trial import into a folder of its own; made once."""
        last = self.last_import if isinstance(self.last_import, Facts) else None
        try:
            with tempfile.TemporaryDirectory(prefix="sidebard-") as folder:
                return try_out(self.plan, Path(folder), clock=time.time, timer=time.monotonic, last=last)
        except Refused as refused:
            return refused
        except OSError as error:  # no folder for temporary files, or one that this user may not enter
            return Refused(explain(error))


def explain(error: OSError) -> str:
    """Say what the system refused, for faults that have no better sentence."""
    return f"{error.filename or 'the check'}: {error.strerror}; let {account()} use it"


def existing(folder: Path) -> Path:
    """Give the folder, or the nearest above it that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
