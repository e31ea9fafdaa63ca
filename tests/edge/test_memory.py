"""When memory is returned to the system."""

from __future__ import annotations

import pytest

from appliance.edge.memory import CROWD, CrowdWatch


@pytest.mark.parametrize(
    ("counts", "returned"),
    [
        pytest.param([900, 900, 900], [False] * 3, id="nobody leaves"),
        pytest.param([900, 0, 0, 0, 0, 0], [False, True, True, True, False, False], id="all at once"),
        pytest.param(
            [900, 836, 400, 30, 5, 0, 0, 0, 0],
            [False, *[True] * 7, False],
            id="until the last has gone, and twice more",
        ),
        pytest.param([CROWD - 1, 0, 0], [False] * 3, id="no crowd"),
        pytest.param([900, 860, 820, 780], [False, False, True, True], id="few at a time"),
    ],
)
def test_when(counts: list[int], returned: list[bool]) -> None:
    crowd = CrowdWatch()
    crowd.connected(counts[0])
    assert [crowd.swept(count) for count in counts] == returned
