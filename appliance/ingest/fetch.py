"""Fetches remote sources: each group in a child process, with a deadline and limits.

A process of its own, because a driver may start threads, and the import forks; because a server can do anything to its
client; and because a killed process has closed its connection, so that the server gives up the query.

    fetched       the import reads the files
    unchanged     as its server says: there are no files
    refused       SourceError with the server's reason
    killed        by its deadline, or by a limit: SourceError
                  with the import: nothing is left but *.tmp files, which the next import removes
"""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn

import msgspec

from appliance.ingest.sources.base import Source, SourceError
from appliance.ingest.sources.remote import Fetched, FetchedTable, Remark, RemoteSource
from appliance.ingest.spec import ImportSpec
from appliance.system.fork import become_child, close_others, fork_failure, how_it_ended, limit_resource

_SHARE_OF_DISK: Final = 3
"""A file larger than this part of the free space cannot be imported: the import needs twice its size."""


class _Done(msgspec.Struct, frozen=True, tag=True):
    fetched: tuple[Fetched, ...]
    remarks: tuple[Remark, ...] = ()


class _Refused(msgspec.Struct, frozen=True, tag=True):
    sentence: str
    transient: bool
    login_refused: bool


class _Broken(msgspec.Struct, frozen=True, tag=True):
    """An error of this machine."""

    code: int
    text: str


_DECODER: Final = msgspec.msgpack.Decoder(_Done | _Refused | _Broken)


_PROGRESS: Final = 0.5
"""Seconds between two looks at how much was fetched."""

Known = Mapping[str, Fetched]
"""What was fetched of each source the last time, by its name."""


@dataclass(frozen=True)
class Fetch:
    """What a fetch found: the spec with files in place of remote sources, and what was fetched of each."""

    spec: ImportSpec
    tables: dict[str, Fetched]
    is_whole: bool
    """Whether all files are there; otherwise some server said that nothing has changed."""


def fetch(
    spec: ImportSpec,
    folder: Path,
    known: Known = MappingProxyType({}),
    progress: Callable[[int], None] = lambda _: None,
) -> Fetch:
    """Fetch the remote sources of `spec` into `folder`, but not those that have not changed since they were `known`.

    `progress` is called from time to time with the number of bytes. Raises SourceError, and OSError of the folder. The
    calling process must have no other threads. The caller removes the files: they are called *.tmp.
    """
    found: dict[Source, FetchedTable] = {}
    for group in _groups(spec, folder):
        before = [known[source.describe()] for source in group if source.describe() in known]
        body = partial(_fetch_group, group, before if len(before) == len(group) else [])
        done = _in_child(group, body, folder, progress)
        found |= _tables(group, done.fetched)
    return Fetch(
        _replaced(spec, found),
        {table.describe(): table.fetched for table in found.values()},
        all(table.file.exists() for table in found.values()),
    )


def inspect(spec: ImportSpec, folder: Path, rows: int) -> tuple[ImportSpec | None, tuple[Remark, ...]]:
    """Return what was seen of the servers, and `spec` with the first `rows` rows of each remote source in `folder`.

    It is None if a remark is of a fault. Otherwise as `fetch`.
    """
    found: dict[Source, FetchedTable] = {}
    remarks: list[Remark] = []
    for group in _groups(spec, folder):
        done = _in_child(group, partial(_inspect_group, group, rows), folder)
        remarks += done.remarks
        found |= _tables(group, done.fetched) if done.fetched else {}
    is_good = all(remark.level != "fault" for remark in remarks)
    return _replaced(spec, found) if is_good else None, tuple(remarks)


def _fetch_group(group: Mapping[RemoteSource, Path], known: Sequence[Fetched]) -> _Done:
    return _Done(next(iter(group)).fetch(tuple(group), tuple(group.values()), known))


def _inspect_group(group: Mapping[RemoteSource, Path], rows: int) -> _Done:
    found = next(iter(group)).inspect(tuple(group), tuple(group.values()), rows)
    return _Done(found.fetched, found.remarks)


def _groups(spec: ImportSpec, folder: Path) -> list[dict[RemoteSource, Path]]:
    """Return the sources of each server, with their files."""
    groups: dict[Hashable, dict[RemoteSource, Path]] = {}
    for number, source in enumerate(spec.sources):
        if isinstance(source, RemoteSource):
            groups.setdefault(source.group, {}).setdefault(source, folder / f"fetched-{number}.tmp")
    return [*groups.values()]


def _tables(group: Mapping[RemoteSource, Path], fetched: Sequence[Fetched]) -> dict[Source, FetchedTable]:
    return {
        source: FetchedTable(source, file, each) for (source, file), each in zip(group.items(), fetched, strict=True)
    }


def _replaced(spec: ImportSpec, found: Mapping[Source, FetchedTable]) -> ImportSpec:
    related = tuple(replace(each, source=found.get(each.source, each.source)) for each in spec.related)
    return replace(spec, source=found.get(spec.source, spec.source), related=related)


def _in_child(
    group: Mapping[RemoteSource, Path],
    body: Callable[[], _Done],
    folder: Path,
    progress: Callable[[int], None] = lambda _: None,
) -> _Done:
    first, files = next(iter(group)), tuple(group.values())
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
        _run(body, folder, write_end, parent)
    os.close(write_end)
    answer, is_late, deadline = b"", False, time.monotonic() + first.timeout
    try:
        with os.fdopen(read_end, "rb") as pipe:
            while not select.select([pipe], [], [], max(0.0, min(_PROGRESS, deadline - time.monotonic())))[0]:
                progress(sum(file.stat().st_size for file in files if file.exists()))
                if is_late := time.monotonic() >= deadline:
                    break
            answer = b"" if is_late else pipe.read()
    finally:
        os.kill(child, signal.SIGKILL)  # it has exited, unless it is late or the import is interrupted
        _, status = os.waitpid(child, 0)
    return _result(answer, status, is_late=is_late, source=first)


def _result(answer: bytes, status: int, *, is_late: bool, source: RemoteSource) -> _Done:
    """Return what the child has found. Raises SourceError or OSError, as it did."""
    if is_late:
        raise SourceError(f"{source}: did not finish within {source.timeout:g} s; check the network", transient=True)
    try:
        result: _Done | _Refused | _Broken = _DECODER.decode(answer)
    except msgspec.MsgspecError:
        how = how_it_ended(status)
        raise SourceError(f"{source}: the fetch {how}; see the lines above or the system log", transient=True) from None
    if isinstance(result, _Refused):
        raise SourceError(result.sentence, transient=result.transient, login_refused=result.login_refused)
    if isinstance(result, _Broken):
        raise OSError(result.code, result.text)
    return result


def _run(body: Callable[[], _Done], folder: Path, write_end: int, parent: int) -> NoReturn:
    """Fetch, write the result to the pipe, and exit: none of the parent's code may run in this process."""
    code = 1
    try:
        become_child(parent)
        close_others(write_end)  # if the import is killed, its lock and its pipes must not stay open here
        _limit_files(folder)
        result: _Done | _Refused | _Broken
        try:
            result = body()
        except SourceError as fault:
            result = _Refused(str(fault), fault.transient, fault.login_refused)
        except OSError as error:
            result = _Broken(error.errno or 0, error.strerror or str(error))
        except MemoryError:
            why = "the fetch exceeded its memory limit; select fewer or smaller columns"
            result = _Refused(why, True, False)
        except Exception as error:  # by its name alone: its words may be a customer's
            why = f"the fetch failed with an internal error ({type(error).__qualname__}); please report it"
            result = _Refused(why, True, False)
        os.write(write_end, msgspec.msgpack.encode(result))
        code = 0
    finally:
        os._exit(code)


def _limit_files(folder: Path) -> None:
    """Limit the size of a file: a query may have no end."""
    disk = os.statvfs(folder)
    limit_resource(resource.RLIMIT_FSIZE, disk.f_bavail * disk.f_frsize // _SHARE_OF_DISK)
