"""The command line with one more check: what it takes to add one."""

from collections.abc import Iterator

from appliance.checks.context import CheckContext
from appliance.checks.finding import Finding, warning
from appliance.checks.registry import check
from appliance.cli import main


@check("toy", at_start=True)
def toy(context: CheckContext) -> Iterator[Finding]:
    """The toys are tidied up."""
    yield warning(f"{context.settings.server.state}: toys lie around; tidy them up")


if __name__ == "__main__":
    main()
