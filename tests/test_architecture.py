"""docs/architecture.md describes the code as it is."""

from __future__ import annotations

import re
from pathlib import Path

from appliance.edge.phases import ENDS, PAUSED, TRANSITIONS, Phase
from appliance.service.fleet import State
from tests.test_house import ROOMS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")


def section(title: str) -> str:
    return PAGE.partition(f"# {title}\n")[2].partition("\n#")[0]


def test_every_file_and_folder_that_it_names_is_there() -> None:
    named = re.findall(rf"\b(?:appliance/)?((?:{'|'.join(ROOMS)})(?:/\w+)*(?:/|\.py))", PAGE)
    assert len(named) > 20
    assert [path for path in named if not (ROOT / "appliance" / path).exists()] == []


def test_the_rooms_are_all_there_and_in_order() -> None:
    rooms = re.findall(r"(?m)^(\w+) {2,}\S", section("The rooms"))
    assert sorted(rooms) == sorted(ROOMS)
    for number, room in enumerate(rooms):
        assert set(ROOMS[room]) <= set(rooms[number + 1 :]), f"{room} stands below what it imports"


def test_the_states_of_a_connection_are_the_table_of_the_code() -> None:
    lines = re.findall(r"(?m)^\| `[A-Z]+` \|.*$", section("The states of a connection"))
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    assert [name for name, *_ in rows] == [phase.name for phase in Phase]
    for name, _, reads, _, following in rows:
        phase = Phase[name]
        assert {Phase[each] for each in re.findall(r"[A-Z]+", following)} == TRANSITIONS[phase] - ENDS, name
        assert (reads == "no") is (phase in PAUSED or phase in ENDS), name


def test_the_states_of_a_child_are_those_of_the_code() -> None:
    states = re.findall(r"(?m)^\| `([A-Z]+)` \|", section("The states of a child"))
    assert states == [state.name for state in State]


def test_a_body_passes_few_modules_and_none_twice() -> None:
    listed = re.findall(r"(?m)^\d\. `([\w/.]+)`", section("A request"))
    assert 0 < len(listed) <= 8
    assert len(set(listed)) == len(listed)
