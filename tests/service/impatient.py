"""The command line, with a supervisor that takes a worker for stuck after two seconds."""

from appliance.cli import main
from appliance.service import heartbeat

heartbeat.STUCK_AFTER = 2.0

if __name__ == "__main__":
    main()
