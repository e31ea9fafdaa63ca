#!/bin/sh
# What the service made goes with a purge; what the operator put into /etc/sidebard and /var/lib/sidebard-data stays.
set -e
case "$1" in
  purge) rm -rf /var/lib/sidebard /var/cache/sidebard ;;
  remove | 0) ;;
  *) exit 0 ;;
esac
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
fi
for folder in /etc/sidebard /var/lib/sidebard-data; do
  rmdir --ignore-fail-on-non-empty "$folder" 2>/dev/null || true
done
