#!/bin/sh
# Debian calls this with "configure" and the version before, RPM with how many versions are now installed.
set -e
case "$1" in
  configure) before="$2" ;;
  1) before="" ;;
  [2-9]) before="some" ;;
  *) exit 0 ;;
esac

systemd-sysusers sidebard.conf
systemd-tmpfiles --create sidebard.conf
test -n "$before" || echo "sidebard: next, make a config for your list of customers: sidebard init customers.csv"
test -d /run/systemd/system || exit 0
systemctl daemon-reload
# The socket holds what comes while the service restarts. What the new version cannot use is not started: the old
# process goes on until somebody has read the sentences.
if [ -n "$before" ] && systemctl --quiet is-active sidebard.service; then
  # As the unit does at a reload: an outage of a database or an authority is no reason to go on with the old version.
  if INVOCATION_ID=upgrade sidebard check -q --config /etc/sidebard/sidebard.toml >&2; then
    systemctl restart sidebard.service
  else
    echo "sidebard: the old version goes on serving; correct the above, then: systemctl restart sidebard" >&2
  fi
fi
