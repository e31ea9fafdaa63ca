"""README's own words on fresh machines: bare Debian systems with nothing installed but what README names.

For each release: the packages, a clone of the commit, `make run` with its printed request, `make test` while that still
serves, as root in Debian 12 and as an ordinary user in every other, and `make deb`. What Debian 12 makes is copied
into dist/, for the tests of the packages, once a second build has given the same bytes. Nothing may come from what
this machine happens to have, but everything through its settings: apt's archive, pip's configuration, proxies and
authorities.

Usage: fresh_machine.py RELEASE... (as root; what is not committed is not tried)
"""

from __future__ import annotations

import configparser
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.package.base import ROOT, NoMachine, base, copy, enter, first_process, remove

CACHE = ROOT / ".cache"
PATIENCE = 300.0  # for `make run`, which installs what the service needs first
USER = "newcomer"
BINARY = "make binary"
SAME = (
    "sidebard",
    "sidebard.cdx.json",
)  # whoever builds a commit, and wherever; the archive and packages follow from it
RELEASED = "bookworm"  # whose build is tried further: it runs with every newer C library
SUITE_AS_ROOT = ("bookworm",)  # it takes minutes: once for each release will do
CUSTOMER = "Ada Lovelace"
REFUSED = "The signature is missing or wrong."
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
APT = 'APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\nDpkg::Use-Pty "false";\n'


class Failure(Exception):
    """Something that README promises did not happen; the text says what."""


class Words(NamedTuple):
    """The commands in README's "Try it", word for word."""

    packages: str
    run: str
    test: str
    deb: str


class Settings(NamedTuple):
    """This machine's own settings for pip, and the local files and folders that they name."""

    environ: dict[str, str]
    files: list[Path]
    folders: list[Path]


def main(releases: list[str]) -> None:
    """Try each release in turn, on two cores the tests of one take all of them; say how long everything took."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that what was begun is cleaned up
    minutes: list[tuple[str, float]] = []
    try:
        for release in releases:
            try_release(release, minutes)
    except (Failure, NoMachine) as failure:
        sys.exit(f"fresh_machine.py: {failure}")
    finally:
        print("\n".join(["", *(f"{took / 60:5.1f} min  {what}" for what, took in minutes)]), flush=True)


def try_release(release: str, minutes: list[tuple[str, float]]) -> None:
    """Do all that README says, on one fresh machine. Raise Failure or NoMachine."""

    @contextlib.contextmanager
    def step(what: str) -> Iterator[None]:
        print(f"\n== {release}: {what}", flush=True)
        began = time.monotonic()
        yield
        minutes.append((f"{release}: {what}", time.monotonic() - began))

    with step("a bare system"):
        folder = CACHE / "fresh" / release
        remove(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        copy(base(release), folder)
    try:
        with System(folder, pip_settings()) as system:
            words = readme_words()
            with step("the packages that README names"):
                system.bring_settings()  # the archive may be reached by https
                system.output("apt-get update")
                system.output(words.packages)
                system.bring_settings()  # again, for ca-certificates has written its own
            with step("clones"):
                system.run(f"useradd --create-home {USER}")
                home, other = clone(folder, "root"), clone(folder, f"home/{USER}")
                system.run(f"chown --recursive {USER}: {other} /var/cache/pip/{USER}")
            with contextlib.ExitStack() as service:
                with step(words.run):
                    request = service.enter_context(system.served(words.run, home, folder.with_suffix(".log")))
                    card_and_refusal(system, request)
                tested, user = (home, "root") if release in SUITE_AS_ROOT else (other, USER)
                with step(f"{words.test}, as {user}"):
                    system.run(words.test, tested, user)
            with step(words.deb):
                build(system, words.deb, folder, home)
            if release == RELEASED:
                with step(f"{BINARY}, as a user, elsewhere"):
                    system.run(BINARY, other, USER)
                    publish(folder / home[1:] / "dist", folder / other[1:] / "dist")
    finally:
        remove(folder)


def readme_words() -> Words:
    """Return the commands. Raise Failure."""
    section = (ROOT / "README.md").read_text().partition("## Try it\n")[2].partition("\n## ")[0]
    found = [block.strip() for block in re.findall(r"```sh\n(.*?)```", section, re.DOTALL)]
    if len(found) != len(Words._fields):
        raise Failure(f'README\'s "Try it" has other commands than {", ".join(Words._fields)}: {found}')
    return Words(*found)


def clone(folder: Path, home: str) -> str:
    """Clone the commit that is tried into a home of the system; return where it is, seen from inside."""
    place = folder / home / "sidebard"
    subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", place], check=True)
    subprocess.run(["git", "-C", place, "--no-pager", "log", "-1", "--oneline"], check=True)
    return f"/{home}/sidebard"


def card_and_refusal(system: System, request: str) -> None:
    """Paste the printed request, then the same with another letter in its body. Raise Failure."""
    for asked, wanted in ((request, CUSTOMER), (request.replace("ada@", "adb@"), REFUSED)):
        said = system.output(asked)
        print(f"{asked}\n{said}", flush=True)
        if wanted not in said:
            raise Failure(f"no {wanted!r} in the answer to the request that `make run` printed")


def build(system: System, words: str, folder: Path, home: str) -> None:
    """Build the packages, once the build has said what it lacks: all at once, and before it does anything."""
    lacks = system.output(words, home, check=False)
    print(lacks, flush=True)
    line = re.search(r"apt-get install .*", lacks)
    if line is None or (folder / home[1:] / ".venv-build").exists():
        raise Failure(f"`{words}` does not say at once what it lacks")
    system.output(line[0])
    system.run(words, home)
    made = {file.suffix for file in (folder / home[1:] / "dist").iterdir()}
    if not {".deb", ".rpm"} <= made:
        raise Failure(f"`{words}` made no packages, only {sorted(made)}")


def publish(dist: Path, other: Path) -> None:
    """Copy what was built into dist/ here, if another build of the same commit gave the same bytes. Raise Failure."""
    for name in SAME:
        if (dist / name).read_bytes() != (other / name).read_bytes():
            raise Failure(f"dist/{name} of two builds in two folders, by two users, is not the same")
    folders = [each.parent / "build/out/folder" for each in (dist, other)]  # which the packages contain
    if subprocess.run(["diff", "--recursive", "--brief", *folders], check=False).returncode:
        raise Failure("the folder of the packages of two builds is not the same")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    shutil.copytree(dist, ROOT / "dist")


class System:
    """A Debian system in a folder that runs on this machine's network; what is started in it ends with it."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        """Start it with what every machine has: a name for itself, and here answers for apt's questions."""
        self.folder = folder
        self.settings = settings
        (folder / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
        (folder / "etc/apt/apt.conf.d/90fresh-machine").write_text(APT)
        for user in ("root", USER):
            (CACHE / "pip" / user).mkdir(parents=True, exist_ok=True)
        binds = [f"--bind-ro={path}" for path in settings.folders]
        self._process = subprocess.Popen(
            [
                *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2", "--console=pipe"),
                *("--resolv-conf=replace-host", *binds, f"--bind={CACHE / 'pip'}:/var/cache/pip"),
                *(f"--directory={folder}", "sh", "-c", "echo up; exec cat"),
            ],
            stdin=subprocess.PIPE,  # it ends with this pipe, however this program ends
            stdout=subprocess.PIPE,
            env={**os.environ, "SYSTEMD_NSPAWN_TMPFS_TMP": "0"},  # /tmp is on disk in Debian 12, and large enough
        )
        up = self._process.stdout.readline() if self._process.stdout else b""
        first = first_process(self._process.pid) if up == b"up\n" else None
        if first is None:
            self._process.kill()
            self._process.wait()
            raise NoMachine(f"systemd-nspawn did not start {folder}")
        self._first = first

    def __enter__(self) -> System:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End everything in it, and wait for that: with its first process the kernel ends all others."""
        self._process.communicate()

    def bring_settings(self) -> None:
        """Return pip this machine's settings, and everything the authorities that this machine trusts."""
        for file in {*self.settings.files, AUTHORITIES}:
            if file.is_file():
                place = self.folder / str(file)[1:]
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, place)
                place.chmod(0o644)

    def command(self, script: str, folder: str, user: str) -> tuple[list[str], dict[str, str]]:
        """Return how to run a shell script in it, and with which environment."""
        become = [] if user == "root" else ["runuser", f"--user={user}", "--"]
        home = "/root" if user == "root" else f"/home/{user}"
        environ = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": home,
            "DEBIAN_FRONTEND": "noninteractive",
            **self.settings.environ,
            "PIP_CACHE_DIR": f"/var/cache/pip/{user}",
        }
        return [*enter(self._first, folder), *become, "sh", "-e", "-c", script], environ

    def run(self, script: str, folder: str = "/", user: str = "root") -> None:
        """Run a shell script in it, with its output shown. Raise Failure."""
        command, environ = self.command(script, folder, user)
        ended = subprocess.run(command, env=environ, stdin=subprocess.DEVNULL, check=False)
        if ended.returncode:
            raise Failure(f"in {self.folder.name}, as {user}: `{script}` ended with {ended.returncode}")

    def output(self, script: str, folder: str = "/", *, check: bool = True) -> str:
        """Run a shell script in it as root; return what it says, which is shown if it fails. Raise Failure."""
        command, environ = self.command(script, folder, "root")
        ended = subprocess.run(
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if check and ended.returncode:
            raise Failure(f"in {self.folder.name}: `{script}` ended with {ended.returncode}:\n{ended.stdout}")
        return ended.stdout

    @contextlib.contextmanager
    def served(self, script: str, folder: str, log: Path) -> Iterator[str]:
        """Run the service as a reader does, until Ctrl-C; give the request that it prints. Raise Failure."""
        command, environ = self.command(script, folder, "root")
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, env=environ, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        try:
            self._wait_for("serving", log, process)
            print(log.read_text(), flush=True)
            yield next(line for line in log.read_text().splitlines() if line.startswith("curl "))
            os.killpg(process.pid, signal.SIGINT)
            self._wait_for("stopped", log)
        finally:
            process.kill()
            process.wait()
            log.unlink()

    @staticmethod
    def _wait_for(event: str, log: Path, process: subprocess.Popen[bytes] | None = None) -> None:
        end = time.monotonic() + PATIENCE
        while event not in log.read_text():
            if time.monotonic() > end or (process is not None and process.poll() is not None):
                raise Failure(f"the service has no {event!r} in its log:\n{log.read_text()}")
            time.sleep(0.1)


def pip_settings(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> Settings:
    """Return what pip goes by on this machine, its configuration as the environment, for whoever runs pip."""
    home = Path(environ.get("HOME", "/root"))
    configs = [
        root / "etc/xdg/pip/pip.conf",
        root / "etc/pip.conf",
        home / ".pip/pip.conf",
        home / ".config/pip/pip.conf",
    ]
    parser = configparser.RawConfigParser()
    parser.read([*configs, environ.get("PIP_CONFIG_FILE", root / "none")])  # what is missing is passed over, later wins
    handed = {
        f"PIP_{name.upper().replace('-', '_')}": value
        for section in sorted(parser.sections(), key="global".__ne__)  # a command's own section wins over it
        for name, value in parser.items(section)
    }
    handed |= {
        name: value
        for name, value in environ.items()
        if name.startswith("PIP_") or name.lower().endswith("_proxy") or name == "CI"
    }
    handed.pop("PIP_CONFIG_FILE", None)
    words = [word for value in handed.values() for word in value.split()]
    named = list(dict.fromkeys(path for word in words if (path := local_path(word))))
    return Settings(handed, [path for path in named if path.is_file()], [path for path in named if path.is_dir()])


def local_path(word: str) -> Path | None:
    """Return the file or folder that a setting names, if it names one that is here."""
    # The pages of an index refer to files beside it: what is bound is the folder that holds both.
    path = Path(unquote(urlsplit(word).path)).parent if word.startswith("file:") else Path(word)
    return path if path.is_absolute() and path.exists() else None


if __name__ == "__main__":
    main(sys.argv[1:])
