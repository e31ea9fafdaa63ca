#!/bin/sh
# Debian calls this with "remove" or "upgrade", RPM with how many versions stay.
set -e
case "$1" in
  remove | 0) ;;
  *) exit 0 ;;
esac
test -d /run/systemd/system || exit 0
systemctl --quiet disable --now sidebard.socket sidebard-http.socket sidebard.service
