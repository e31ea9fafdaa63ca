"""What the checks work on: the settings, the environment, and a dry run of an import that several of them need."""

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
from appliance.bootstrap.wiring import import_spec_of
from appliance.config.schema import Settings
from appliance.customers.snapshot import SnapshotMetadata
from appliance.customers.snapshot_store import newest
from appliance.ingest.dry_run import DryRun, dry_run
from appliance.ingest.spec import ImportRefused
from appliance.system.account import account


class CheckContext:
    """One installation at one time. Nothing that it is asked for changes anything there."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        clock: Callable[[], float] = time.time,
        file_user: pwd.struct_passwd | None = None,
    ) -> None:
        """`clock` returns seconds since 1970; `file_user` is the user to read files as, if this is root's process."""
        self.settings: Final = settings
        self.environ: Final = environ
        self.now: Final = clock()
        self.spec: Final = import_spec_of(settings)
        self.file_user: Final = file_user

    @cached_property
    def last_import(self) -> SnapshotMetadata | OSError | None:
        """The snapshot that an import would be compared with; the error if this user cannot read it."""
        folder = snapshot_folder(self.settings)
        try:
            os.listdir(folder)  # to a service, a folder that it cannot read is one without snapshots
            return newest(folder, self.spec.digest())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return error

    def read_owned_after_start(self) -> None:
        """Read now, with all the rights of this process, what the start is going to give to server.user."""
        _ = self.last_import

    @property
    def asks_no_server(self) -> bool:
        """Whether the customers' server is left alone: in the unit, where no outage elsewhere may stop a reload."""
        return self.spec.is_fetched and "INVOCATION_ID" in self.environ

    @cached_property
    def dry_run(self) -> DryRun | ImportRefused:
        """A dry run of an import, in a folder of its own; made once."""
        last = self.last_import if isinstance(self.last_import, SnapshotMetadata) else None
        try:
            with tempfile.TemporaryDirectory(prefix="sidebard-") as folder:
                return dry_run(self.spec, Path(folder), clock=time.time, timer=time.monotonic, last=last)
        except ImportRefused as refused:
            return refused
        except OSError as error:  # no folder for temporary files, or one that this user may not enter
            return ImportRefused(explain(error))


def explain(error: OSError) -> str:
    """Return what the system refused, for errors that have no better sentence."""
    return f"{error.filename or 'the check'}: {error.strerror}; give {account()} access to it"


def existing(folder: Path) -> Path:
    """Return the folder, or the nearest above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder
