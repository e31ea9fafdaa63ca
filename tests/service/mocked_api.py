"""The command line, with an Inbox API that the environment names: HOST:PORT:FILE of its authority."""

import os
from pathlib import Path

from appliance.cli import main
from appliance.inbox_api import wire

_host, _port, _ca = os.environ["MOCKED_API"].split(":", 2)
wire.API = wire.Origin(_host, int(_port), Path(_ca))

if __name__ == "__main__":
    main()
