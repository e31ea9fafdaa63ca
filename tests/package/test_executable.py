"""The one file, on this machine: without systemd, where it unpacks itself, and what it leaves behind.

And the folder of the packages, where the two differ.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_interrupts import CUSTOMERS, GAPS, first_output, press_twice, press_until_it_ends, started
from tests.daemon import Daemon, alive, children, until
from tests.server import make_pair
from tests.service.test_hangup import OnTerminal
from tests.service.test_terminal import Terminal


class Unpacked:
    """A folder that the executable unpacks itself into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.environ = {"TMPDIR": str(folder)}

    def now(self) -> list[str]:
        """Give what lies in it."""
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def unpacked(tmp_path):
    return Unpacked(tmp_path / "unpacked")


@pytest.fixture
def installed(package, tmp_path):
    """Return /usr/bin/sidebard of the package, in a folder where anything may be done to it."""
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path / "package"], check=True)
    return tmp_path / "package/usr/bin/sidebard"


def serve(folder: Path, executable: Path, unpacked: Unpacked, **options: Any) -> Daemon:
    environ = {**unpacked.environ, **options.pop("environ", {})}
    daemon = Daemon(folder, program=(str(executable),), environ=environ, **options)
    daemon.wait_for("serving")
    return daemon


def test_says_both_copies_of_openssl(executable):
    said = subprocess.run([executable, "--version", "--verbose"], capture_output=True, text=True, check=True).stdout
    assert said.startswith("sidebard ")
    assert said.count("OpenSSL ") == 3
    assert ", compiled with PGO and LTO\n" in said
    assert "a packaged executable" in said


@pytest.mark.parametrize("build", ["executable", "installed"])
def test_starts_through_the_dynamic_loader(build, request, unpacked):
    """As a file without the x bit can be, or with another C library; /proc/self/exe is then the loader."""
    (loader,) = Path("/").glob("lib*/ld-linux-*.so.[0-9]")
    command = [loader, request.getfixturevalue(build), "--version"]
    ended = subprocess.run(command, env=unpacked.environ, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr, unpacked.now()) == (0, "", [])
    assert ended.stdout.startswith("sidebard ")


def test_serves_reloads_and_leaves_nothing(executable, unpacked, tmp_path):
    with serve(tmp_path, executable, unpacked, workers=2) as daemon:
        assert "Ann Lee" in daemon.ask()
        (name,) = unpacked.now()
        assert int(name[4:12], 16) == daemon.pid
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        assert daemon.stop() == 0
    assert unpacked.now() == []


def test_the_folder_is_one_process_and_unpacks_nothing(installed, unpacked, tmp_path):
    said = subprocess.run([installed, "--version", "--verbose"], capture_output=True, text=True, check=True).stdout
    assert "a packaged folder" in said
    with serve(tmp_path, installed, unpacked, workers=2) as daemon:
        assert "Ann Lee" in daemon.ask()
        assert (len(children(daemon.pid)), unpacked.now()) == (3, [])
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        below = children(daemon.pid)
        os.kill(daemon.pid, signal.SIGKILL)
        assert daemon.end() == -signal.SIGKILL
        until(lambda: not any(map(alive, below)), "the end of all")


def empty(folder: Path) -> None:
    """Remove what lies in a folder, as a cleaner of temporary files does."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def put(file: Path, content: bytes) -> None:
    """Put a file into the place of another at once."""
    beside = file.with_name("beside")
    beside.write_bytes(content)
    beside.rename(file)


PAIR = '[tls]\ncertificate = "server.crt"\nkey = "server.key"\n'
FEW = 'max_shrink = "99%"\n'


@contextlib.contextmanager
def serve_with_pair(folder, executable, unpacked):
    """Serve with TLS; the other value reloads it with other keys of the config."""
    make_pair(folder)
    with serve(folder, executable, unpacked, workers=2, config=PAIR, customer_keys=FEW) as daemon:
        assert "Ann Lee" in daemon.ask()

        def reload(customer_keys: str = "", server: str = "", app: str = "", more: str = PAIR) -> None:
            daemon.write_config(workers=2, more=more, server=server, customer_keys=FEW + customer_keys, app=app)
            daemon.send(signal.SIGHUP)
            daemon.wait_for("reloaded")

        yield daemon, reload
        assert daemon.stop() == 0
        assert [line for line in daemon.lines if line["event"] in ("crash", "stderr", "library")] == []
    assert unpacked.now() == []


ANN = "email,name,plan\nann@example.com,Ann {},Pro\n"
ENCODINGS = ("cp1252", "utf-16-le", "shift_jis", "euc_kr", "gb18030", "iso2022_jp", "big5hkscs", "cp037", "mac_roman")


def test_goes_on_when_its_folder_is_emptied(executable, unpacked, tmp_path):
    with serve_with_pair(tmp_path, executable, unpacked) as (daemon, reload):
        (name,) = unpacked.now()
        empty(unpacked.folder / name)
        said = daemon.wait_for("unpacked_files_gone")
        assert "tmpfiles.d" in said["todo"]
        (supervisor,) = children(daemon.pid)
        import_everything(daemon, reload, supervisor, tmp_path)
        assert [line["event"] for line in daemon.lines].count("unpacked_files_gone") == 1
        checked = subprocess.run(
            [executable, "check", "-q", "--config", daemon.config], capture_output=True, text=True, check=False
        )
        assert checked.stdout.count("was removed; it continues to run; keep what cleans temporary files away") == 1


def test_goes_on_when_an_upgrade_replaces_its_files(installed, unpacked, tmp_path):
    """As the old version does if the new one refuses its config."""
    with serve_with_pair(tmp_path, installed, unpacked) as (daemon, reload):
        for file in [file for file in installed.resolve().parent.rglob("*") if file.is_file()]:
            put(file, b"another version")
        import_everything(daemon, reload, daemon.pid, tmp_path, ENCODINGS[:2])


def only(found):
    """Return what was found, if it is one: that of before a reload may be about to end."""
    found = list(found)
    return found if len(found) == 1 else []


def import_everything(daemon, reload, supervisor, tmp_path, encodings=ENCODINGS):
    """Have what was never imported before imported: codecs, libraries, time zones, RE2, templates, cryptography."""
    reload()
    for path in ("/", "/healthz", "/metrics", "/status.css", "/status.js"):
        assert daemon.admin(path)[0] == 200
    assert daemon.admin("/nothing")[0] == 404
    put(tmp_path / "customers.csv", ANN.format("BOM").encode("utf-16"))
    until(lambda: "Ann BOM" in daemon.ask(), "UTF-16")
    for encoding in encodings:
        put(tmp_path / "customers.csv", ANN.format(encoding).encode(encoding))
        reload(f'encoding = "{encoding}"')
        until(lambda name=encoding: f"Ann {name}" in daemon.ask(), encoding)
    stewards = until(lambda: only(pid for pid in children(supervisor) if not daemon._has_public(pid)), "one steward")
    os.kill(stewards[0], signal.SIGKILL)
    daemon.wait_for("steward_died")
    until(lambda: _status(daemon) == 200, "the next steward")
    put(tmp_path / "customers.csv", ANN.format("again").encode(encodings[-1]))
    until(lambda: "Ann again" in daemon.ask(), "an import of the next steward")
    database = sqlite3.connect(tmp_path / "c.db")
    database.executescript("create table t(email, name); insert into t values('ann@example.com', 'Ann Sql')")
    database.close()
    config = daemon.config.read_text().replace("customers.csv", "c.db")
    daemon.config.write_text(config.replace(f'encoding = "{encodings[-1]}"', 'table = "t"'))
    daemon.send(signal.SIGHUP)
    daemon.wait_for("reloaded")
    until(lambda: "Ann Sql" in daemon.ask(), "SQLite")
    put(tmp_path / "customers.csv", ANN.format("Lee").encode())
    (tmp_path / "card.html").write_text('<p>{{ customers[0]["name"] }} on {{ as_of.strftime("%Z") }}</p>')
    subject = "[[app.subject]]\npattern = '#(\\d+)'\ncolumn = \"plan\"\n"
    reload(server='timezone = "Europe/Berlin"', app=f'card = "card.html"\n{subject}')
    until(lambda: "Ann Lee on CE" in daemon.ask(), "a template")
    make_pair(tmp_path)
    daemon.wait_for("certificate_changed")
    daemon.wait_for("reloaded")
    reload(more="")  # to a certificate that is made here
    daemon.wait_for("certificate_changed")  # as it is new: other workers come once more
    daemon.wait_for("reloaded")
    workers = until(lambda: [pid for pid in children(supervisor) if daemon._has_public(pid)], "the workers")
    os.kill(workers[0], signal.SIGKILL)
    daemon.wait_for("worker_died")
    assert daemon.post(b"{}", b"wrong") == 403
    until(lambda: "Ann Lee" in daemon.ask(), "a card")


def _status(daemon: Daemon) -> int:
    try:
        return daemon.admin("/healthz")[0]
    except (OSError, http.client.HTTPException):
        return 0


def test_a_preview_goes_on_when_its_folder_is_emptied(executable, tmp_path):
    with started(tmp_path, "preview", *CUSTOMERS, "--no-browser", program=(str(executable),)) as process:
        first_output(process)
        address = process.stdout.readline().decode().strip()
        (unpacked,) = tmp_path.glob("_MEI*")
        empty(unpacked)
        for part in ("preview", "preview.js", "sidebar.css", "icon.svg"):
            with urllib.request.urlopen(address.removesuffix("preview") + part, timeout=10) as answer:
                assert answer.status == 200
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize("build", ["executable", "installed"])
def test_start_to_the_first_answer(build, request, unpacked, tmp_path, measured):
    program = request.getfixturevalue(build)
    with serve(tmp_path, program, unpacked) as daemon:  # leaves a snapshot behind
        assert daemon.stop() == 0
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        with Daemon(tmp_path, program=(str(program),), environ=unpacked.environ) as daemon:
            assert "Ann Lee" in until(lambda here=daemon: _answer(here), "an answer")
            seconds.append(time.monotonic() - began)
            assert daemon.stop() == 0
    measured(median=f"{sorted(seconds)[2]:.2f} s", slowest=f"{max(seconds):.2f} s")


def _answer(daemon: Daemon) -> str:
    try:
        return daemon.ask()
    except ConnectionRefusedError:
        return ""


def test_offers_no_more_groups_than_mozilla_allows(executable, unpacked, tmp_path):
    """Its OpenSSL reads the configuration that was packed with it: X448 and P-521 are not agreed to."""
    with serve(tmp_path, executable, unpacked) as daemon:
        for group, agreed in (("P-256", True), ("P-521", False), ("X448", False)):
            asked = ["openssl", "s_client", "-connect", f"127.0.0.1:{daemon.port}", "-groups", group, "-brief"]
            ended = subprocess.run(asked, input=b"", capture_output=True, check=False, timeout=20)
            assert (ended.returncode == 0) is agreed, (group, ended.stderr)
        assert daemon.stop() == 0


def test_killed_bootloader_ends_the_service_in_good_order(executable, unpacked, tmp_path):
    with serve(tmp_path, executable, unpacked) as daemon:
        (supervisor,) = children(daemon.pid)
        family = [supervisor, *children(supervisor)]
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.wait_for("stopped")
        until(lambda: not any(map(alive, family)), "the end of all")
        until(lambda: unpacked.now() == [], "an empty folder")


def test_killed_supervisor_ends_all(executable, unpacked, tmp_path):
    with serve(tmp_path, executable, unpacked) as daemon:
        (supervisor,) = children(daemon.pid)
        below = children(supervisor)
        os.kill(supervisor, signal.SIGKILL)
        assert daemon.end() == -signal.SIGKILL  # the bootloader ends as its child did
        until(lambda: not any(map(alive, below)), "the end of all")
    assert unpacked.now() == []


def test_removes_what_predecessors_left_in_its_own_cache_folder(executable, unpacked, tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    stale, others = f"_MEI{ended.pid:08x}aBcDeF", f"_MEI{os.getpid():08x}aBcDeF"
    for name in (stale, others, "_MEI", "mine"):
        (unpacked.folder / name).mkdir()
        (unpacked.folder / name / "file").touch()
    with serve(tmp_path, executable, unpacked, environ={"CACHE_DIRECTORY": str(unpacked.folder)}) as daemon:
        assert stale not in unpacked.now()
        assert {others, "_MEI", "mine"} < set(unpacked.now())
        assert daemon.stop() == 0


def test_under_nohup_it_outlives_its_terminal(executable, unpacked, tmp_path):
    running = OnTerminal(tmp_path, "nohup", True, (str(executable),), unpacked.environ)
    with running.daemon as daemon:
        daemon.wait_for("serving")
        running.close()
        daemon.wait_for("terminal_gone")
        assert "Ann Lee" in daemon.ask()
        assert daemon.stop() == 0


def test_under_nohup_it_reloads(executable, unpacked, tmp_path):
    running = OnTerminal(tmp_path, "nohup", True, (str(executable),), unpacked.environ)
    with running.daemon as daemon:
        daemon.wait_for("serving")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reloaded")
        assert daemon.stop() == 0
        running.close()


@pytest.mark.parametrize("gap", GAPS)
def test_a_preview_ends_in_silence(gap, executable, unpacked, tmp_path):
    with started(tmp_path, "preview", *CUSTOMERS, "--no-browser", program=(str(executable),)) as process:
        first_output(process)
        press_twice(process, gap)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")


def test_presses_while_it_removes_its_files_leave_none_behind(executable, unpacked, tmp_path):
    with started(unpacked.folder, "preview", *CUSTOMERS, "--no-browser", program=(str(executable),)) as process:
        first_output(process)
        press_until_it_ends(process)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors, unpacked.now()) == (0, b"", [])


def test_it_ends_by_the_signal_that_ended_its_child(executable, unpacked):
    arguments = ("requests", *CUSTOMERS, "--secret-file", "conf/demo-secret", "--count", "10000000")
    with started(unpacked.folder, *arguments, program=(str(executable),)) as process:
        first_output(process)
        os.kill(children(process.pid)[0], signal.SIGTERM)
        process.communicate(timeout=20)
    assert (process.returncode, unpacked.now()) == (-signal.SIGTERM, [])


def test_on_a_terminal_it_ends_with_it(executable, unpacked, tmp_path):
    terminal = Terminal(tmp_path, ("/usr/bin/env", f"TMPDIR={unpacked.folder}", str(executable)))
    with terminal.daemon:
        terminal.wait_for(b"serving")
        os.close(terminal.master)
        assert terminal.daemon.end() == 0
    assert unpacked.now() == []


@pytest.fixture
def mounts(tmp_path):
    """Give a function that mounts a tmpfs with options."""
    made = []

    def mount(options: str) -> Path:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
        made.append(folder)
        return folder

    yield mount
    for folder in made:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("options", "why"),
    [("noexec", "mounted noexec"), ("size=3m", "3 MB free"), ("ro", "Read-only file system")],
)
def test_passes_over_a_folder_that_will_not_do(executable, mounts, options, why):
    """It takes the next one; and when there is none, it says of each why, in one sentence, and exits with 3."""
    folder = mounts(options)
    environ = {"TMPDIR": str(folder), "PATH": os.environ["PATH"]}
    assert subprocess.run([executable, "--version"], env=environ, check=True, capture_output=True).stderr == b""
    covered = 'for folder in /tmp /var/tmp; do mount -t tmpfs -o ro tmpfs $folder; done; exec "$0" --version'
    with tempfile.TemporaryDirectory(dir="/root") as place:  # /tmp, and what may be built below it, is covered up
        program = shutil.copy(executable, place)
        shutil.copytree(folder, Path(place, "folder"))
        script = f"mount --bind {folder} {place}/folder; {covered}"
        ended = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, program],
            env={**environ, "TMPDIR": f"{place}/folder"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 3
    (line,) = ended.stderr.splitlines()
    assert line.startswith("sidebard: no folder to unpack itself into (")
    assert f"{place}/folder: {why}, /tmp: Read-only file system" in line
    assert "set TMPDIR to one that is writable, has " in line


def test_does_not_start_with_a_file_that_lacks_its_end(executable, unpacked, tmp_path):
    """As when others fill the disk meanwhile. Here files may have one byte less than the largest has."""
    with serve(tmp_path, executable, unpacked) as daemon:
        largest = max(path.stat().st_size for path in unpacked.folder.rglob("*.so*"))
        assert daemon.stop() == 0
    ended = subprocess.run(
        ["prlimit", f"--fsize={largest - 1}", executable, "--version"],
        env={**unpacked.environ, "PATH": os.environ["PATH"]},
        restore_signals=False,  # Python ignores SIGXFSZ, which would kill it
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, unpacked.now()) == (3, [])
    assert "failed to write it!" in ended.stderr
    assert "File too large" in ended.stderr


def test_as_root_it_becomes_the_user_of_the_config(executable):
    """Everything that it loads later, it can still load: at a reload it reads the certificate with cryptography."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        daemon = Daemon(folder, program=(str(executable),), environ={"TMPDIR": place}, server='user = "nobody"')
        with daemon:
            daemon.wait_for("serving")
            (folder / "secret").chmod(0o644)
            assert "Ann Lee" in daemon.ask()
            daemon.send(signal.SIGHUP)
            daemon.wait_for("reloaded")
            assert daemon.stop() == 0


def test_check_as_root_looks_with_the_eyes_of_the_service(executable):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        folder = Path(place)
        folder.chmod(0o755)
        daemon = Daemon(folder, program=(str(executable),), environ={"TMPDIR": place})
        with daemon:
            daemon.wait_for("serving")
            assert daemon.stop() == 0
        for path in (folder / "state", *(folder / "state").rglob("*")):
            shutil.chown(path, "nobody")
        command = [executable, "check", "--json", "--config", folder / "sidebard.toml"]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        assert said.stderr == ""
        assert json.loads(said.stdout)
