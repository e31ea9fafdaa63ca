"""Values of the config, one by one."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from appliance.config import values


@given(st.sampled_from(sorted(values.SECONDS)), st.decimals(0, 10**8, places=3))
def test_duration_round_trip(unit: str, number: Decimal) -> None:
    assert values.parse_duration_or_zero(f"{number}{unit}") == float(number * values.SECONDS[unit])
