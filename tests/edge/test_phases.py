"""The phases of a connection, and that no other transition is made than the table has."""

from __future__ import annotations

import itertools

import pytest

from appliance.edge.phases import ENDS, OPEN, PAUSED, TRANSITIONS, IllegalTransition, Phase
from tests.edge.wire import Wire, make_site


def test_every_phase_has_its_place() -> None:
    assert set(TRANSITIONS) == set(Phase)
    assert all(phase not in after for phase, after in TRANSITIONS.items())
    assert PAUSED < OPEN
    assert all(TRANSITIONS[phase] >= ENDS for phase in OPEN)
    assert not any(OPEN & TRANSITIONS[phase] for phase in set(Phase) - OPEN)


def test_every_phase_is_reached() -> None:
    reached, new = set(), {Phase.READING}
    while new:
        reached |= new
        new = set().union(*(TRANSITIONS[phase] for phase in new)) - reached
    assert reached == set(Phase)


@pytest.mark.parametrize(
    ("before", "after"),
    [(before, after) for before, after in itertools.product(Phase, Phase) if after not in TRANSITIONS[before]],
    ids=lambda phase: phase.name,
)
def test_no_other_transition_is_made(before: Phase, after: Phase) -> None:
    wire = Wire(make_site({}))
    wire.connection._phase = before
    with pytest.raises(IllegalTransition, match=f"{after.name} cannot follow {before.name}"):
        wire.connection._enter(after)
