"""When the source is imported."""

import pytest

from appliance.service.refresh import Watch


def decisions(watch, *looks, again=False):
    """Look at the source and import whenever it is due; give what was decided at each look."""
    decided = []
    for look in looks:
        due = watch.due(look)
        if due:
            watch.ended(look, again)
        decided.append(due)
    return decided


@pytest.mark.parametrize(
    ("imported", "looks", "decided"),
    [
        pytest.param("", ["a", "a"], [True, False], id="no snapshot: at once"),
        pytest.param("a", ["a", "a"], [False, False], id="nothing new"),
        pytest.param("a", ["b", "b", "b"], [False, True, False], id="new, and at rest at the second look"),
        pytest.param("a", ["b", "c", "d", "d"], [False, False, False, True], id="still being written"),
        pytest.param("a", ["b", "a", "a"], [False, False, False], id="and back again"),
        pytest.param("a", ["-", "-", "b", "b"], [False, True, False, True], id="gone, and there again"),
    ],
)
def test_due(imported, looks, decided):
    assert decisions(Watch(imported), *looks) == decided


def test_after_a_refusal_that_may_pass_every_look_tries():
    watch = Watch("a")
    assert decisions(watch, "b", "b", "b", "b", again=True) == [False, True, True, True]
    watch.ended("b")
    assert decisions(watch, "b") == [False]


def test_settling():
    watch = Watch("a")
    watch.due("a")
    assert not watch.settling
    watch.due("b")
    assert watch.settling
    watch.due("b")
    watch.ended("b")
    assert not watch.settling


def test_a_source_that_is_being_written_is_not_due():
    watch = Watch("a")
    assert [watch.due("b", rested=rested) for rested in (True, False, False, True)] == [False, False, False, True]
    nothing = Watch()
    assert [nothing.due("b", rested=rested) for rested in (False, True)] == [False, True]


def test_what_may_pass_is_not_read_in_the_middle_of_a_change():
    watch = Watch("a")
    assert decisions(watch, "b", "b", "c", "d", "d", again=True) == [False, True, False, False, True]


@pytest.mark.parametrize(
    ("has", "looks", "decided"),
    [
        pytest.param("b", ["b", "b"], [False, False], id="what was imported is there"),
        pytest.param("", ["b", "b"], [True, False], id="nothing is there any more: at once"),
        pytest.param("a", ["b", "b", "b"], [True, False, False], id="an older one is there"),
    ],
)
def test_a_snapshot_that_was_removed_is_made_again(has, looks, decided):
    watch = Watch("a")
    decisions(watch, "b", "b")
    watch.has("b")
    watch.has(has)
    assert decisions(watch, *looks) == decided


def test_a_bad_source_without_a_snapshot_is_read_once():
    watch = Watch()
    for decided in (True, False, False):
        watch.has("")
        assert decisions(watch, "b") == [decided]
