"""What can be found wrong before an agent finds it: named checks, run by `sidebard check` and by the start.

A check is one function under `@check` in a module that is imported here; `registry` says the rest.
"""

# In the order in which the results are worth reading.
from appliance.checks import config, sockets, files, acme, data, pages, inbox_api, machine  # isort: skip

__all__ = ["acme", "config", "data", "files", "inbox_api", "machine", "pages", "sockets"]
