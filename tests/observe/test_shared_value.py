"""A value in shared memory."""

from __future__ import annotations

import os

import pytest

from appliance.observe.health import SupervisorStatus
from appliance.observe.shared_value import SharedValue


def test_a_value_is_read_in_another_process() -> None:
    value = SharedValue(SupervisorStatus())
    pid = os.fork()
    if pid == 0:
        value.write(SupervisorStatus(reload_fault="é" * 1000, workers=3))
        os._exit(0)
    os.waitpid(pid, 0)
    assert value.read() == SupervisorStatus(reload_fault="é" * 1000, workers=3)


def test_a_value_that_is_half_written_is_not_believed() -> None:
    value = SharedValue(SupervisorStatus(workers=3))
    value._memory[10] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        value.read()
    with pytest.raises(ValueError, match="too long"):
        value.write(SupervisorStatus(reload_fault="x" * 100_000))
