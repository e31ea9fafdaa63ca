"""Whatever happens to the operator's file, nobody gets another set of customers than the old one or the new one."""

import contextlib
import errno
import hashlib
import os
import random
import resource
import select
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from appliance.customers.record import fields_of
from appliance.customers.snapshot_store import open_newest
from appliance.ingest.spec import ImportRefused
from appliance.service import import_child
from appliance.service.import_child import ImportChild, ImportDone, ImportFailed
from tests.factory import import_spec, run_import, write_csv

HEADER = ("email", "name", "plan")


def rows(marker, count=200):
    """A set of customers, each of whom says which set it is of."""
    return [(f"user{n}@example.com", f'Name, "{n}" {marker}', marker) for n in range(count)]


OLD, NEW = rows("old"), rows("new")
SETS = [{row[0]: row for row in OLD}, {row[0]: row for row in NEW}]


def read_all(folder, spec):
    """Give all customers of the newest snapshot by address, as the look-up finds them."""
    snapshot = open_newest(folder, spec.digest())
    try:
        found = {}
        for address, *_ in OLD:
            for record in snapshot.find((address,)):
                found[address] = tuple(value for _, value in fields_of(record))
        return found
    finally:
        snapshot.close()


def import_cut_files(tmp_path, choose):
    """Cut the new set where `choose` says, given its bytes, and check what each import makes of that.

    Cuts that lose more than max_shrink leave the old set; others give the old set, or whole rows of the new. Return the
    numbers of rows that were taken, None for a refusal.
    """
    source = write_csv(tmp_path / "c.csv", [HEADER, *OLD])
    spec = import_spec(source=source)
    run_import(spec, tmp_path / "old")
    whole = write_csv(tmp_path / "new.csv", [HEADER, *NEW]).read_bytes()
    generation = (tmp_path / "old" / "00000001.db").read_bytes()
    seen = set()
    for cut in choose(whole):
        shutil.rmtree(tmp_path / "state", ignore_errors=True)
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "00000001.db").write_bytes(generation)
        source.write_bytes(whole[:cut])
        try:
            taken = run_import(spec, tmp_path / "state").rows
        except ImportRefused:
            taken = None
        found = read_all(tmp_path / "state", spec)
        if taken is None:
            assert found == SETS[0], cut
        else:
            lines = whole[:cut].count(b"\n") - 1
            assert taken in (lines, lines + 1), cut  # a row that lacks only the LF of its CRLF is whole
            assert taken >= 160, cut
            assert found == {row[0]: row for row in NEW[:taken]}, cut
        seen.add(taken)
    return seen


def cuts_of_each_kind(whole):
    """Give every byte of the header and of a row of each kind, and the bytes around row ends: all that may be taken."""
    ends = [index + 1 for index, byte in enumerate(whole) if byte == ord("\n")]
    kinds = (0, 1, 50, 159, 160, len(ends) - 1)  # the header, numbers of one to three digits, the first taken, the last
    inside = [cut for row in kinds for cut in range(ends[row - 1] if row else 0, ends[row] + 1)]
    around = [end + by for row, end in enumerate(ends) if row % 10 == 0 or row > 157 for by in (-2, -1, 0, 1)]
    return sorted({cut for cut in (*inside, *around) if cut <= len(whole)})


@pytest.mark.usefixtures("unmeasured")
def test_cut_at_every_kind_of_byte(tmp_path):
    """make system cuts at every seventh byte, make soak at every one."""
    # At most one row is bad, which is 1 % of 100 rows: every cut that leaves enough of them was taken.
    assert import_cut_files(tmp_path, cuts_of_each_kind) == {None, *range(160, 201)}


def test_cuts_where_a_last_line_without_an_end_is_accepted(tmp_path):
    """Nothing tells a value cut short from a short value; but no cell is missing, and no other row is touched."""
    source = write_csv(tmp_path / "c.csv", [HEADER, *OLD])
    whole = write_csv(tmp_path / "new.csv", [HEADER, *NEW]).read_bytes()
    spec = import_spec(source=source, unterminated_last_line="accept")
    line_ends = [index for index, byte in enumerate(whole) if byte == ord("\n")]
    last_cells = set()
    for cut in range(line_ends[180] + 1, line_ends[181]):
        source.write_bytes(whole[:cut])
        try:
            taken = run_import(spec, tmp_path / "state").rows
        except ImportRefused:
            continue
        found = list(read_all(tmp_path / "state", spec).values())
        assert (found[:180], taken) == (NEW[:180], len(found))
        last_cells.update(found[180:])
    # The email, and the name in its quotes, are whole wherever the row was taken.
    assert last_cells == {(*NEW[180][:2], cut) for cut in ("", "n", "ne", "new")}


def child_import(spec, folder):
    """Import as the service does, in a child."""
    return ImportChild(spec, folder).result()


@pytest.mark.parametrize("cut", [0, 1, 30, 4000, -30, -1])
def test_cut_read_by_a_child(cut, tmp_path):
    source = write_csv(tmp_path / "c.csv", [HEADER, *OLD])
    spec = import_spec(source=source)
    assert isinstance(child_import(spec, tmp_path / "state"), ImportDone)
    whole = write_csv(tmp_path / "new.csv", [HEADER, *NEW]).read_bytes()
    source.write_bytes(whole[:cut])
    result = child_import(spec, tmp_path / "state")
    found = read_all(tmp_path / "state", spec)
    assert isinstance(result, ImportDone) is (cut == -1)  # which leaves the CR of the last CRLF
    assert found == SETS[cut == -1]


# F5: a file that something happens to


def write_database(file, customers):
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE customers(email PRIMARY KEY, name, plan)")
        database.executemany("INSERT INTO customers VALUES(?, ?, ?)", customers)
    database.close()


def write_source(file, customers):
    file.unlink(missing_ok=True)
    if file.suffix == ".csv":
        write_csv(file, [HEADER, *customers])
    else:
        write_database(file, customers)


def clear(file):
    if file.is_dir():
        file.rmdir()
    else:
        file.unlink(missing_ok=True)


def replace(file, whole, dice):
    beside = file.with_suffix(".beside")
    beside.write_bytes(whole)
    beside.rename(file)


def truncate(file, whole, dice):
    os.truncate(file, dice.randrange(len(whole)))


def unlink(file, whole, dice):
    file.unlink()


def overwrite(file, whole, dice):
    with open(file, "r+b") as binary:
        binary.write(whole[: dice.randrange(len(whole))])


def corrupt(file, whole, dice):
    with open(file, "r+b") as binary:
        for _ in range(dice.randint(1, 20)):
            binary.seek(dice.randrange(len(whole)))
            binary.write(dice.randbytes(dice.randint(1, 64)))


def forbid(file, whole, dice):
    file.chmod(0)


def make_folder(file, whole, dice):
    file.unlink()
    file.mkdir()


def make_pipe(file, whole, dice):
    file.unlink()
    os.mkfifo(file)


def append(file, whole, dice):
    with open(file, "ab") as binary:
        binary.write(dice.randbytes(dice.randint(1, 200)))


FAULTS = [replace, truncate, unlink, overwrite, corrupt, forbid, make_folder, make_pipe, append]


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("suffix", [".csv", ".db"])
@pytest.mark.parametrize("seed", range(15))
def test_random_faults(seed, suffix, tmp_path):
    """Ten faults a seed, 300 in all, while a reader checks every customer against the two sets that are allowed.

    The checksum file is what tells damage inside values from values.
    """
    dice = random.Random(f"{seed}{suffix}")
    source, sums = tmp_path / f"c{suffix}", tmp_path / "sums"
    spec = import_spec(source=source, checksum_file=sums)
    wholes = []
    for customers in (OLD, NEW):
        write_source(source, customers)
        wholes.append(source.read_bytes())
    digests = [hashlib.sha256(whole).hexdigest() for whole in wholes]
    source.write_bytes(wholes[0])
    sums.write_text(f"{digests[0]}  c{suffix}\n")
    run_import(spec, tmp_path / "state")

    with reader(tmp_path / "state", spec):
        for number in range(10):
            clear(source)
            source.write_bytes(wholes[number % 2])
            which = dice.randrange(2)
            sums.write_text(f"{digests[which]}  c{suffix}\n")
            dice.choice(FAULTS)(source, wholes[which], dice)
            result = child_import(spec, tmp_path / "state")
            if isinstance(result, ImportDone):
                assert source.read_bytes() == wholes[which]
                assert read_all(tmp_path / "state", spec) == SETS[which]
            else:
                assert isinstance(result, ImportFailed)
                assert len(result.sentence) > 20
            assert read_all(tmp_path / "state", spec) in SETS


@contextlib.contextmanager
def reader(folder, spec):
    """Look up all customers again and again, in a process of its own as a worker does; fail if one is of no set."""
    ending, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        code = 1
        try:
            while read_all(folder, spec) in SETS:
                if select.select([ending], [], [], 0.002)[0]:  # the importer wants the processor, too
                    code = 0
                    break
        finally:
            os._exit(code)
    os.close(ending)
    try:
        yield
    finally:
        os.close(end)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# The child


def test_a_child_that_is_killed_is_a_refusal(tmp_path):
    source = write_csv(tmp_path / "c.csv", [HEADER, *OLD])
    os.mkfifo(tmp_path / "pipe")
    spec = import_spec(source=source)
    child = ImportChild(spec, tmp_path / "state")
    child.kill()
    result = child.result()
    assert isinstance(result, ImportDone) or "killed by signal 9" in result.sentence


IN_LITTLE_MEMORY = """
import sys
from pathlib import Path
from appliance.service import import_child
from tests.factory import import_spec
import_child.MAX_MEMORY = 1024 * 1024  # less than it has already: not one page more
print(import_child.ImportChild(import_spec(source=Path(sys.argv[1])), Path(sys.argv[2])).result())
"""


def test_a_child_has_limits(tmp_path):
    """With no more memory than a fresh process has, 10 MB of rows are a refusal and not the end of the service."""
    source = write_csv(tmp_path / "c.csv", [HEADER, *((f"u{n}@example.com", "x" * 200, "") for n in range(50_000))])
    command = [sys.executable, "-c", IN_LITTLE_MEMORY, str(source), str(tmp_path / "state")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
    assert result.stdout.startswith("ImportFailed(sentence='the import ran out of memory")
    assert "transient=True" in result.stdout


@pytest.mark.parametrize("call", ["pipe", "fork"])
def test_a_child_that_cannot_be_started_is_a_refusal_that_may_pass(call, tmp_path, monkeypatch):
    def refuse():
        raise OSError(errno.EMFILE if call == "pipe" else errno.EAGAIN, "not now")

    spec = import_spec(source=write_csv(tmp_path / "c.csv", [HEADER, *OLD]))
    before = set(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as context:
        context.setattr(os, call, refuse)
        with pytest.raises(ImportRefused, match=r"no process can be started: not now; raise the limit of") as caught:
            ImportChild(spec, tmp_path / "state")
    assert caught.value.transient
    assert set(os.listdir("/proc/self/fd")) == before
    assert isinstance(ImportChild(spec, tmp_path / "state").result(), ImportDone)


def test_a_child_without_descriptors_is_a_refusal_that_may_pass(tmp_path, monkeypatch):
    def none_left(*_):
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    spec = import_spec(source=write_csv(tmp_path / "c.csv", [HEADER, *OLD]))
    with monkeypatch.context() as context:
        context.setattr(import_child, "limit", none_left)
        result = ImportChild(spec, tmp_path / "state").result()
    assert isinstance(result, ImportFailed)
    assert "Too many open files" in result.sentence
    assert result.transient
    assert isinstance(ImportChild(spec, tmp_path / "state").result(), ImportDone)


def test_a_large_file_is_read_in_one_process_if_there_can_be_no_second(tmp_path, monkeypatch):
    def refuse():
        raise BlockingIOError(errno.EAGAIN, "not now")

    monkeypatch.setattr("appliance.ingest.snapshot_builder._LARGE", 0)
    monkeypatch.setattr(os, "fork", refuse)
    spec = import_spec(source=write_csv(tmp_path / "c.csv", [HEADER, *OLD]))
    before = set(os.listdir("/proc/self/fd"))
    assert run_import(spec, tmp_path / "state").rows == len(OLD)
    assert set(os.listdir("/proc/self/fd")) == before
