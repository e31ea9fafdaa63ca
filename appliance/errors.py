"""The one root of the errors that an operator can correct, and the exit codes of the commands.

A command lets such an error pass; `cli.main` is the one place that prints it and exits with its code. Anything else
that reaches `cli.main` is a bug.
"""

from __future__ import annotations

from typing import ClassVar, Final

SUCCESS: Final = 0
FAILURE: Final = 1
WRONG_USAGE: Final = 2
START_FAILED: Final = 3
INTERNAL_ERROR: Final = 70
CONFIG_INVALID: Final = 78


class SidebardError(Exception):
    """Something that an operator can correct. The text says what is wrong, where, and what to do."""

    exit_code: ClassVar[int] = FAILURE

    @property
    def sentences(self) -> tuple[str, ...]:
        """Each thing that is wrong, as a sentence of its own."""
        return (str(self),)


class StartError(SidebardError):
    """The service cannot start although the config is valid."""

    exit_code = START_FAILED
