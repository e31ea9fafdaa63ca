"""Where `sidebard init` puts what it makes, and what the service can read there.

    of the package   root's /etc/sidebard, for the group sidebard; customers' files in /var/lib/sidebard-data. The
                     service has no variables of the environment of whoever runs this.
    of a user        the folder in which the command was given, for that user alone

All of it is written or none: what fails, or is interrupted, takes back what was written before.
"""

from __future__ import annotations

import filecmp
import os
import pwd
import secrets
import shutil
import string
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from appliance.errors import SidebardError
from appliance.ingest.sources import sqlite_file
from appliance.ingest.sources.sqlite_copy import copy_database
from appliance.system.files import sync
from appliance.system.frozen import let_others_read
from appliance.system.privileges import as_owner

PACKAGED: Final = Path("/etc/sidebard/sidebard.toml")
_AS_PACKAGED: Final = Path("/usr/share/doc/sidebard/etc-sidebard.toml")
_DATA: Final = Path("/var/lib/sidebard-data")
_USER: Final = "sidebard"
_HIDDEN: Final = ("/home", "/root", "/run/user", "/tmp", "/var/tmp", "/dev")  # noqa: S108
"""Folders that the packaged unit does not have (ProtectHome, PrivateTmp, PrivateDevices)."""

_CARDS: Final = (Path("/usr/share/doc/sidebard/cards"), Path(__file__).resolve().parents[2] / "conf" / "cards")
_LETTERS: Final = string.ascii_letters + string.digits
_SECRET_LENGTH: Final = 40  # Help Scout's form takes no more


class InstallationError(SidebardError):
    """Something cannot be put in its place; nothing was written."""


@dataclass(frozen=True, slots=True)
class Installation:
    """Where things go. `user` is the service's, who must be able to read them; None: whoever runs this."""

    config: Path
    user: pwd.struct_passwd | None = None
    data: Path = _DATA

    @property
    def secret(self) -> Path:
        """The file of the secret."""
        return self.config.with_name("secret")

    @property
    def password(self) -> Path:
        """Where the copy of a database's password goes."""
        return self.config.with_name("database-password")

    @property
    def is_packaged(self) -> bool:
        """Whether the package's units run it."""
        return self.user is not None

    def can_be_read(self, file: Path) -> bool:
        """Return whether the service can read a file under the restrictions of its unit."""
        if self.user is None:
            return True
        real = file.resolve()
        if any(one.is_relative_to(folder) for one in (file.absolute(), real) for folder in _HIDDEN):
            return False
        return self.permits(real)

    def permits(self, file: Path) -> bool:
        """Return whether the rights of a file, and of the folders above it, let the service's user read it."""
        let_others_read()
        with as_owner(self.user), suppress(OSError), file.open("rb"):
            return True
        return False

    def refuse_existing(self, *, force: bool) -> None:
        """Raise InstallationError if the config must not be written: only the package's own may be replaced."""
        if not self.config.parent.is_dir():
            raise InstallationError(
                f"{self.config.parent} is not a folder; create it, or name another file with --config"
            )
        if os.path.lexists(self.config) and not force and not _is_untouched(self.config):
            raise InstallationError(
                f"{self.config} exists; add --force to replace it and keep a copy, or name another with --config"
            )


def find_installation(config: Path | None) -> Installation:
    """Return the package's installation for root, if the package is there, or else one of this folder.

    A `config` elsewhere is never the package's.
    """
    if os.geteuid() == 0 and PACKAGED.parent.is_dir() and (config is None or config.absolute() == PACKAGED):
        with suppress(KeyError):
            return Installation(PACKAGED, pwd.getpwnam(_USER))
    return Installation((config or Path(PACKAGED.name)).absolute())


def service_user(settings_file: Path | None) -> pwd.struct_passwd | None:
    """Return the user of the package's unit, if root runs this outside of it with the config of that unit."""
    if settings_file is None or "INVOCATION_ID" in os.environ:
        return None
    return find_installation(settings_file).user


def find_config() -> Path:
    """Return the config that a command uses if none is named: for root the package's, or else that of this folder."""
    here = Path(PACKAGED.name)
    if os.geteuid() == 0 and PACKAGED.exists():
        return PACKAGED
    return here.absolute() if here.is_file() else PACKAGED


def example_cards() -> dict[str, Path]:
    """Return the template of each example card by its name."""
    found = (sorted(folder.glob("*/card.html")) for folder in _CARDS)
    return {file.parent.name: file for files in found for file in files}


def _is_same(file: Path, place: Path) -> bool:
    """Return whether two files have the same content; a link to nothing has none."""
    try:
        return filecmp.cmp(file, place, shallow=False)
    except OSError:
        return False


def _is_untouched(config: Path) -> bool:
    """Return whether a config is byte for byte the one that the package has installed."""
    try:
        return config.read_bytes() == _AS_PACKAGED.read_bytes()
    except OSError:
        return False


class Writing:
    """Files that are put into their places, each of them whole. See `writing`."""

    def __init__(self, installation: Installation, *, force: bool) -> None:
        self._installation = installation
        self._force = force
        self.undo = ExitStack()
        self.done = ExitStack()

    def write_config(self, text: str) -> None:
        """Write the config, over what `refuse_existing` has let pass."""
        config = self._installation.config
        is_untouched = _is_untouched(config)
        replace = self._force or is_untouched  # one that has come meanwhile stays
        self._put(config, lambda new: new.write_text(text, "utf-8"), 0o644, keep=not is_untouched, replace=replace)

    def write_secret(self) -> bool:
        """Make a secret, unless there is one; return whether it was made."""
        if os.path.lexists(self._installation.secret):
            return False
        text = "".join(secrets.choice(_LETTERS) for _ in range(_SECRET_LENGTH))
        self._put(self._installation.secret, lambda new: new.write_text(f"{text}\n", "ascii"), 0o600)
        return True

    def copy(self, file: Path, place: Path, *, is_source: bool = False) -> None:
        """Copy a file for the service; of a source, the database in it. Without force, what differs there stays."""
        if os.path.lexists(place):
            is_same = _is_same(file, place)
            if is_same and self._installation.permits(place):
                return
            if is_same:
                raise InstallationError(
                    f"{place} is there, and the user {_USER} cannot read it; run chgrp {_USER} and chmod g+r on it"
                )
            if not self._force:
                raise InstallationError(
                    f"{place} exists and differs from {file}; name that one, or add --force to replace it and keep a"
                    " copy"
                )
        is_database = is_source and file.suffix.lower() in sqlite_file.KIND.suffixes
        copy = copy_database if is_database else shutil.copyfile
        self._put(place, lambda new: copy(file, new), 0o600, replace=self._force)

    def _put(
        self, file: Path, write: Callable[[Path], object], mode: int, *, keep: bool = True, replace: bool = False
    ) -> None:
        """Write a file beside its place and move it there; `keep` what is there, or not, if it may be replaced."""
        new = file.with_name(f".{file.name}.{secrets.token_hex(8)}.tmp")  # nobody can have put a link there
        try:
            self.undo.callback(new.unlink, missing_ok=True)
            write(new)
            self._own(new, mode)
            if replace and os.path.lexists(file):
                old = _free_name(file)
                os.link(file, old, follow_symlinks=False)
                self.undo.callback(os.replace, old, file)
                if not keep:
                    self.done.callback(old.unlink)
                os.replace(new, file)
            else:
                os.link(new, file)  # which fails if it has come meanwhile
                self.undo.callback(file.unlink, missing_ok=True)
                new.unlink()
            sync(file.parent)
        except OSError as error:
            raise InstallationError(f"{file} cannot be written: {error.strerror}; check its folder") from None

    def _own(self, file: Path, mode: int) -> None:
        """Make a file readable for the service, but not its own, and wait until it is on the disk."""
        if self._installation.user is not None:
            mode = 0o640
            os.chown(file, -1, self._installation.user.pw_gid, follow_symlinks=False)
        file.chmod(mode)
        sync(file)


@contextmanager
def writing(installation: Installation, *, force: bool) -> Iterator[Writing]:
    """Write files within the block; if it is left by an error or an interrupt, none of them stays."""
    files = Writing(installation, force=force)
    with umask(0o077), files.undo:
        yield files
        files.undo.pop_all()
    files.done.close()


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Let new files have no more than these rights within the block."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _free_name(file: Path) -> Path:
    """Return the first name for a copy that is not taken: sidebard.toml.old, sidebard.toml.old2, ..."""
    names = (file.with_name(f"{file.name}.old{number if number > 1 else ''}") for number in count(1))
    return next(name for name in names if not os.path.lexists(name))
