"""`python -m appliance`, the console script `sidebard`, and the entry point of the packaged file."""

from appliance.cli import main

if __name__ == "__main__":
    main()
