"""The steps of an import: killed before each, and what is left."""

import os
import signal

import pytest

from appliance.customers.snapshot import generations
from appliance.ingest import importer
from appliance.ingest.importer import import_customers
from appliance.ingest.spec import ImportRefused
from tests.factory import CUSTOMERS, NOW, Timer, open_snapshot, run_import
from tests.ingest.imports import in_child, write


def test_two_generations_are_kept(spec, folder):
    for generation in (1, 2, 3, 4):
        assert run_import(spec, folder).generation == generation
        assert generations(folder) == [generation, generation - 1][:generation]


def test_what_becomes_of_the_folder_during_an_import_is_a_refusal(spec, folder, tmp_path, monkeypatch):
    def replace_folder(_running):
        folder.rename(tmp_path / "elsewhere")
        folder.touch()

    put_before("_sync", replace_folder, monkeypatch)
    with pytest.raises(ImportRefused) as caught:
        run_import(spec, folder)
    assert caught.value.transient


def test_what_is_left_over_and_cannot_be_removed_is_a_refusal(spec, folder):
    (folder / "left.tmp").mkdir(parents=True)
    with pytest.raises(ImportRefused, match=r"left\.tmp: Is a directory"):
        run_import(spec, folder)


NAMES = [step.__name__ for step in importer.STEPS]


def put_before(name, step, monkeypatch):
    """Have an import run a step of the test's before the one of this name."""
    at = NAMES.index(name)
    monkeypatch.setattr(importer, "STEPS", (*importer.STEPS[:at], step, *importer.STEPS[at:]))


@pytest.mark.parametrize("step", NAMES)
def test_killed_before_a_step(step, spec, folder, monkeypatch):
    """The next start finds the old snapshot or the new one, whole, and the next import leaves nothing behind."""
    run_import(spec, folder)
    write(spec, [*CUSTOMERS, ("new@example.com", "New", "")])

    with monkeypatch.context() as patched:
        put_before(step, lambda _running: os.kill(os.getpid(), signal.SIGKILL), patched)
        assert in_child(lambda: run_import(spec, folder)) == -signal.SIGKILL
    snapshot = open_snapshot(folder, spec)
    snapshot.check()
    published = NAMES.index(step) > NAMES.index("_publish")
    assert (snapshot.generation, snapshot.metadata.rows) == ((2, 7) if published else (1, 6))
    snapshot.close()
    assert run_import(spec, folder).rows == 7
    assert {file.suffix for file in folder.iterdir()} == {".db", ""}
    assert len(generations(folder)) == 2


def test_progress_and_rate(spec, folder):
    seen = []
    timer = Timer()

    def progress(rows, share):
        seen.append((rows, share))
        timer.now += 2.0

    report = import_customers(spec, folder, clock=lambda: NOW, timer=timer, progress=progress)
    assert seen == [(6, 1.0)]
    assert (report.seconds, report.rows_per_second) == (2.0, 3)
