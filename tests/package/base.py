"""Bare Debian systems in folders: what debootstrap calls minbase, made once, kept in .cache/machines, used as copies.

Nothing but the standard library is imported here: .ci/fresh_machine.py runs before anything is installed. Nothing stays
mounted outside of the processes that mount it: debootstrap runs in a mount namespace of its own, and so does whatever
systemd-nspawn runs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASES = ROOT / ".cache" / "machines"
NEEDED = {"debootstrap": "debootstrap", "systemd-nspawn": "systemd-container", "nsenter": "util-linux"}
TARGETS = ("apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(CREATED_BY)|$(REPO_URI)")

MIRRORS = "mirror+file:"


class NoMachine(Exception):
    """This machine cannot hold another; the text says what it needs."""


def base(release: str, packages: Sequence[str] = ()) -> Path:
    """Return the folder of a Debian with these packages besides the bare system. Raise NoMachine."""
    if os.geteuid() != 0:
        raise NoMachine("a Debian system is made by root")
    if missing := [package for command, package in NEEDED.items() if shutil.which(command) is None]:
        raise NoMachine(f"making a Debian system needs more: apt-get install {' '.join(missing)}")
    folder = BASES / "-".join([release, *(packages or ["minbase"])])
    if not folder.is_dir():
        said = subprocess.run(TARGETS, capture_output=True, text=True, check=False).stdout
        BASES.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BASES) as place:
            new = Path(place, "root")
            include = [f"--include={','.join(packages)}"] if packages else []
            made = ["debootstrap", "--variant=minbase", *include, release, str(new), archive(said)]
            ended = subprocess.run(["unshare", "--mount", *made], capture_output=True, text=True, check=False)
            if ended.returncode:
                raise NoMachine(f"debootstrap {release} failed:\n{ended.stdout[-2000:]}{ended.stderr}")
            new.rename(folder)
    return folder


def archive(targets: str) -> str:
    """Return the address of Debian's archive, from what apt-get says of its sources (TARGETS). Raise NoMachine."""
    for line in targets.splitlines():
        *kind, address = line.split("|")
        if kind == ["Debian", "Debian", "main", "Packages"]:
            address = address.rstrip("/")
            if address.startswith(MIRRORS):  # a file with one address a line, as Debian's images for clouds have it
                rows = Path(address.removeprefix(MIRRORS)).read_text().split("\n")
                address = next(row.split()[0] for row in rows if row.strip() and not row.startswith("#"))
            return address.rstrip("/")
    raise NoMachine("apt's sources have no archive of Debian that was read: apt-get update, or add one to them")


def copy(source: Path, folder: Path) -> None:
    """Copy a Debian system as it is."""
    subprocess.run(["cp", "--archive", "--reflink=auto", source, folder], check=True)


def remove(folder: Path) -> None:
    """Remove a copy; never one with something mounted in it, which would be emptied too. Raise NoMachine."""
    if not folder.exists():
        return
    below = f"{folder.resolve()}/"
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if mounted := [mount for mount in mounts if f"{mount}/".startswith(below)]:
        raise NoMachine(f"{folder} is not removed, for these are mounted in it: umount {' '.join(mounted)}")
    shutil.rmtree(folder)


def first_process(nspawn: int) -> int | None:
    """Return the pid, as seen from here, of what is pid 1 inside; nspawn has a child before it, which does not last."""
    return next((pid for pid in descendants(nspawn) if pid_inside(pid) == 1), None)


def enter(first: int, folder: str) -> list[str]:
    """Return how a command begins that is to run inside, in this folder; `first` is the system's first process."""
    namespaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--root")
    return ["nsenter", f"--target={first}", *namespaces, f"--wdns={folder}"]


def descendants(pid: int) -> Iterator[int]:
    """Return the processes below this one."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in map(int, children):
        yield child
        yield from descendants(child)


def pid_inside(pid: int) -> int:
    """Return the pid that a process has in its own namespace; 0 if it has ended."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return int(next(row for row in rows if row.startswith("NSpid:")).split()[-1])
