"""Read the settings from a config file or from flags: the one way, and what concerns more than one key (`_check`)."""

from __future__ import annotations

import keyword
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from appliance.config import values
from appliance.config.lines import KeyPath, syntax_hint
from appliance.config.reader import NOT_UTF8, ConfigError, Fault, Reader, locate, rules
from appliance.config.schema import Server, Settings
from appliance.system.files import is_utf8

Check = Callable[[Settings, Reader], None]
"""Tells the reader what is wrong with settings by rules of another room; they may have holes, which hold None."""


def load(file: Path, environ: Mapping[str, str], checks: Sequence[Check] = ()) -> Settings:
    """Read a config file. `environ` names the state folder, where the file does not. Opens nothing that it names.

    Raises ConfigError with every fault, and never another exception, whatever the file holds.
    """
    text = ""
    if not is_utf8(file.absolute()):
        raise ConfigError([Fault(file.absolute(), None, "", "the path is not UTF-8", None, NOT_UTF8[1])])
    try:
        text = read_text(file)
        tree = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError([_file_fault(file, error, text)]) from None
    settings, reader = _resolve(tree, file.absolute().parent, environ, file.absolute(), checks)
    if reader.faults:
        located = locate(reader.faults, file, text)
        raise ConfigError(sorted(located, key=lambda fault: (fault.line is None, fault.line or 0)))
    return settings


def from_flags(
    customers: Path,
    secret_file: Path,
    environ: Mapping[str, str],
    cwd: Path,
    checks: Sequence[Check] = (),
    addresses: Sequence[str] = ("email",),
) -> Settings:
    """Return the settings of `serve --customers FILE --secret-file FILE`: for the rest, the defaults.

    Raises ConfigError.
    """
    tree = {
        "customers": {"source": str(customers), "addresses": list(addresses)},
        "app": [{"secrets": [f"file:{secret_file}"]}],
    }
    settings, reader = _resolve(tree, cwd.absolute(), environ, None, checks)
    if reader.faults:
        flags = {"customers": "--customers", "app": "--secret-file"}
        raise ConfigError(replace(fault, key=flags.get(str(path[0]), fault.key)) for path, fault in reader.faults)
    return settings


def with_overrides(settings: Settings, listen: Sequence[str] | None, workers: int | None) -> Settings:
    """Return the settings with the values of `--listen` and `--workers` in place of theirs; None or no `listen`: as is.

    Raises ConfigError with the flag as the key.
    """
    reader = Reader(Path())
    given: dict[str, object] = {"listen": list(listen or ()) or None, "workers": workers}
    changes = {
        name: reader.read(rules(Server)[name][1], found, (f"--{name}",))
        for name, found in given.items()
        if found is not None
    }
    if not reader.faults:
        settings = replace(settings, server=replace(settings.server, **changes))
        _check(settings, reader)
        # The file was good, so what is wrong now came with the flag: the one check that looks at it is TLS being off.
        reason = "must be a loopback address or Unix socket, because tls.enabled is false"
        reader.faults = [(path, replace(fault, key="--listen", reason=reason)) for path, fault in reader.faults]
    if reader.faults:
        raise ConfigError(fault for _, fault in reader.faults)
    return settings


def _resolve(
    tree: Mapping[str, object],
    folder: Path,
    environ: Mapping[str, str],
    file: Path | None,
    checks: Sequence[Check] = (),
) -> tuple[Settings, Reader]:
    """Decode, fill in what depends on other keys or on the environment, and check across tables."""
    server = tree.get("server", {})
    if isinstance(server, dict) and server.get("state", "") == "":
        tree = {**tree, "server": {**server, "state": _default_state(environ, server.get("user"))}}
    reader = Reader(folder, Settings)
    settings = reader.decode(Settings, tree, ())
    settings = replace(
        settings,
        file=file,
        related=tuple(replace(each, table=each.table or each.name) for each in settings.related),
        apps=tuple(replace(app, file=file, index=index) for index, app in enumerate(settings.apps)),
    )
    _check(settings, reader)
    for check in checks:
        check(settings, reader)
    return settings, reader


def _check(settings: Settings, reader: Reader) -> None:
    """Check what concerns more than one key."""
    server, tls, fault, clean = settings.server, settings.tls, reader.fault, reader.clean
    if clean(("server", "listen"), ("tls", "enabled")) and not tls.enabled:
        for endpoint in server.listen:
            if not endpoint.is_local:
                fault(
                    ("tls", "enabled"),
                    f"must be true, because {endpoint} can be reached from outside",
                    'listen on "127.0.0.1:8080" or "unix:/path", behind a proxy of your own, or leave TLS on',
                )
    _check_both(reader, ("tls",), {"certificate": tls.certificate, "key": tls.key})
    api = settings.helpscout
    _check_both(reader, ("helpscout",), {"api_id": api.api_id, "api_secret": api.api_secret})
    if clean(("helpscout",)) and api.fill and api.api_id is None:
        hint = "add api_id and api_secret under [helpscout], or remove fill"
        fault(("helpscout", "fill"), "is for the Inbox API, which is not configured", hint)
    customers = settings.customers
    columns = {"addresses": customers.addresses or (), "on": tuple(each.on for each in settings.related if each.on)}
    seen: dict[str, str] = {}
    for each in settings.related:
        path, name = ("related", each.name), each.name.lower()
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
            fault(path, "must be a name that a card can use", "use letters, digits and _, such as [related.orders]")
        for what in (key for key, names in columns.items() if name in map(str.lower, names)):
            fault(path, f"is also a column of the customers, named by {what}", "give the table another name")
        if seen.setdefault(name, each.name) != each.name:
            fault(path, f"differs from related.{seen[name]} in case only", "give one of them another name")
    for what in ("name", "path"):
        first: dict[str, int] = {}
        for index, app in enumerate(settings.apps):
            own: str | None = getattr(app, what)  # None: a hole
            if own is not None and first.setdefault(own, index) != index:
                hint = f"give each [[app]] a {what} of its own"
                fault(("app", index, what), f"is also that of app[{first[own]}]", hint, values.shown(own))


def _check_both(reader: Reader, table: KeyPath, pair: Mapping[str, object]) -> None:
    """Check that both of a pair are given, or none."""
    given = [key for key, found in pair.items() if found is not None]
    if len(given) == 1 and reader.clean(*((*table, key) for key in pair)):
        other = next(key for key in pair if key not in given)
        hint = f"add {other} under [{table[0]}], or remove both"
        reader.fault((*table, given[0]), f"is given without {table[0]}.{other}", hint)


def _default_state(environ: Mapping[str, str], user: object) -> str:
    """Return the state folder's default, or "" when the environment names none."""
    if first := environ.get("STATE_DIRECTORY", "").split(":")[0]:  # systemd names one for each StateDirectory=
        return first
    if user:  # HOME is root's then, which this user cannot enter
        return "/var/lib/sidebard"
    for variable, below in (("XDG_STATE_HOME", "sidebard"), ("HOME", ".local/state/sidebard")):
        if (base := environ.get(variable, "")).startswith("/"):  # the XDG specification: a relative one is ignored
            return os.path.join(base, below)
    return ""


def read_text(file: Path) -> str:
    """Read a file in UTF-8. Raises OSError and UnicodeDecodeError."""
    return file.read_bytes().decode("utf-8-sig")  # Windows editors begin a file with a byte order mark


def _file_fault(file: Path, error: Exception, text: str) -> Fault:
    """Return why a file with this text is not TOML."""
    if isinstance(error, UnicodeDecodeError):
        line = error.object.count(b"\n", 0, error.start) + 1
        return Fault(file, line, "", "is not UTF-8", None, "save the file as UTF-8")
    if isinstance(error, OSError):
        hint = {
            FileNotFoundError: "put the file there, or name another with --config",
            IsADirectoryError: "name a file in that folder with --config",
            PermissionError: "let the user that runs sidebard read it, for example with chgrp sidebard and chmod 0640",
        }.get(type(error), "name a file that can be read with --config")
        return Fault(file, None, "", f"cannot be read: {error.strerror}", None, hint)
    if not isinstance(error, tomllib.TOMLDecodeError):  # brackets thousands deep, an endless number, a path with NUL
        return Fault(file, None, "", "is not a config file", None, "name another with --config")
    message = str(error)
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    reason = f"not valid TOML: {message[: place.start()]}, column {place[2]}" if place else f"not valid TOML: {message}"
    number = int(place[1]) if place else None
    hint = syntax_hint(message, text.split("\n")[number - 1] if number else "")
    return Fault(file, number, "", reason, None, hint)
