"""What the operating system gives: files, processes, users, sockets, systemd."""
