"""The table "When something runs out" in docs/reliability.md: every cell has tests, which are named here."""

from __future__ import annotations

import ast
import re

import pytest

from tests.daemon import ROOT

PROCESSES = ("supervisor", "worker", "steward", "import")
HEALING = "service/test_healing.py"
FAULTS = "service/test_faults.py"

# By the words that a row begins with: for each process, the tests that hold the cell, as FILE::TEST.
CELLS: dict[str, tuple[tuple[str, ...], ...]] = {
    "descriptors": (
        (f"{HEALING}::test_a_supervisor_without_descriptors_refuses_a_reload_and_goes_on",),
        (
            f"{HEALING}::test_a_worker_without_descriptors_lets_clients_and_new_data_wait",
            "system/test_descriptors.py::test_more_attackers_than_descriptors",
        ),
        (f"{HEALING}::test_a_steward_without_descriptors_waits_for_some",),
        (
            "ingest/test_damage.py::test_a_child_without_descriptors_is_a_refusal_that_may_pass",
            "ingest/test_damage.py::test_a_child_that_cannot_be_started_is_a_refusal_that_may_pass",
        ),
    ),
    "processes and threads": (
        (
            f"{HEALING}::test_a_fork_that_fails_ends_nothing",
            "service/test_fleet.py::test_a_failed_fork_is_said_once_and_tried_again",
        ),
        (
            f"{HEALING}::test_a_trail_without_a_thread_waits_for_one",
            "observe/test_audit_trail.py::test_a_thread_that_cannot_start_is_said_and_tried_again",
        ),
        (f"{HEALING}::test_an_import_that_cannot_be_started_is_tried_again",),
        ("ingest/test_damage.py::test_a_large_file_is_read_in_one_process_if_there_can_be_no_second",),
    ),
    "memory": (
        ("service/test_fleet.py::test_a_failed_fork_is_said_once_and_tried_again",),
        (f"{FAULTS}::test_a_killed_worker_is_replaced_within_a_second",),
        (f"{FAULTS}::test_a_killed_steward_is_replaced_and_nobody_notices",),
        ("ingest/test_damage.py::test_a_child_has_limits",),
    ),
    "disk": (
        (f"{HEALING}::test_a_log_on_a_full_disk_is_counted_and_stops_nothing",),
        (
            f"{HEALING}::test_a_log_on_a_full_disk_is_counted_and_stops_nothing",
            "observe/test_audit_trail.py::test_a_full_disk_is_said_once_and_tried_again",
            "observe/test_audit_trail.py::test_when_too_many_wait_the_next_are_lost_and_counted",
        ),
        ("service/test_state_folder.py::test_a_full_disk_leaves_no_empty_key",),
        (
            "ingest/test_resources.py::test_a_full_disk",
            "ingest/test_resources.py::test_a_limit_on_file_size",
        ),
    ),
    "state folder": (
        (f"{HEALING}::test_a_file_in_the_place_of_the_state_folder_is_said_and_survived",),
        (
            f"{HEALING}::test_a_state_folder_that_was_removed_is_made_again",
            "customers/test_snapshot.py::test_a_snapshot_knows_whether_its_path_is_still_its_own",
        ),
        (
            f"{HEALING}::test_a_file_in_the_place_of_the_state_folder_is_said_and_survived",
            f"{HEALING}::test_a_state_folder_that_was_removed_is_made_again",
            "service/test_state_folder.py::test_a_folder_that_may_not_be_written",
            "service/test_state_folder.py::test_a_read_only_disk",
        ),
        (
            "customers/test_snapshot_store.py::test_a_folder_that_is_none_holds_nothing",
            "ingest/test_importer.py::test_what_becomes_of_the_folder_during_an_import_is_a_refusal",
        ),
    ),
    "the right time": (
        (f"{HEALING}::test_a_clock_that_jumps_restarts_nothing_and_is_said",),
        (
            f"{HEALING}::test_a_clock_that_jumps_restarts_nothing_and_is_said",
            "sidebar/test_app.py::test_data_grows_old_by_a_clock_that_was_set_back_too",
        ),
        (
            f"{HEALING}::test_a_clock_that_jumps_restarts_nothing_and_is_said",
            "customers/test_since.py::test_age",
        ),
        ("ingest/test_fingerprint.py::test_no_data_is_from_the_future",),
    ),
}


def table() -> list[list[str]]:
    """Give the cells of the table in the docs, the header first."""
    text = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    section = text.partition("## When something runs out\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (.+) \|$", section)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows]


def test_the_docs_have_these_cells_and_no_others() -> None:
    header, *rows = table()
    assert tuple(header[1:]) == PROCESSES
    assert [row[0].partition(":")[0] for row in rows] == list(CELLS)
    assert all(len(row) == len(header) and all(row) for row in rows)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(names, id=f"{row}, {one}")
        for row, cells in CELLS.items()
        for one, names in zip(PROCESSES, cells, strict=True)
    ],
)
def test_every_cell_has_tests_that_exist(names: tuple[str, ...]) -> None:
    assert names
    for name in names:
        file, _, function = name.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
        assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
