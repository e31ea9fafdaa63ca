"""The variables by which a process that a test starts with an environment of its own is measured, too."""

from __future__ import annotations

import os
from collections.abc import Mapping

COVERAGE: Mapping[str, str] = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
