"""When changed files are used."""

import pytest

from appliance.service.change_detector import ChangeDetector


def decisions(detector, *looks, retry=False):
    """Look at the source and import whenever it is due; give what was decided at each look."""
    decided = []
    for look in looks:
        due = detector.due(look)
        if due:
            detector.finished(look, retry)
        decided.append(due)
    return decided


@pytest.mark.parametrize(
    ("imported", "looks", "decided"),
    [
        pytest.param("", ["a", "a"], [True, False], id="no snapshot: at once"),
        pytest.param("", ["a", "a", "b", "b"], [True, False, False, True], id="no snapshot, refused, and then changed"),
        pytest.param("a", ["a", "a"], [False, False], id="nothing new"),
        pytest.param("a", ["b", "b", "b"], [False, True, False], id="new, and at rest at the second look"),
        pytest.param("a", ["b", "c", "d", "d"], [False, False, False, True], id="still being written"),
        pytest.param("a", ["b", "a", "a"], [False, False, False], id="and back again"),
        pytest.param("a", ["-", "-", "b", "b"], [False, True, False, True], id="gone, and there again"),
    ],
)
def test_due(imported, looks, decided):
    assert decisions(ChangeDetector(imported), *looks) == decided


def test_after_a_refusal_that_may_pass_every_look_tries():
    detector = ChangeDetector("a")
    assert decisions(detector, "b", "b", "b", "b", retry=True) == [False, True, True, True]
    detector.finished("b")
    assert decisions(detector, "b") == [False]


def test_pending():
    detector = ChangeDetector("a")
    detector.due("a")
    assert not detector.pending
    detector.due("b")
    assert detector.pending
    detector.due("b")
    detector.finished("b")
    assert not detector.pending


def test_a_change_that_is_taken_back_is_no_longer_pending():
    """Else the source would be polled each second for ever."""
    detector = ChangeDetector("a")
    detector.due("b")
    detector.finished("a")
    assert not detector.pending


def test_a_source_that_is_being_written_is_not_due():
    detector = ChangeDetector("a")
    assert [detector.due("b", stable=stable) for stable in (True, False, False, True)] == [False, False, False, True]
    nothing = ChangeDetector()
    assert [nothing.due("b", stable=stable) for stable in (False, True)] == [False, True]


def test_what_may_pass_is_not_read_in_the_middle_of_a_change():
    detector = ChangeDetector("a")
    assert decisions(detector, "b", "b", "c", "d", "d", retry=True) == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("has", "looks", "decided"),
    [
        pytest.param("b", ["b", "b"], [False, False], id="what was imported is there"),
        pytest.param("", ["b", "b"], [True, False], id="nothing is there any more: at once"),
        pytest.param("a", ["b", "b", "b"], [True, False, False], id="an older one is there"),
    ],
)
def test_a_snapshot_that_was_removed_is_made_again(has, looks, decided):
    detector = ChangeDetector("a")
    decisions(detector, "b", "b")
    detector.set_current("b")
    detector.set_current(has)
    assert decisions(detector, *looks) == decided


def test_a_bad_source_without_a_snapshot_is_read_once():
    detector = ChangeDetector()
    for decided in (True, False, False):
        detector.set_current("")
        assert decisions(detector, "b") == [decided]
