"""Leaving root behind."""

import os
import pwd
import resource
from pathlib import Path

import pytest

from appliance.errors import StartError
from appliance.system import privileges
from appliance.system.privileges import user_entry

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@ROOT
def test_becomes_the_user_and_leaves_them_the_state(tmp_path):
    """In a child, for there is no way back: neither the user, nor a group, nor a saved id is root's."""
    state = tmp_path / "state"
    (state / "customers").mkdir(parents=True)
    (state / "customers" / "00000001.db").touch()
    trail = tmp_path / "trail"
    trail.touch()
    nobody = pwd.getpwnam("nobody")
    child = os.fork()
    if child == 0:
        code = 1
        same = False
        try:
            privileges.hand_over(nobody, state, trail)
            privileges.drop_privileges(nobody)
            same = os.getresuid() == (nobody.pw_uid,) * 3 and os.getresgid() == (nobody.pw_gid,) * 3
            status = dict(
                row.split(":\t", 1) for row in Path("/proc/self/status").read_text().splitlines() if "\t" in row
            )
            bare = all(int(status[f"Cap{which}"], 16) == 0 for which in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
            tight = bare and status["NoNewPrivs"] == "1" and resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
            same = same and tight and 0 not in os.getgroups()
            os.setuid(0)
            code = 3
        except PermissionError:
            code = 0 if same else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert {Path(path).stat().st_uid for path in (state, *state.rglob("*"), trail)} == {nobody.pw_uid}


def test_no_such_user():
    with pytest.raises(StartError, match=r'server\.user: there is no user "nobody-of-that-name" on this machine; crea'):
        user_entry("nobody-of-that-name")
