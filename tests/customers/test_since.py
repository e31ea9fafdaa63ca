"""The age of data by a clock that may be wrong."""

import pytest

from appliance.customers.since import Since

READ = 1000.0


@pytest.mark.parametrize(
    ("times", "ages"),
    [
        pytest.param([1000, 1060, 5000], [0, 60, 4000], id="a clock that is right"),
        pytest.param([1060, 400, 500, 900], [60, 0, 100, 500], id="set back: it grows old from then on"),
        pytest.param([400, 500, 100, 200], [0, 100, 0, 100], id="set back twice"),
        pytest.param([400, 900, 1600], [0, 500, 600], id="put right: the true age"),
        pytest.param([400, 1600, 500, 600], [0, 600, 0, 100], id="put right and set back again"),
    ],
)
def test_age(times, ages):
    since = Since()
    assert [now - since.at(READ, now) for now in times] == ages
