"""Fetches remote sources: each group in a child process, with a deadline and limits.

A process of its own, because a driver may start threads, and the import forks; because a server can do anything to its
client; and because a killed process has closed its connection, so that the server gives up the query.

    fetched       the import reads the files
    refused       SourceError with the server's reason
    killed        by its deadline, or by a limit: SourceError
                  with the import: nothing is left but *.tmp files, which the next import removes
"""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from appliance.ingest.sources.base import Source, SourceError
from appliance.ingest.sources.remote import Fetched, FetchedTable, RemoteSource
from appliance.ingest.spec import ImportSpec
from appliance.system.fork import die_with_parent, fork_failure

_SHARE_OF_DISK: Final = 3
"""A file larger than this part of the free space cannot be imported: the import needs twice its size."""


class _Done(msgspec.Struct, frozen=True, tag=True):
    fetched: tuple[Fetched, ...]


class _Refused(msgspec.Struct, frozen=True, tag=True):
    sentence: str
    transient: bool
    login_refused: bool


class _Broken(msgspec.Struct, frozen=True, tag=True):
    """An error of this machine."""

    code: int
    text: str


_DECODER: Final = msgspec.msgpack.Decoder(_Done | _Refused | _Broken)


def fetch(spec: ImportSpec, folder: Path) -> ImportSpec:
    """Return `spec` with fetched files in `folder` in place of its remote sources.

    Raises SourceError, and OSError of the folder. The calling process must have no other threads. The caller removes
    the files: they are called *.tmp.
    """
    groups: dict[Hashable, dict[RemoteSource, Path]] = {}
    for number, source in enumerate(spec.sources):
        if isinstance(source, RemoteSource):
            groups.setdefault(source.group, {}).setdefault(source, folder / f"fetched-{number}.tmp")
    found: dict[Source, Source] = {}
    for group in groups.values():
        results = _in_child(tuple(group), tuple(group.values()), folder)
        for (source, file), fetched in zip(group.items(), results, strict=True):
            found[source] = FetchedTable(source, file, fetched)
    related = tuple(replace(each, source=found.get(each.source, each.source)) for each in spec.related)
    return replace(spec, source=found.get(spec.source, spec.source), related=related)


def _in_child(group: Sequence[RemoteSource], files: Sequence[Path], folder: Path) -> tuple[Fetched, ...]:
    parent = os.getpid()
    read_end, write_end = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        os.close(read_end)
        os.close(write_end)
        raise SourceError(fork_failure(error), transient=True) from None
    if child == 0:
        os.close(read_end)
        _run(lambda: group[0].fetch(group, files), folder, write_end, parent)
    os.close(write_end)
    answer, is_late = b"", False
    try:
        with os.fdopen(read_end, "rb") as pipe:
            is_late = not select.select([pipe], [], [], group[0].timeout)[0]
            answer = b"" if is_late else pipe.read()
    finally:
        os.kill(child, signal.SIGKILL)  # it has exited, unless it is late or the import is interrupted
        _, status = os.waitpid(child, 0)
    return _result(answer, status, is_late=is_late, source=group[0])


def _result(answer: bytes, status: int, *, is_late: bool, source: RemoteSource) -> tuple[Fetched, ...]:
    """Return what the child has fetched. Raises SourceError or OSError, as it did."""
    if is_late:
        raise SourceError(f"{source}: there was no end in {source.timeout:g} s; check the network", transient=True)
    try:
        result: _Done | _Refused | _Broken = _DECODER.decode(answer)
    except msgspec.MsgspecError:
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        raise SourceError(f"{source}: the fetch {how}; see the lines above or the system log", transient=True) from None
    if isinstance(result, _Refused):
        raise SourceError(result.sentence, transient=result.transient, login_refused=result.login_refused)
    if isinstance(result, _Broken):
        raise OSError(result.code, result.text)
    return result.fetched


def _run(body: Callable[[], tuple[Fetched, ...]], folder: Path, write_end: int, parent: int) -> NoReturn:
    """Fetch, write the result to the pipe, and exit: none of the parent's code may run in this process."""
    code = 1
    try:
        die_with_parent(parent)
        # If the import is killed, its lock and its pipes must not stay open here.
        os.closerange(3, write_end)
        os.closerange(write_end + 1, os.sysconf("SC_OPEN_MAX"))
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        _limit_files(folder)
        result: _Done | _Refused | _Broken
        try:
            result = _Done(body())
        except SourceError as fault:
            result = _Refused(str(fault), fault.transient, fault.login_refused)
        except OSError as error:
            result = _Broken(error.errno or 0, error.strerror or str(error))
        os.write(write_end, msgspec.msgpack.encode(result))
        code = 0
    finally:
        os._exit(code)


def _limit_files(folder: Path) -> None:
    """Limit the size of a file: a query may have no end."""
    disk = os.statvfs(folder)
    most = disk.f_bavail * disk.f_frsize // _SHARE_OF_DISK
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    if hard != resource.RLIM_INFINITY:
        most = min(most, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
